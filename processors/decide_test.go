package processors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nexusblueprint/nexus/internal/eventid"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
)

// testFramer frames by the position of a schema among the shop's schemas, as a
// registry would; names in unregistered are missing from it.
type testFramer struct{ unregistered map[string]bool }

var shopSchemas, _ = avro.Sets{platform.Schemas, retail.Schemas}.All()

func (f testFramer) Append(dst []byte, rec avro.Record) ([]byte, error) {
	if f.unregistered[rec.AvroName()] {
		return nil, fmt.Errorf("schema %s is not registered", rec.AvroName())
	}
	for i, e := range shopSchemas {
		if e.Name == rec.AvroName() {
			return rec.AppendAvro(binary.BigEndian.AppendUint32(append(dst, 0), uint32(i))), nil
		}
	}
	return nil, errors.New("no schema " + rec.AvroName())
}

func (f testFramer) entry(b []byte) (*avro.Entry, error) {
	if len(b) < serde.FrameBytes || b[0] != 0 || binary.BigEndian.Uint32(b[1:]) >= uint32(len(shopSchemas)) {
		return nil, errors.New("no frame")
	}
	return shopSchemas[binary.BigEndian.Uint32(b[1:])], nil
}

func (f testFramer) Decode(b []byte, into avro.Record) error {
	e, err := f.entry(b)
	if err != nil {
		return err
	}
	if e.Name != into.AvroName() {
		return fmt.Errorf("holds %s, not %s", e.Name, into.AvroName())
	}
	return into.DecodeAvro(b[serde.FrameBytes:])
}

func (f testFramer) DecodeNew(b []byte) (avro.Record, error) {
	e, err := f.entry(b)
	if err != nil {
		return nil, err
	}
	rec := e.New()
	return rec, rec.DecodeAvro(b[serde.FrameBytes:])
}

// bench is one stock aggregate with a memory of its own, without a broker.
type bench struct {
	t       *testing.T
	decider *decider
	framer  testFramer
	memory  map[string]*platform.Outcome
	table   []byte
	now     avro.Millis
}

const start = avro.Millis(1_700_000_000_000)

func newBench(t *testing.T) *bench {
	t.Helper()
	stock, ok := shop.Topology().Aggregate("stock")
	if !ok {
		t.Fatal("the shop has no stock")
	}
	b := &bench{t: t, memory: map[string]*platform.Outcome{}, now: start}
	b.decider = &decider{
		aggregate: stock, checkState: func(string, int) error { return nil },
		remembered: func(_ int32, id string) (*platform.Outcome, error) { return b.memory[id], nil },
	}
	b.decider.framer = &b.framer
	return b
}

func adjust(sku string, quantity int32, reference string) *retail.AdjustStock {
	return &retail.AdjustStock{Sku: sku, Description: "MUG", Quantity: quantity, Reference: reference}
}

func (b *bench) frame(rec avro.Record) []byte {
	b.t.Helper()
	framed, err := testFramer{}.Append(nil, rec)
	if err != nil {
		b.t.Fatal(err)
	}
	return framed
}

func (b *bench) input(key string, value []byte, meta platform.CommandMetadata) input {
	return input{
		source: source{topic: "shop.stock.commands", key: key, value: value, timestamp: b.now, headers: map[string][]byte{serde.MetaHeader: b.frame(&meta)}},
		at:     b.now, table: b.table,
	}
}

// send decides a command and keeps what a transaction would keep.
func (b *bench) send(c avro.Record, meta platform.CommandMetadata) effects {
	b.t.Helper()
	eff := b.decider.decide(b.input("mug", b.frame(c), meta))
	if eff.table != nil {
		b.table = eff.table
	}
	if eff.outcome != nil && !eff.outcome.Repeated {
		b.memory[eff.outcome.CommandID] = eff.outcome
	}
	return eff
}

func (b *bench) record() (env platform.Envelope, state *retail.Stock) {
	b.t.Helper()
	state = new(retail.Stock)
	r := avro.Joined{Name: b.decider.aggregate.Table, Head: &env, Tail: state}
	if err := (testFramer{}).Decode(b.table, &r); err != nil {
		b.t.Fatal(err)
	}
	return env, state
}

func id(s string) platform.CommandMetadata { return platform.CommandMetadata{CommandID: s} }

func wantOutcome(t *testing.T, eff effects, kind platform.OutcomeKind, code string) {
	t.Helper()
	switch {
	case eff.outcome == nil:
		t.Fatalf("no outcome, want %s %s", kind, code)
	case eff.outcome.Kind != kind || eff.outcome.Code != code:
		t.Fatalf("outcome %s %q (%s), want %s %q", eff.outcome.Kind, eff.outcome.Code, eff.outcome.Detail, kind, code)
	}
	if kind != platform.OutcomeKindAccepted && len(eff.events) > 0 {
		t.Fatalf("%d events beside the outcome %s", len(eff.events), kind)
	}
}

func TestDecide_accepts_and_chains_events(t *testing.T) {
	b := newBench(t)
	var last platform.Sha256
	for v := int64(1); v <= 20; v++ {
		b.now += 10
		command := fmt.Sprint("c", v)
		eff := b.send(adjust("mug", -1, fmt.Sprint("r", v)), id(command))
		wantOutcome(t, eff, platform.OutcomeKindAccepted, "")
		if len(eff.events) != 1 || eff.outcome.Version != v || eff.outcome.Events[0].Version != v {
			t.Fatalf("%d events, outcome %+v at version %d", len(eff.events), eff.outcome, v)
		}
		var meta platform.Metadata
		if err := b.framer.Decode(eff.events[0].meta, &meta); err != nil {
			t.Fatal(err)
		}
		if meta.Version != v || meta.PreviousHash != last || meta.EventID != eventid.Of("stock", "mug", command, 0) || meta.At != b.now {
			t.Errorf("metadata %+v at version %d", meta, v)
		}
		last = chain(eff.events[0].meta[serde.FrameBytes:], eff.events[0].value[serde.FrameBytes:])
	}
	env, stock := b.record()
	if env.Version != 20 || env.Hash != last || stock.OnHand != -20 || len(env.Recent) != ports.RememberedMax {
		t.Errorf("table record %+v %+v", env, stock)
	}
}

func TestDecide_recorded_time_never_goes_back(t *testing.T) {
	b := newBench(t)
	b.send(adjust("mug", 1, "r1"), id("c1"))
	b.now -= 60_000
	b.send(adjust("mug", 1, "r2"), id("c2"))
	if env, _ := b.record(); env.At != start {
		t.Errorf("recorded at %s, after an event at %s", env.At, start)
	}
}

func TestDecide_a_repeated_command_gets_its_first_outcome(t *testing.T) {
	b := newBench(t)
	first := b.send(adjust("mug", 5, "r1"), id("c1")).outcome
	rejected := b.send(adjust("mug", 5, "r1"), id("c2"))
	wantOutcome(t, rejected, platform.OutcomeKindRejected, "reference-already-booked")

	for _, memory := range []string{"window and state", "state alone"} {
		if memory == "state alone" {
			clear(b.memory)
		}
		again := b.send(adjust("mug", 5, "r1"), id("c1"))
		wantOutcome(t, again, platform.OutcomeKindAccepted, "")
		if !again.outcome.Repeated || len(again.events) != 0 || again.table != nil || fmt.Sprint(again.outcome.Events) != fmt.Sprint(first.Events) {
			t.Errorf("%s: repetition made %+v, first outcome %+v", memory, again, first)
		}
		no := b.send(adjust("mug", 5, "r1"), id("c2"))
		wantOutcome(t, no, platform.OutcomeKindRejected, "reference-already-booked")
		if !no.outcome.Repeated {
			t.Errorf("%s: the rejection was decided again", memory)
		}
	}
}

// An import restores from the events which commands were accepted, without their types and bodies.
func TestDecide_a_repeated_command_is_known_after_an_import(t *testing.T) {
	b := newBench(t)
	first := b.send(adjust("mug", 5, "r1"), id("c1")).outcome
	env, state := b.record()
	env.Recent[0].CommandType, env.Recent[0].BodyHash = "", platform.BodyHash{}
	b.table = b.frame(&avro.Joined{Name: b.decider.aggregate.Table, Head: &env, Tail: state})
	clear(b.memory)
	again := b.send(adjust("mug", 5, "r1"), id("c1"))
	if !again.outcome.Repeated || len(again.events) != 0 {
		t.Fatalf("repetition made %+v", again)
	}
	again.outcome.Repeated = false
	if fmt.Sprint(again.outcome) != fmt.Sprint(first) {
		t.Errorf("answered with\n%+v, first with\n%+v", again.outcome, first)
	}
}

func TestDecide_an_id_reused_for_another_command_is_refused(t *testing.T) {
	exact := id("c1")
	exact.Expectation, exact.ExpectedVersion = platform.ExpectationExact, 1
	for name, other := range map[string]struct {
		command avro.Record
		meta    platform.CommandMetadata
	}{
		"another body":        {adjust("mug", 6, "r1"), id("c1")},
		"another type":        {&retail.ReceiveStock{Sku: "mug", Description: "MUG", Quantity: 5, Reference: "r1"}, id("c1")},
		"another expectation": {adjust("mug", 5, "r1"), exact},
	} {
		b := newBench(t)
		b.send(adjust("mug", 5, "r1"), id("c1"))
		eff := b.send(other.command, other.meta)
		wantOutcome(t, eff, platform.OutcomeKindRefused, CodeIDReused)
		if !eff.outcome.Repeated || eff.table != nil {
			t.Errorf("%s: the refusal must leave the first outcome alone: %+v", name, eff)
		}
	}
}

func TestDecide_expected_versions(t *testing.T) {
	for name, c := range map[string]struct {
		events      int
		expectation platform.Expectation
		version     int64
		ok          bool
	}{
		"exact, right":          {2, platform.ExpectationExact, 2, true},
		"exact, behind":         {2, platform.ExpectationExact, 1, false},
		"exact, ahead":          {2, platform.ExpectationExact, 3, false},
		"exact 0 and absent":    {0, platform.ExpectationExact, 0, true},
		"exists and exists":     {1, platform.ExpectationExists, 0, true},
		"exists and absent":     {0, platform.ExpectationExists, 0, false},
		"absent and absent":     {0, platform.ExpectationAbsent, 0, true},
		"absent and exists":     {1, platform.ExpectationAbsent, 0, false},
		"any and whatever else": {1, platform.ExpectationAny, 0, true},
	} {
		b := newBench(t)
		for i := range c.events {
			b.send(adjust("mug", 1, fmt.Sprint(i)), id(fmt.Sprint("before", i)))
		}
		meta := id("c")
		meta.Expectation, meta.ExpectedVersion = c.expectation, c.version
		eff := b.send(adjust("mug", 1, "new"), meta)
		if accepted := eff.outcome.Kind == platform.OutcomeKindAccepted; accepted != c.ok {
			t.Errorf("%s: outcome %+v", name, eff.outcome)
		}
		if !c.ok && (eff.outcome.Code != CodeVersionConflict || eff.outcome.Version != int64(c.events)) {
			t.Errorf("%s: conflict %+v must carry version %d", name, eff.outcome, c.events)
		}
	}
}

func TestDecide_an_old_UUIDv7_that_is_not_remembered_is_stale(t *testing.T) {
	mint := func(at avro.Millis) string {
		u := uuid.Must(uuid.NewV7())
		for i := range 6 {
			u[i] = byte(int64(at) >> (40 - 8*i))
		}
		return u.String()
	}
	b := newBench(t)
	wantOutcome(t, b.send(adjust("mug", 1, "r1"), id(mint(start-staleAfterMillis-1))), platform.OutcomeKindRefused, CodeStale)
	wantOutcome(t, b.send(adjust("mug", 1, "r1"), id(mint(start-staleAfterMillis+1))), platform.OutcomeKindAccepted, "")

	known := mint(start)
	wantOutcome(t, b.send(adjust("mug", 1, "r2"), id(known)), platform.OutcomeKindAccepted, "")
	b.now += 2 * staleAfterMillis
	clear(b.memory)
	eff := b.send(adjust("mug", 1, "r2"), id(known)) // remembered by the aggregate itself
	wantOutcome(t, eff, platform.OutcomeKindAccepted, "")
	if !eff.outcome.Repeated {
		t.Error("an old but remembered id was decided again")
	}
}

func TestDecide_an_invalid_command_is_refused_with_its_faults(t *testing.T) {
	b := newBench(t)
	eff := b.send(adjust("mug", 0, "r1"), id("c1"))
	wantOutcome(t, eff, platform.OutcomeKindRefused, CodeInvalid)
	if len(eff.outcome.Faults) != 1 || eff.outcome.Faults[0].Pointer != "/quantity" {
		t.Errorf("faults %+v", eff.outcome.Faults)
	}
}

func TestDecide_what_cannot_be_handled_is_set_aside(t *testing.T) {
	b := newBench(t)
	good := b.frame(adjust("mug", 1, "r"))
	meta := b.frame(&platform.CommandMetadata{CommandID: "c"})
	headers := func(m []byte) map[string][]byte { return map[string][]byte{serde.MetaHeader: m} }
	for name, c := range map[string]struct {
		src    source
		reason string
		answer bool // a client can be told
	}{
		"no header":             {source{key: "mug", value: good}, ReasonUndecodable, false},
		"broken header":         {source{key: "mug", value: good, headers: headers([]byte{0, 0, 0})}, ReasonUndecodable, false},
		"header of another":     {source{key: "mug", value: good, headers: headers(good)}, ReasonUndecodable, false},
		"no value":              {source{key: "mug", headers: headers(meta)}, ReasonUndecodable, true},
		"unknown schema":        {source{key: "mug", value: []byte{0, 255, 255, 255, 255}, headers: headers(meta)}, ReasonUndecodable, true},
		"truncated value":       {source{key: "mug", value: good[:len(good)-1], headers: headers(meta)}, ReasonUndecodable, true},
		"command of another":    {source{key: "mug", value: b.frame(&retail.CancelOrder{OrderID: "mug"}), headers: headers(meta)}, ReasonUndecodable, true},
		"an event, not command": {source{key: "mug", value: b.frame(&retail.StockAdjusted{Sku: "mug"}), headers: headers(meta)}, ReasonUndecodable, true},
		"key of another":        {source{key: "cup", value: good, headers: headers(meta)}, ReasonWrongKey, true},
	} {
		eff := b.decider.decide(input{source: c.src, at: start})
		if eff.dead == nil || eff.dead.reason != c.reason {
			t.Errorf("%s: %+v, want a dead letter with reason %s", name, eff.dead, c.reason)
			continue
		}
		if (eff.outcome != nil) != c.answer || eff.table != nil || eff.events != nil {
			t.Errorf("%s: effects %+v", name, eff)
		}
		if c.answer && (eff.outcome.Kind != platform.OutcomeKindDead || eff.outcome.CommandID != "c") {
			t.Errorf("%s: outcome %+v", name, eff.outcome)
		}
	}
}

func TestDecide_an_event_without_a_registered_schema_is_not_produced(t *testing.T) {
	b := newBench(t)
	b.framer.unregistered = map[string]bool{"shop.stock.StockAdjusted": true}
	eff := b.send(adjust("mug", 1, "r"), id("c"))
	wantOutcome(t, eff, platform.OutcomeKindDead, CodeDeadLetter)
	if eff.dead == nil || !strings.Contains(eff.dead.detail, "not registered") {
		t.Errorf("dead letter %+v", eff.dead)
	}
}

func TestDecide_a_registry_that_does_not_answer_is_no_fault_of_the_record(t *testing.T) {
	b := newBench(t)
	b.decider.framer = deafRegistry{&b.framer}
	eff := b.send(adjust("mug", 1, "r"), id("c"))
	if eff.retry == nil || eff.dead != nil || eff.outcome != nil {
		t.Errorf("effects %+v: the command must be tried again", eff)
	}
}

// deafRegistry knows no schema of a command and cannot ask.
type deafRegistry struct{ Framer }

func (deafRegistry) DecodeNew([]byte) (avro.Record, error) {
	return nil, fmt.Errorf("asking for schema 7: %w", serde.ErrRegistry)
}

func TestDecide_a_panic_of_the_domain_is_set_aside_with_its_stack(t *testing.T) {
	b := newBench(t)
	b.decider.remembered = func(int32, string) (*platform.Outcome, error) { panic("boom") }
	eff := b.send(adjust("mug", 1, "r"), id("c"))
	wantOutcome(t, eff, platform.OutcomeKindDead, CodeDeadLetter)
	if eff.dead == nil || eff.dead.reason != ReasonPanicked || !strings.Contains(eff.dead.stack, "decide_test.go") {
		t.Errorf("dead letter %+v", eff.dead)
	}
	if strings.Contains(eff.outcome.Detail, "boom") {
		t.Error("the client is shown the inside of the failure")
	}
}

func TestDecide_a_state_too_large_is_refused_and_nothing_changes(t *testing.T) {
	b := newBench(t)
	b.send(adjust("mug", 1, "r1"), id("c1"))
	before := string(b.table)
	b.decider.checkState = func(_ string, n int) error { return fmt.Errorf("%d bytes", n) }
	eff := b.send(adjust("mug", 1, "r2"), id("c2"))
	wantOutcome(t, eff, platform.OutcomeKindRefused, CodeStateTooLarge)
	if string(b.table) != before || eff.outcome.Version != 1 {
		t.Errorf("effects %+v", eff)
	}
}
