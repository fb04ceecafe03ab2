package domaintest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
)

// Past is an aggregate to which events have happened. Make one with Given.
type Past struct {
	t         testing.TB
	aggregate *domain.Aggregate
	state     domain.Record
}

// Given begins a sentence: these events have happened to the aggregate.
func Given(t testing.TB, a *domain.Aggregate, events ...domain.Event) *Past {
	t.Helper()
	if faults := a.Faults(); len(faults) > 0 {
		t.Fatalf("the aggregate's declaration is wrong:\n  %s", strings.Join(faults, "\n  "))
	}
	p := &Past{t: t, aggregate: a, state: a.NewState()}
	for _, e := range events {
		p.fold(e)
	}
	return p
}

// ThenState ends a sentence without a command: this is what the events make.
func (p *Past) ThenState(want domain.Record) {
	p.t.Helper()
	if d := diff(want, p.state); d != "" {
		p.t.Errorf("the events make another state than expected\n%s", d)
	}
}

// When goes on: this command comes in.
func (p *Past) When(c domain.Command) *Decision {
	p.t.Helper()
	if !p.aggregate.Takes(c.AvroName()) {
		p.t.Fatalf("aggregate %s takes no %s; it takes %s", p.aggregate.Name(), c.AvroName(), strings.Join(p.aggregate.Commands(), ", "))
	}
	checkRoundTrip(p.t, c)
	return &Decision{past: p, command: c}
}

// Decision is a command on its way to an aggregate. Make one with When; each
// of its methods ends the sentence.
type Decision struct {
	past    *Past
	command domain.Command
}

// Then says that the command causes exactly these events, at least one.
func (d *Decision) Then(want ...domain.Event) {
	t := d.past.t
	t.Helper()
	if len(want) == 0 {
		t.Fatal("Then without events: say ThenNothing")
	}
	got, no := d.decide()
	if no != nil {
		t.Errorf("%s was rejected: %v; wanted %s", d.command.AvroName(), no, names(want))
		return
	}
	if report := diffEvents(want, got); report != "" {
		t.Errorf("%s caused other events than expected\n%s", d.command.AvroName(), report)
	}
	for _, e := range got {
		d.past.fold(e)
	}
}

// ThenNothing says that the command is accepted and causes no event.
func (d *Decision) ThenNothing() {
	t := d.past.t
	t.Helper()
	got, no := d.decide()
	if no != nil {
		t.Errorf("%s was rejected: %v; wanted it accepted without events", d.command.AvroName(), no)
	} else if len(got) > 0 {
		t.Errorf("%s caused events where none was expected\n%s", d.command.AvroName(), diffEvents(nil, got))
	}
}

// ThenRejected says that the state forbids the command, with this code.
func (d *Decision) ThenRejected(code string) {
	t := d.past.t
	t.Helper()
	got, no := d.decide()
	switch {
	case no == nil:
		t.Errorf("%s was accepted; wanted the rejection %q, got %s", d.command.AvroName(), code, names(got))
	case no.Code != code:
		t.Errorf("%s was rejected with another code: want %q, got %q (%s)", d.command.AvroName(), code, no.Code, no.Detail)
	case no.Detail == "":
		t.Errorf("%s was rejected with %q but without a sentence for people", d.command.AvroName(), code)
	}
}

// ThenInvalid says that the command has exactly one fault in itself: at this
// JSON pointer, with this code.
func (d *Decision) ThenInvalid(pointer, code string) {
	d.past.t.Helper()
	d.ThenFaults(domain.Fault{Pointer: pointer, Code: code})
}

// ThenFaults says that the command has exactly these faults, in this order.
// Pointers and codes are compared; details only have to be there.
func (d *Decision) ThenFaults(want ...domain.Fault) {
	t := d.past.t
	t.Helper()
	got := d.validate()
	same := len(got) == len(want)
	for i := 0; same && i < len(want); i++ {
		same = got[i].Pointer == want[i].Pointer && got[i].Code == want[i].Code
	}
	if !same {
		t.Errorf("%s has other faults than expected\n  want %s\n  got  %s", d.command.AvroName(), faultList(want), faultList(got))
	}
	for _, f := range got {
		if f.Detail == "" {
			t.Errorf("%s: fault %s at %q has no sentence for people", d.command.AvroName(), f.Code, f.Pointer)
		}
	}
}

func names(events []domain.Event) string {
	if len(events) == 0 {
		return "no events"
	}
	list := make([]string, len(events))
	for i, e := range events {
		list[i] = e.AvroName()
	}
	return strings.Join(list, ", ")
}

func faultList(faults []domain.Fault) string {
	if len(faults) == 0 {
		return "none"
	}
	list := make([]string, len(faults))
	for i, f := range faults {
		list[i] = fmt.Sprintf("%s at %q", f.Code, f.Pointer)
		if f.Detail != "" {
			list[i] += " (" + f.Detail + ")"
		}
	}
	return strings.Join(list, "; ")
}
