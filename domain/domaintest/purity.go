package domaintest

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
)

// repeats is how often a function is run to see that it is deterministic: the
// random order of a map shows itself in more than one run of two only if the
// map has many keys.
const repeats = 8

// fold evolves the state by the event, on copies, and checks what Evolve did
// to its inputs.
func (p *Past) fold(e domain.Event) {
	t := p.t
	t.Helper()
	if !p.aggregate.RecordsEvent(e.AvroName()) {
		t.Fatalf("aggregate %s does not declare the event %s", p.aggregate.Name(), e.AvroName())
	}
	checkRoundTrip(t, e)
	eventBefore := e.AppendAvro(nil)
	old := roomyCopy(p.state)
	oldBefore := old.AppendAvro(nil)
	next := shallowCopy(old)
	p.aggregate.Evolve(next, e)
	if !bytes.Equal(oldBefore, old.AppendAvro(nil)) {
		t.Errorf("Evolve altered what the state before %s refers to: build new slices and maps instead of changing the old ones", e.AvroName())
	}
	if !bytes.Equal(eventBefore, e.AppendAvro(nil)) {
		t.Errorf("Evolve altered the event %s", e.AvroName())
	}
	again := decodedCopy(t, p.state)
	p.aggregate.Evolve(again, e)
	if d := diff(next, again); d != "" {
		t.Errorf("Evolve is not deterministic for %s\n%s", e.AvroName(), d)
	}
	checkRoundTrip(t, next)
	p.state = next
}

// validate returns the command's faults and checks that Validate is
// deterministic and leaves the command alone.
func (d *Decision) validate() []domain.Fault {
	t := d.past.t
	t.Helper()
	before := d.command.AppendAvro(nil)
	faults := d.past.aggregate.Validate(d.command)
	for range repeats {
		if again := d.past.aggregate.Validate(d.command); !reflect.DeepEqual(faults, again) {
			t.Errorf("Validate is not deterministic for %s\n  first %s\n  again %s", d.command.AvroName(), faultList(faults), faultList(again))
			break
		}
	}
	if !bytes.Equal(before, d.command.AppendAvro(nil)) {
		t.Errorf("Validate altered the command %s", d.command.AvroName())
	}
	return faults
}

// decide validates and decides the command, and checks that Decide is
// deterministic and leaves state and command alone.
func (d *Decision) decide() ([]domain.Event, *domain.Rejection) {
	t := d.past.t
	t.Helper()
	if faults := d.validate(); len(faults) > 0 {
		t.Fatalf("%s is not valid: %s", d.command.AvroName(), faultList(faults))
	}
	stateBefore, commandBefore := d.past.state.AppendAvro(nil), d.command.AppendAvro(nil)
	events, no := d.past.aggregate.Decide(d.past.state, d.command)
	encoded := encodeDecision(events, no)
	for range repeats {
		again, noAgain := d.past.aggregate.Decide(decodedCopy(t, d.past.state), decodedCopy(t, d.command))
		if !bytes.Equal(encoded, encodeDecision(again, noAgain)) {
			t.Errorf("Decide is not deterministic for %s\n%s", d.command.AvroName(), diffEvents(events, again))
			break
		}
	}
	if !bytes.Equal(stateBefore, d.past.state.AppendAvro(nil)) {
		t.Errorf("Decide altered the state; only Evolve makes states")
	}
	if !bytes.Equal(commandBefore, d.command.AppendAvro(nil)) {
		t.Errorf("Decide altered the command %s", d.command.AvroName())
	}
	return events, no
}

func encodeDecision(events []domain.Event, no *domain.Rejection) []byte {
	var dst []byte
	if no != nil {
		dst = append(dst, no.Error()...)
	}
	for _, e := range events {
		dst = append(append(dst, e.AvroName()...), 0)
		dst = e.AppendAvro(dst)
	}
	return dst
}

// checkRoundTrip says whether the record is the same after encoding and
// decoding, and encodes to the same bytes again.
func checkRoundTrip(t testing.TB, r domain.Record) {
	t.Helper()
	c := decodedCopy(t, r)
	if d := diff(r, c); d != "" {
		t.Errorf("%s does not survive its Avro encoding\n%s", r.AvroName(), d)
	} else if !bytes.Equal(r.AppendAvro(nil), c.AppendAvro(nil)) {
		t.Errorf("%s does not encode to the same bytes twice", r.AvroName())
	}
}

func decodedCopy(t testing.TB, r domain.Record) domain.Record {
	t.Helper()
	c := reflect.New(reflect.TypeOf(r).Elem()).Interface().(domain.Record)
	if err := c.DecodeAvro(r.AppendAvro(nil)); err != nil {
		t.Fatalf("decoding %s from its own encoding: %v", r.AvroName(), err)
	}
	return c
}

// shallowCopy copies the struct alone: the copy shares slices, maps and
// pointers with the original, as a state that Evolve returns may.
func shallowCopy(r domain.Record) domain.Record {
	c := reflect.New(reflect.TypeOf(r).Elem())
	c.Elem().Set(reflect.ValueOf(r).Elem())
	return c.Interface().(domain.Record)
}

// roomyCopy copies the record so that every slice in it has spare capacity:
// an insertion in place then alters what the old state shows.
func roomyCopy(r domain.Record) domain.Record {
	c := shallowCopy(r)
	makeRoom(reflect.ValueOf(c).Elem())
	return c
}

func makeRoom(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				makeRoom(v.Field(i))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			c := reflect.New(v.Type().Elem())
			c.Elem().Set(v.Elem())
			makeRoom(c.Elem())
			v.Set(c)
		}
	case reflect.Map:
		if !v.IsNil() {
			c := reflect.MakeMap(v.Type())
			for _, k := range v.MapKeys() {
				c.SetMapIndex(k, v.MapIndex(k))
			}
			v.Set(c)
		}
	case reflect.Slice:
		if v.Len() > 0 {
			c := reflect.MakeSlice(v.Type(), v.Len(), v.Len()+4)
			reflect.Copy(c, v)
			for i := range c.Len() {
				makeRoom(c.Index(i))
			}
			v.Set(c)
		}
	}
}
