package portstest

import (
	"bytes"
	"context"
	"crypto/sha256"
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

// EventStore checks the stores of a log against the contract of ports.EventStore.
func EventStore(t *testing.T, log EventLog) {
	t.Helper()
	runEvents(t, log, slices.Concat(storeCases, storeTroubleCases))
}

var storeCases = []eventCase{
	{title: "an aggregate's events come in order, with what they are and where they come from", run: func(t *eventTest) {
		var outcomes []*platform.Outcome
		for n := range 8 {
			outcomes = append(outcomes, t.books(booking{id: "a", quantity: int32(n % 3), description: fmt.Sprint("of command ", n)}))
		}
		events := t.events(t.store, "a", 7)
		next, at := 0, avro.Millis(0)
		for n, out := range outcomes {
			for i, named := range out.Events {
				e, body := events[next], new(retail.StockReceived)
				next++
				m := e.Metadata
				if err := body.DecodeAvro(e.Avro); err != nil {
					t.Fatal(err)
				}
				if m.Version != int64(next) || m.Version != named.Version || m.EventID != named.ID || e.Type != named.Type || m.CommandID != out.CommandID ||
					m.AggregateType != aggregateType || m.AggregateID != t.id("a") || m.Actor != "somebody" || m.CorrelationID != "correlation of "+out.CommandID {
					t.Errorf("event %d is %s %+v, the outcome names %+v", next, e.Type, m, named)
				}
				if body.Sku != t.id("a") || body.Quantity != int32(i)+1 || body.Description != fmt.Sprint("of command ", n) {
					t.Errorf("event %d holds %+v", next, body)
				}
				if m.At < at {
					t.Errorf("event %d is of %v, the one before of %v", next, m.At, at)
				}
				at = m.At
			}
		}
	}},
	{title: "each event holds the hash of the one before", run: func(t *eventTest) {
		for range 5 {
			t.books(booking{id: "a", quantity: 2})
		}
		var hash platform.Sha256
		for n, e := range t.events(t.store, "a", 10) {
			if e.Metadata.PreviousHash != hash {
				t.Errorf("event %d names %x as the hash before it, that is %x", n+1, e.Metadata.PreviousHash, hash)
			}
			hash = sha256.Sum256(append(e.Metadata.AppendAvro(nil), e.Avro...))
		}
	}},
	{title: "pages hold every event once, from any version on", run: func(t *eventTest) {
		const all = ports.EventsMax + 20
		for n := range 4 {
			t.books(booking{id: "a", quantity: all/4 + int32(n) - 1})
		}
		const total = all + 2
		events := t.events(t.store, "a", total)
		for _, c := range []struct {
			from  int64
			limit int
			want  int
		}{
			{1, 1, 1},
			{1, total, ports.EventsMax},
			{1, ports.EventsMax + 1, ports.EventsMax},
			{3, 70, 70},
			{total, 10, 1},
			{total - 9, 10, 10},
			{total + 1, 10, 0},
			{0, 3, 3},
			{-5, 3, 3},
			{1, 0, 0},
			{1, -1, 0},
		} {
			page, err := t.store.Events(t.Context(), aggregateType, t.id("a"), c.from, c.limit)
			if err != nil || len(page) != c.want {
				t.Errorf("%+v: %d events, %v", c, len(page), err)
				continue
			}
			t.same(page, events[max(c.from, 1)-1:][:len(page)])
		}
	}},
	{title: "an aggregate that does not exist has no events, a type that does not exist is an error", run: func(t *eventTest) {
		t.books(booking{id: "a", quantity: 1})
		t.ends(t.send(booking{id: "rejected", quantity: -1}))
		t.ends(t.send(booking{id: "refused", quantity: 1, expect: platform.ExpectationExists}))
		t.events(t.store, "a", 1)
		for _, id := range []string{"nobody", "", "A", "rejected", "refused"} {
			t.events(t.store, id, 0)
		}
		if events, err := t.store.Events(t.Context(), "nobody", t.id("a"), 1, 1); !errors.Is(err, ports.ErrUnknownType) || events != nil {
			t.Errorf("of an unknown type: %+v, %v, want %v", events, err, ports.ErrUnknownType)
		}
	}},
	{title: "aggregates whose ids begin alike do not mix", run: func(t *eventTest) {
		ids := []string{"1", "12", "1 ", "1é", "1/2", "É", "é", strings.Repeat("1", 100)}
		for n, id := range ids {
			t.books(booking{id: id, quantity: int32(n) + 1})
		}
		for n, id := range ids {
			for _, e := range t.events(t.store, id, n+1) {
				if e.Metadata.AggregateID != t.id(id) {
					t.Errorf("%q has an event of %q", id, e.Metadata.AggregateID)
				}
			}
		}
	}},
	{title: "an event as large as may be comes back whole", run: func(t *eventTest) {
		b := booking{id: "a", quantity: 1, description: strings.Repeat("é", (ports.CommandBytesMax-1<<10)/2)}
		t.books(b)
		body := new(retail.StockReceived)
		if err := body.DecodeAvro(t.events(t.store, "a", 1)[0].Avro); err != nil || body.Description != b.description {
			t.Errorf("it came back with %d bytes of %d, %v", len(body.Description), len(b.description), err)
		}
	}},
}

// same compares events byte for byte.
func (t *eventTest) same(got, want []ports.Event) {
	t.Helper()
	for n := range got {
		if !sameEvent(got[n], want[n]) {
			t.Errorf("event at version %d is %s %+v, was %s %+v", want[n].Metadata.Version, got[n].Type, got[n].Metadata, want[n].Type, want[n].Metadata)
		}
	}
}

func sameEvent(a, b ports.Event) bool {
	return a.Type == b.Type && bytes.Equal(a.Framed, b.Framed) && bytes.Equal(a.Avro, b.Avro) && bytes.Equal(a.Metadata.AppendAvro(nil), b.Metadata.AppendAvro(nil))
}

var storeTroubleCases = []eventCase{
	{title: "what is not committed is not given, and what was aborted never", run: func(t *eventTest) {
		t.books(booking{id: "a", quantity: 1})
		t.events(t.store, "a", 1)
		abort := sync.OnceFunc(t.log.Uncommitted(t, &retail.StockReceived{Sku: t.id("a"), Quantity: 1, Reference: "uncommitted"},
			&platform.Metadata{AggregateType: aggregateType, AggregateID: t.id("a"), Version: 2, CommandID: t.id("uncommitted")}))
		defer abort()
		uncommitted := func(store ports.EventStore) bool {
			events := t.all(store, "a")
			return slices.ContainsFunc(events, func(e ports.Event) bool { return e.Metadata.CommandID == t.id("uncommitted") })
		}
		fresh := t.log.Store(t) // begins beneath the open transaction
		awaitStore(t, fresh)
		const enough = 500 * time.Millisecond // for one that reads what is not committed
		for began := time.Now(); time.Since(began) < enough; pause(5 * time.Millisecond) {
			if uncommitted(t.store) || uncommitted(fresh) {
				t.Fatal("an event of an open transaction is given")
			}
		}
		abort()
		out := t.books(booking{id: "a", quantity: 1})
		for _, store := range []ports.EventStore{t.store, fresh, t.opened()} {
			if events := t.events(store, "a", 2); events[1].Metadata.CommandID != out.CommandID {
				t.Errorf("version 2 is %+v, not the event of %s", events[1].Metadata, out.CommandID)
			}
		}
	}},
	{title: "whoever reads while others write sees versions without a gap, and nothing that was there goes", run: func(t *eventTest) {
		const aggregates, each = 4, 60
		reading, stop := context.WithCancel(t.Context())
		defer stop()
		var readers sync.WaitGroup
		for n := range aggregates {
			readers.Go(func() { t.watch(reading, fmt.Sprint(n)) })
		}
		var shipments []*shipment
		for i := range aggregates * each {
			shipments = append(shipments, t.send(booking{id: fmt.Sprint(i % aggregates), quantity: 1 + int32(i)%2}))
		}
		for _, s := range shipments {
			t.wants(t.ends(s), platform.OutcomeKindAccepted, "")
		}
		fresh := t.opened()
		for n := range aggregates {
			want := each * (1 + n%2)
			t.same(t.events(fresh, fmt.Sprint(n), want), t.events(t.store, fmt.Sprint(n), want))
		}
		stop()
		readers.Wait()
	}},
	{title: "a store that was just opened answers with everything or not at all", run: func(t *eventTest) {
		for range 5 {
			t.books(booking{id: "a", quantity: 20})
		}
		known := t.events(t.store, "a", 100)
		for range 3 {
			store := t.log.Store(t)
			eventually(t, "it answers", func() bool {
				events, err := store.Events(t.Context(), aggregateType, t.id("a"), 1, ports.EventsMax)
				switch {
				case err == nil && len(events) < len(known):
					t.Fatalf("it gives %d of %d events", len(events), len(known))
				case err == nil:
					t.same(events, known)
				case !errors.Is(err, ports.ErrCatchingUp):
					t.Fatalf("it says %v, want %v", err, ports.ErrCatchingUp)
				}
				return err == nil
			})
		}
	}},
	{title: "a log that cannot be reached takes nothing away, and what it gets meanwhile comes later", run: func(t *eventTest) {
		t.books(booking{id: "a", quantity: 3})
		known := t.events(t.store, "a", 3)
		meanwhile := t.send(booking{id: "a", quantity: 1}) // on its way, perhaps
		t.log.Cut(t)
		for range 20 {
			events := t.all(t.store, "a")
			if len(events) < len(known) {
				t.Fatalf("%d of %d events are given", len(events), len(known))
			}
			t.same(events[:len(known)], known)
			pause(5 * time.Millisecond)
		}
		t.log.Heal(t)
		version := 3
		if err := t.told(meanwhile); err == nil {
			version++
		}
		if out := t.marker("a"); out.Version != int64(version)+1 {
			t.Errorf("the log is at version %d, want %d", out.Version, version+1)
		}
		t.same(t.events(t.store, "a", version+1)[:len(known)], known)
	}},
	{title: "a call whose context has ended says so", run: func(t *eventTest) {
		t.books(booking{id: "a", quantity: 1})
		t.events(t.store, "a", 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if events, err := t.store.Events(ctx, aggregateType, t.id("a"), 1, 10); !errors.Is(err, context.Canceled) || events != nil {
			t.Errorf("got %d events, %v, want %v", len(events), err, context.Canceled)
		}
	}},
}

// opened is another store, which has caught up.
func (t *eventTest) opened() ports.EventStore {
	t.Helper()
	store := t.log.Store(t)
	awaitStore(t, store)
	return store
}

// watch reads an aggregate until ctx ends.
func (t *eventTest) watch(ctx context.Context, id string) {
	var before []ports.Event
	for ctx.Err() == nil {
		events, err := t.store.Events(ctx, aggregateType, t.id(id), 1, ports.EventsMax)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("reading %s: %v", id, err)
			}
			return
		}
		if len(events) < len(before) {
			t.Errorf("%s had %d events and has %d", id, len(before), len(events))
		}
		for n, e := range events {
			if e.Metadata.Version != int64(n)+1 || n < len(before) && !sameEvent(e, before[n]) {
				t.Errorf("event %d of %s is %+v", n+1, id, e.Metadata)
				return
			}
		}
		before = events
		pause(time.Millisecond)
	}
}
