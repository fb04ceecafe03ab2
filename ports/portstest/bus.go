package portstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// EventBus checks the buses of a log against the contract of ports.EventBus.
func EventBus(t *testing.T, log EventLog) {
	t.Helper()
	runEvents(t, log, slices.Concat(busCases, busVersionCases, busTroubleCases))
}

var busCases = []eventCase{
	{title: "a command ends in an outcome that names its events", run: func(t *eventTest) {
		s := t.send(booking{id: "a", quantity: 3})
		out := t.ends(s)
		t.wants(out, platform.OutcomeKindAccepted, "")
		if out.CommandID != s.commandID || out.CommandType != "shop.stock.ReceiveStock" || out.AggregateType != aggregateType ||
			out.AggregateID != t.id("a") || out.Version != 3 || len(out.Events) != 3 || out.Repeated {
			t.Fatalf("got %+v", out)
		}
		ids := map[avro.UUID]bool{}
		for n, e := range out.Events {
			if ids[e.ID] = true; e.Type != eventType || e.Version != int64(n)+1 || len(ids) != n+1 {
				t.Errorf("event %d is %+v", n, e)
			}
		}
	}},
	{title: "a command without events is accepted and changes no version", run: func(t *eventTest) {
		t.books(booking{id: "a", quantity: 2})
		if out := t.books(booking{id: "a"}); out.Version != 2 || len(out.Events) != 0 {
			t.Errorf("got %+v", out)
		}
	}},
	{title: "a rejection is an outcome with its code and changes nothing", run: func(t *eventTest) {
		t.books(booking{id: "a", quantity: 1})
		out := t.ends(t.send(booking{id: "a", quantity: -1}))
		if t.wants(out, platform.OutcomeKindRejected, rejectionCode); out.Version != 1 || out.Detail == "" {
			t.Errorf("got %+v", out)
		}
		if out := t.books(booking{id: "a", quantity: 1}); out.Version != 2 {
			t.Errorf("the next one made version %d, want 2", out.Version)
		}
	}},
	{title: "commands of an aggregate are decided in the order of Send, while others send theirs", run: func(t *eventTest) {
		const senders, each = 8, 60
		other, _ := t.log.Bus(t)
		sent := make([][]*shipment, senders)
		var sending sync.WaitGroup
		for n := range senders {
			sending.Go(func() {
				bus := []ports.EventBus{t.bus, other}[n%2]
				for i := range each {
					sent[n] = append(sent[n], t.ship(booking{id: fmt.Sprint(n), commandID: fmt.Sprint(n, "-", i), quantity: 1, bus: bus}))
				}
			})
		}
		sending.Wait()
		for n := range sent {
			for i, s := range sent[n] {
				if out := t.ends(s); out.Version != int64(i)+1 {
					t.Fatalf("command %d of aggregate %d made version %d", i, n, out.Version)
				}
			}
		}
	}},
	{title: "one command id counts once, whoever sends it and when", run: func(t *eventTest) {
		other, _ := t.log.Bus(t)
		b := booking{id: "a", commandID: "same", quantity: 2}
		again := b
		again.bus = other
		shipments := []*shipment{t.send(b), t.send(again), t.send(b)}
		first := t.heard(shipments[0])
		if t.wants(first, platform.OutcomeKindAccepted, ""); first.Repeated || first.Version != 2 {
			t.Errorf("the first outcome is %+v", first)
		}
		repetition := func(out *platform.Outcome) {
			t.Helper()
			if !out.Repeated || out.Kind != first.Kind || out.Version != first.Version || !slices.Equal(out.Events, first.Events) {
				t.Errorf("the outcome of a repetition is %+v, the first %+v", out, first)
			}
		}
		repetition(t.heard(shipments[0]))
		repetition(t.heard(shipments[0]))
		for range shipments {
			t.heard(shipments[1])
		}
		for _, s := range shipments {
			t.logged(s)
			s.interest.Cancel()
		}
		t.books(booking{id: "a", quantity: 1})
		repetition(t.ends(t.send(again)))
		for _, bus := range []ports.EventBus{t.bus, other} {
			eventually(t, "every bus knows the outcome", func() bool { return t.asks(bus, shipments[0]) != nil })
			if out := t.asks(bus, shipments[0]); out.Repeated || out.Version != 2 {
				t.Errorf("a bus that is asked says %+v", out)
			}
		}
		if out := t.books(booking{id: "a", quantity: 1}); out.Version != 4 {
			t.Errorf("after two commands of three events comes version %d, want 4", out.Version)
		}
	}},
	{title: "a command under the id of another is refused and changes nothing", run: func(t *eventTest) {
		t.books(booking{id: "a", commandID: "used", quantity: 1})
		for _, b := range []booking{
			{id: "a", commandID: "used", quantity: 2},
			{id: "a", commandID: "used", quantity: 1, expect: platform.ExpectationExact, version: 1},
		} {
			out := t.ends(t.send(b))
			if t.wants(out, platform.OutcomeKindRefused, "command-id-reused"); out.Version != 1 {
				t.Errorf("%+v: %+v", b, out)
			}
		}
		if out := t.books(booking{id: "a", quantity: 1}); out.Version != 2 {
			t.Errorf("the next one made version %d, want 2", out.Version)
		}
	}},
	{title: "whoever expects an outcome is told, and whoever has cancelled is not", run: func(t *eventTest) {
		gone := t.bus.Expect(t.id("c"))
		gone.Cancel()
		gone.Cancel()
		two := t.bus.Expect(t.id("c"))
		defer two.Cancel()
		t.books(booking{id: "a", commandID: "c", quantity: 1})
		select {
		case out := <-two.C():
			if out.CommandID != t.id("c") {
				t.Errorf("got %+v", out)
			}
		case <-time.After(patience):
			t.Error("one of two was told nothing")
		}
		if len(gone.C()) != 0 {
			t.Errorf("one that has cancelled was told %+v", <-gone.C())
		}
	}},
	{title: "an outcome that was heard is known to who asks", run: func(t *eventTest) {
		const burst = 300 // what comes together is told before it is kept
		shipments := make([]*shipment, burst)
		for n := range shipments {
			shipments[n] = t.send(booking{id: "a", quantity: 1})
		}
		for _, s := range shipments {
			out := t.heard(s)
			if known := t.asks(t.bus, s); known == nil || known.Version != out.Version || known.CommandID != s.commandID {
				t.Fatalf("heard %+v, asked and was told %+v", out, known)
			}
			t.logged(s)
			s.interest.Cancel()
		}
	}},
	{title: "a command id that nobody used has no outcome", run: func(t *eventTest) {
		t.books(booking{id: "a", commandID: "c1", quantity: 1})
		for _, id := range []string{"", "c", "c11", "c1\x00", "C1"} {
			if out := t.asks(t.bus, &shipment{commandID: t.id(id)}); out != nil {
				t.Errorf("%q has the outcome %+v", id, out)
			}
		}
	}},
}

// asks is the outcome that a bus finds, nil if none.
func (t *eventTest) asks(bus ports.EventBus, s *shipment) *platform.Outcome {
	t.Helper()
	var out *platform.Outcome
	eventually(t, "the bus has caught up", func() bool {
		found, ok, err := bus.Outcome(t.Context(), s.commandID)
		if err != nil && !errors.Is(err, ports.ErrCatchingUp) {
			t.Fatalf("asking for the outcome of %s: %v", s.commandID, err)
		}
		if ok {
			out = found
		}
		return err == nil
	})
	return out
}

var busVersionCases = []eventCase{
	{title: "a command that expects another version is refused with the version there is, and changes nothing", run: func(t *eventTest) {
		const exact, exists, absent = platform.ExpectationExact, platform.ExpectationExists, platform.ExpectationAbsent
		version := int64(0)
		for _, step := range []struct {
			expect  platform.Expectation
			version int64
			ok      bool
		}{
			{exact, 7, false},
			{exists, 0, false},
			{absent, 0, true},
			{absent, 0, false},
			{exact, 0, false},
			{exact, 2, false},
			{exact, 1, true},
			{exact, 1, false},
			{exists, 0, true},
			{exact, 3, true},
		} {
			out := t.ends(t.send(booking{id: "a", quantity: 1, expect: step.expect, version: step.version}))
			if step.ok {
				version++
				t.wants(out, platform.OutcomeKindAccepted, "")
			} else {
				t.wants(out, platform.OutcomeKindRefused, "version-conflict")
			}
			if out.Version != version {
				t.Fatalf("%+v: the outcome has version %d, want %d", step, out.Version, version)
			}
		}
		t.events(t.store, "a", int(version))
	}},
	{title: "of commands that expect the same version one is accepted", run: func(t *eventTest) {
		t.books(booking{id: "a", quantity: 1})
		other, _ := t.log.Bus(t)
		const rivals = 10
		shipments := make([]*shipment, rivals)
		var sending sync.WaitGroup
		for n := range rivals {
			sending.Go(func() {
				bus := []ports.EventBus{t.bus, other}[n%2]
				shipments[n] = t.ship(booking{id: "a", commandID: fmt.Sprint(n), quantity: 1, expect: platform.ExpectationExact, version: 1, bus: bus})
			})
		}
		sending.Wait()
		accepted := 0
		for _, s := range shipments {
			out := t.ends(s)
			if out.Kind == platform.OutcomeKindAccepted {
				accepted++
			} else {
				t.wants(out, platform.OutcomeKindRefused, "version-conflict")
			}
			if out.Version != 2 {
				t.Errorf("an outcome has version %d, want 2: %+v", out.Version, out)
			}
		}
		if accepted != 1 {
			t.Errorf("%d of %d were accepted", accepted, rivals)
		}
		t.events(t.store, "a", 2)
	}},
	{title: "a conflict stays one when the command is sent again", run: func(t *eventTest) {
		b := booking{id: "a", commandID: "early", quantity: 1, expect: platform.ExpectationExact, version: 1}
		t.wants(t.ends(t.send(b)), platform.OutcomeKindRefused, "version-conflict")
		t.books(booking{id: "a", quantity: 1})
		out := t.ends(t.send(b))
		if t.wants(out, platform.OutcomeKindRefused, "version-conflict"); !out.Repeated || out.Version != 0 {
			t.Errorf("the outcome is %+v, want the first one again", out)
		}
	}},
}

var busTroubleCases = []eventCase{
	{title: "what no aggregate takes is refused at once", run: func(t *eventTest) {
		told := make(chan error, 2)
		t.bus.Send(t.Context(), "nobody", t.id("a"), &retail.ReceiveStock{Sku: t.id("a")}, &platform.CommandMetadata{CommandID: t.id("c")}, func(err error) { told <- err })
		if err := t.told(&shipment{told: told}); !errors.Is(err, ports.ErrRefused) || !errors.Is(err, ports.ErrUnknownType) {
			t.Errorf("got %v, want %v and %v", err, ports.ErrRefused, ports.ErrUnknownType)
		}
	}},
	{title: "a command as large as may be goes through, a larger one is refused and takes no neighbour with it", run: func(t *eventTest) {
		large := booking{id: "a", quantity: 1, description: strings.Repeat("x", ports.CommandBytesMax-1<<10)}
		tooLarge := booking{id: "a", quantity: 1, description: strings.Repeat("x", 8*ports.CommandBytesMax)}
		small := booking{id: "a", quantity: 1}
		var shipments []*shipment
		for _, b := range []booking{small, tooLarge, small, large, tooLarge, small} {
			shipments = append(shipments, t.send(b))
		}
		version := int64(0)
		for _, s := range shipments {
			if s.booking.description == tooLarge.description {
				if err := t.told(s); !errors.Is(err, ports.ErrRefused) || !errors.Is(err, ports.ErrTooLarge) {
					t.Errorf("one that is too large: %v, want %v and %v", err, ports.ErrRefused, ports.ErrTooLarge)
				}
				continue
			}
			version++
			if out := t.ends(s); out.Kind != platform.OutcomeKindAccepted || out.Version != version {
				t.Errorf("a neighbour, of %d bytes: %+v, want version %d", len(s.booking.description), out, version)
			}
		}
	}},
	{title: "with a context that has ended nothing is sent, one that ends later calls nothing back", run: func(t *eventTest) {
		ctx, cancel := context.WithCancel(t.Context())
		going := t.send(booking{id: "a", quantity: 1, ctx: ctx})
		cancel()
		never := t.send(booking{id: "a", quantity: 1, ctx: ctx})
		if err := t.told(never); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if out := t.ends(going); out.Version != 1 {
			t.Errorf("got %+v", out)
		}
		if out := t.books(booking{id: "a", quantity: 1}); out.Version != 2 {
			t.Errorf("the next one made version %d, want 2", out.Version)
		}
		if out := t.asks(t.bus, never); out != nil {
			t.Errorf("what was not sent has the outcome %+v", out)
		}
	}},
	{title: "an acknowledged command is on all replicas in sync", needs: Replicas, run: func(t *eventTest) {
		t.books(booking{id: "a", quantity: 1})
		release := t.log.Withhold(t, t.id("a"))
		s := t.send(booking{id: "a", quantity: 1})
		const enough = time.Second // for one that does not wait for the copy
		select {
		case err := <-s.told:
			t.Errorf("with a copy that cannot have it was told %v", err)
			s.told <- err
		case <-time.After(enough):
		}
		release()
		if out := t.ends(s); out.Version != 2 {
			t.Errorf("got %+v", out)
		}
	}},
	{title: "closing sends what is on its way, and nothing after", run: func(t *eventTest) {
		bus, closeBus := t.log.Bus(t)
		var shipments []*shipment
		for range 100 {
			shipments = append(shipments, t.send(booking{id: "a", quantity: 1, bus: bus}))
		}
		if err := closeBus(); err != nil {
			t.Errorf("closing: %v", err)
		}
		for n, s := range shipments {
			if len(s.told) == 0 {
				t.Fatalf("closing left command %d behind", n)
			}
			t.logged(s)
		}
		late := t.send(booking{id: "a", quantity: 1, bus: bus})
		if err := t.told(late); !errors.Is(err, ports.ErrBusClosed) {
			t.Errorf("after closing: %v, want %v", err, ports.ErrBusClosed)
		}
		if err := closeBus(); err != nil {
			t.Errorf("closing again: %v", err)
		}
		if out := t.books(booking{id: "a", quantity: 1}); out.Version != 101 {
			t.Errorf("another bus made version %d, want 101", out.Version)
		}
	}},
	{title: "a log that cannot be reached is said to be, in time, and nothing is lost, half done or done twice", run: busOutage},
}

// busOutage cuts the log off while somebody sends. Whatever was told of a command is true, and sent again under their ids
// all count once.
func busOutage(t *eventTest) {
	const aggregates, known, onTheirWay, late = 4, 20, 200, 20
	unused, _ := t.log.Bus(t)
	var shipments []*shipment
	next := func(n int) {
		for range n {
			shipments = append(shipments, t.send(booking{id: fmt.Sprint(len(shipments) % aggregates), quantity: 1}))
		}
	}
	next(known)
	verdicts := make([]error, known+onTheirWay+late)
	for n := range known {
		t.logged(shipments[n])
	}
	next(onTheirWay)
	t.log.Cut(t)
	heal := sync.OnceFunc(func() { t.log.Heal(t) })
	defer heal()
	next(late)
	crowd := t.overload(unused)
	for _, s := range crowd { // nothing of it was ever on its way
		if err := t.told(s); !errors.Is(err, ports.ErrBusUnavailable) && !errors.Is(err, ports.ErrOverloaded) {
			t.Fatalf("a bus that has not reached its log said %v, want %v", err, ports.ErrBusUnavailable)
		}
	}
	for n := known; n < len(shipments); n++ {
		verdicts[n] = t.told(shipments[n])
	}
	heal()
	t.truthful(shipments, verdicts, aggregates)
	t.countsOnce(shipments, aggregates)
	if out := t.marker("crowd"); out.Version != 1 {
		t.Errorf("%d of %d commands that were not sent were decided", out.Version-1, len(crowd))
	}
}

// overload sends to a bus that has no log until it takes no more, and says so at once.
func (t *eventTest) overload(bus ports.EventBus) (crowd []*shipment) {
	t.Helper()
	const bound, look, atOnce = 100_000, 1_000, 20 * time.Millisecond
	for len(crowd) < bound {
		s := t.send(booking{id: "crowd", quantity: 1, bus: bus})
		s.interest.Cancel()
		crowd = append(crowd, s)
		if len(crowd)%look > 0 {
			continue
		}
		select {
		case err := <-s.told:
			s.told <- err
			if errors.Is(err, ports.ErrOverloaded) {
				return crowd
			}
		case <-time.After(atOnce):
		}
	}
	t.Errorf("a bus without a log holds %d commands", bound)
	return crowd
}

// marker sends a command as soon as the log takes one. When its outcome is known, so is that of every command that the
// log had before for the aggregate.
func (t *eventTest) marker(id string) *platform.Outcome {
	t.Helper()
	var out *platform.Outcome
	eventually(t, "the log takes commands again", func() bool {
		s := t.send(booking{id: id, quantity: 1})
		defer s.interest.Cancel()
		err := t.told(s)
		if err != nil && !errors.Is(err, ports.ErrBusUnavailable) {
			t.Fatalf("when the log is back: %v", err)
		}
		if err == nil {
			out = t.heard(s)
		}
		return err == nil
	})
	return out
}

// truthful compares what was told of commands with what became of them.
func (t *eventTest) truthful(shipments []*shipment, verdicts []error, aggregates int) {
	t.Helper()
	for n := range aggregates {
		t.marker(fmt.Sprint(n))
	}
	counts := map[string]int{}
	for n, s := range shipments {
		out := t.asks(t.bus, s)
		switch err := verdicts[n]; {
		case err == nil:
			if counts["logged"]++; out == nil {
				t.Errorf("command %d was logged, they said, and has no outcome", n)
			}
		case errors.Is(err, ports.ErrInDoubt):
			counts["in doubt"]++
		case errors.Is(err, ports.ErrBusUnavailable):
			if counts["not sent"]++; out != nil {
				t.Errorf("command %d was not sent, they said (%v), and ended as %+v", n, err, out)
			}
		default:
			t.Errorf("command %d: %v", n, err)
		}
	}
	t.Logf("%v", counts)
	if counts["logged"] == len(shipments) {
		t.Error("the cut hit nothing")
	}
}

// countsOnce sends everything again: each aggregate then has an event of each command, and of the marker before.
func (t *eventTest) countsOnce(shipments []*shipment, aggregates int) {
	t.Helper()
	var again []*shipment
	for _, s := range shipments {
		s.interest.Cancel()
		again = append(again, t.send(s.booking))
	}
	for _, s := range again {
		t.wants(t.ends(s), platform.OutcomeKindAccepted, "")
	}
	for n := range aggregates {
		if out, want := t.marker(fmt.Sprint(n)), int64(len(shipments)/aggregates+2); out.Version != want {
			t.Errorf("aggregate %d has version %d, want %d", n, out.Version, want)
		}
	}
}
