package portstest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// EventLog is the log beneath buses and stores, as far as the suites have to handle it. Processors of Aggregate decide
// what the buses are given; they run all the time.
type EventLog struct {
	// Bus opens a bus of its own, as another process has one, until the test ends; close ends its sending before.
	Bus func(t testing.TB) (bus ports.EventBus, closeBus func() error)
	// Store opens a store of its own, as another process has one, until the test ends. It need not have caught up.
	Store func(t testing.TB) ports.EventStore
	// Cut takes the log away from all buses and stores, not from the processors; Heal brings it back.
	Cut, Heal func(t testing.TB)
	// Uncommitted writes an event of an aggregate in a transaction that stays open until it is aborted.
	Uncommitted func(t testing.TB, event *retail.StockReceived, meta *platform.Metadata) (abort func())
	// Withhold keeps one copy of what is written to an aggregate from taking it, until release. Nil without Replicas.
	Withhold func(t testing.TB, id string) (release func())
	// Lacks are the features that it does not have.
	Lacks []Feature
}

// Feature is something that a log may be without. The list is closed; what the ports promise is not on it.
type Feature string

// Replicas are copies of what is written, each on a machine of its own. A log without has one copy.
const Replicas Feature = "replicas"

// Aggregate is what the suites send their commands to. ReceiveStock makes as many events as its quantity says, and is
// rejected if that is negative.
func Aggregate() *domain.Aggregate {
	return domain.NewAggregate(aggregateType, 1,
		func(s retail.Stock, _ domain.Event) retail.Stock { s.OnHand++; return s },
		domain.Handle(func(c *retail.ReceiveStock) string { return c.Sku },
			func(*retail.ReceiveStock) []domain.Fault { return nil },
			func(_ retail.Stock, c *retail.ReceiveStock) (events []domain.Event, _ *domain.Rejection) {
				if c.Quantity < 0 {
					return nil, domain.Reject(rejectionCode, "the quantity is %d", c.Quantity)
				}
				for n := range c.Quantity {
					events = append(events, &retail.StockReceived{Sku: c.Sku, Description: c.Description, Quantity: n + 1, Reference: c.Reference})
				}
				return events, nil
			}),
		domain.Records[retail.Stock, retail.StockReceived](),
	)
}

const (
	aggregateType = "stock"
	rejectionCode = "negative-quantity"
	eventType     = "shop.stock.StockReceived"

	// patience bounds what has to come soon; a starved machine is not what the suites judge.
	patience = 30 * time.Second
)

// eventTest is one case, with aggregates and command ids of its own.
type eventTest struct {
	*testing.T
	log    EventLog
	bus    ports.EventBus   // a bus of all cases
	store  ports.EventStore // a store of all cases
	prefix string
	sent   int
}

type eventCase struct {
	title string
	run   func(t *eventTest)
	needs Feature // "": none
}

// runEvents runs the cases that the log has the features for.
func runEvents(t *testing.T, log EventLog, cases []eventCase) {
	t.Helper()
	for _, f := range log.Lacks {
		if f != Replicas {
			t.Fatalf("%q is no feature that a log may lack", f)
		}
	}
	bus, _ := log.Bus(t)
	store := log.Store(t)
	awaitStore(t, store)
	run := rand.Uint64() // so that suites may be run on one log
	for n, c := range cases {
		if slices.Contains(log.Lacks, c.needs) {
			t.Logf("the log has no %s: nobody can ask whether %s", c.needs, c.title)
			continue
		}
		t.Run(c.title, func(t *testing.T) {
			c.run(&eventTest{T: t, log: log, bus: bus, store: store, prefix: fmt.Sprintf("%x-%d-", run, n)})
		})
	}
}

// awaitStore returns when a store has caught up.
func awaitStore(t testing.TB, store ports.EventStore) {
	t.Helper()
	eventually(t, "the store has caught up", func() bool {
		_, err := store.Events(t.Context(), aggregateType, "nobody", 1, 1)
		if err != nil && !errors.Is(err, ports.ErrCatchingUp) {
			t.Fatalf("reading events of nobody: %v", err)
		}
		return err == nil
	})
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); pause(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func pause(d time.Duration) { <-time.After(d) }

// booking is a command of a case.
type booking struct {
	id          string // of the aggregate, without the case's prefix
	commandID   string // without the prefix; "" for one of its own
	quantity    int32
	description string
	expect      platform.Expectation
	version     int64           // with ExpectationExact
	bus         ports.EventBus  // nil: that of all cases
	ctx         context.Context // nil: the test's
}

// shipment is a booking on its way.
type shipment struct {
	booking   booking
	commandID string // with the prefix
	told      chan error
	interest  ports.Expectation
}

// id is the aggregate's whole id.
func (t *eventTest) id(id string) string { return t.prefix + id }

// send gives a booking to a bus. It may be called by one goroutine at a time.
func (t *eventTest) send(b booking) *shipment {
	t.Helper()
	t.sent++
	if b.commandID == "" {
		b.commandID = fmt.Sprint("own-", t.sent)
	}
	return t.ship(b)
}

// ship is send for any goroutine; the booking has a command id.
func (t *eventTest) ship(b booking) *shipment {
	if b.bus == nil {
		b.bus = t.bus
	}
	if b.ctx == nil {
		b.ctx = t.Context()
	}
	s := &shipment{booking: b, commandID: t.id(b.commandID), told: make(chan error, 8)}
	s.interest = b.bus.Expect(s.commandID)
	cmd := &retail.ReceiveStock{Sku: t.id(b.id), Quantity: b.quantity, Description: b.description, Reference: s.commandID}
	meta := &platform.CommandMetadata{
		CommandID: s.commandID, Expectation: b.expect, ExpectedVersion: b.version,
		CorrelationID: "correlation of " + s.commandID, CausationID: s.commandID, Actor: "somebody",
	}
	began := time.Now()
	b.bus.Send(b.ctx, aggregateType, cmd.Sku, cmd, meta, func(err error) { s.told <- err })
	if took := time.Since(began); took > patience/10 {
		t.Errorf("Send blocked for %v", took)
	}
	return s
}

// told is what was said of a shipment, in bounded time and once.
func (t *eventTest) told(s *shipment) error {
	t.Helper()
	select {
	case err := <-s.told:
		if len(s.told) > 0 {
			t.Errorf("of command %s was told %v, and then %v", s.commandID, err, <-s.told)
		}
		return err
	case <-time.After(patience):
		t.Fatalf("of command %s nothing was told within %v", s.commandID, patience)
		return nil
	}
}

// logged demands that the log has it.
func (t *eventTest) logged(s *shipment) {
	t.Helper()
	if err := t.told(s); err != nil {
		t.Fatalf("sending command %s: %v", s.commandID, err)
	}
}

// heard is the next outcome under the shipment's command id.
func (t *eventTest) heard(s *shipment) *platform.Outcome {
	t.Helper()
	select {
	case out := <-s.interest.C():
		return out
	case <-time.After(patience):
		t.Fatalf("command %s has no outcome within %v", s.commandID, patience)
		return nil
	}
}

// ends demands that the log has the shipment and gives its outcome.
func (t *eventTest) ends(s *shipment) *platform.Outcome {
	t.Helper()
	t.logged(s)
	out := t.heard(s)
	s.interest.Cancel()
	return out
}

// books sends a booking that has to be accepted, and gives its outcome.
func (t *eventTest) books(b booking) *platform.Outcome {
	t.Helper()
	out := t.ends(t.send(b))
	t.wants(out, platform.OutcomeKindAccepted, "")
	return out
}

func (t *eventTest) wants(out *platform.Outcome, kind platform.OutcomeKind, code string) {
	t.Helper()
	if out.Kind != kind || out.Code != code {
		t.Errorf("command %s ended as %s %q (%s), want %s %q", out.CommandID, out.Kind, out.Code, out.Detail, kind, code)
	}
	if kind != platform.OutcomeKindAccepted && len(out.Events) > 0 {
		t.Errorf("command %s was %s and has events: %+v", out.CommandID, kind, out.Events)
	}
}

// events waits until a store has n events of an aggregate, and gives what it has.
func (t *eventTest) events(store ports.EventStore, id string, n int) []ports.Event {
	t.Helper()
	var events []ports.Event
	eventually(t, fmt.Sprintf("%s has %d events", id, n), func() bool {
		events = t.all(store, id)
		return len(events) >= n
	})
	if len(events) != n {
		t.Errorf("%s has %d events, want %d", id, len(events), n)
	}
	return events
}

// all reads an aggregate's events, page by page.
func (t *eventTest) all(store ports.EventStore, id string) (events []ports.Event) {
	t.Helper()
	for {
		page, err := store.Events(t.Context(), aggregateType, t.id(id), int64(len(events))+1, ports.EventsMax)
		if err != nil {
			t.Fatalf("reading events of %s from %d: %v", id, len(events)+1, err)
		}
		events = append(events, page...)
		if len(page) < ports.EventsMax {
			return events
		}
	}
}
