package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/bodyhash"
	"github.com/nexusblueprint/nexus/internal/eventid"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
	"github.com/nexusblueprint/nexus/views"
)

// world is everything behind a gateway, in memory: it decides the shop's
// commands as a processor would and hands out what became of them.
type world struct {
	topology *topology.Topology
	now      atomic.Int64 // milliseconds; what the gateway's clock says

	mu       sync.Mutex
	first    map[string]*platform.Outcome // by command id
	kept     map[string]*kept             // aggregates, by type and id
	waiting  map[string][]*interest
	ends     views.Position
	sent     int            // commands that came
	held     []func()       // answers held back
	hold     bool           // hold answers back
	sendErr  error          // what Send answers
	lost     bool           // commands vanish: no outcome ever comes
	viewErr  error          // what the views answer
	waitErr  error          // what waiting for a position answers
	waitedAt views.Position // the last position waited for
	lag      views.Lag

	found searchDouble
}

type kept struct {
	version int64
	at      avro.Millis
	state   domain.Record
	events  []ports.Event
}

type interest struct {
	w  *world
	id string
	c  chan *platform.Outcome
}

func newWorld() *world {
	w := &world{
		topology: shop.Topology(), first: map[string]*platform.Outcome{}, kept: map[string]*kept{},
		waiting: map[string][]*interest{}, ends: views.Position{},
	}
	w.now.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	return w
}

// Send decides the command at once and answers it from another goroutine.
func (w *world) Send(_ context.Context, aggregateType, id string, cmd domain.Command, meta *platform.CommandMetadata, done func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent++
	if err := w.sendErr; err != nil {
		go done(err)
		return
	}
	lost := w.lost
	a, ok := w.topology.Aggregate(aggregateType)
	if !ok {
		go done(ports.ErrUnknownType)
		return
	}
	out := w.decide(a, id, cmd, meta)
	answer := func() {
		done(nil)
		if !lost {
			w.deliver(out)
		}
	}
	if w.hold {
		w.held = append(w.held, answer)
		return
	}
	go answer()
}

// release lets the held answers go, and those to come.
func (w *world) release() {
	w.mu.Lock()
	held := w.held
	w.held, w.hold = nil, false
	w.mu.Unlock()
	for _, answer := range held {
		answer()
	}
}

func (w *world) decide(a topology.Aggregate, id string, cmd domain.Command, meta *platform.CommandMetadata) *platform.Outcome {
	out := &platform.Outcome{
		CommandID: meta.CommandID, CommandType: cmd.AvroName(), AggregateType: a.Name(), AggregateID: id, At: avro.Millis(w.now.Load()),
		BodyHash: bodyhash.Sum(cmd.AvroName(), meta.Expectation, meta.ExpectedVersion, cmd.AppendAvro(nil)),
	}
	if first := w.first[meta.CommandID]; first != nil {
		again := *first
		again.Repeated = true
		if first.BodyHash != out.BodyHash {
			out.Kind, out.Code, out.Repeated = platform.OutcomeKindRefused, "command-id-reused", true
			return out
		}
		return &again
	}
	w.first[meta.CommandID] = out
	k := w.kept[a.Name()+"/"+id]
	if k == nil {
		k = &kept{state: a.NewState()}
	}
	out.Version = k.version
	if conflict(k.version, meta) {
		out.Kind, out.Code, out.Detail = platform.OutcomeKindRefused, "version-conflict", "another version"
		return out
	}
	events, no := a.Decide(k.state, cmd)
	if no != nil {
		out.Kind, out.Code, out.Detail = platform.OutcomeKindRejected, no.Code, no.Detail
		return out
	}
	for i, e := range events {
		w.record(a, id, k, e, meta, i)
		last := k.events[len(k.events)-1].Metadata
		out.Events = append(out.Events, platform.OutcomeEvent{ID: last.EventID, Type: e.AvroName(), Version: last.Version})
	}
	out.Version = k.version
	return out
}

func conflict(version int64, meta *platform.CommandMetadata) bool {
	switch meta.Expectation {
	case platform.ExpectationExact:
		return version != meta.ExpectedVersion
	case platform.ExpectationExists:
		return version == 0
	case platform.ExpectationAbsent:
		return version != 0
	}
	return false
}

func (w *world) record(a topology.Aggregate, id string, k *kept, e domain.Event, meta *platform.CommandMetadata, index int) {
	k.version++
	k.at = avro.Millis(w.now.Load())
	a.Evolve(k.state, e)
	k.events = append(k.events, ports.Event{
		Metadata: &platform.Metadata{
			EventID: eventid.Of(a.Name(), id, meta.CommandID, index), AggregateType: a.Name(), AggregateID: id, Version: k.version,
			CommandID: meta.CommandID, CorrelationID: meta.CorrelationID, CausationID: meta.CommandID, At: k.at,
		},
		Type: e.AvroName(), Avro: e.AppendAvro(nil),
	})
	w.kept[a.Name()+"/"+id] = k
	tp := views.TopicPartition{Topic: w.topology.Events(a), Partition: partitionOf(id, w.topology.PartitionCount())}
	if _, ok := w.ends[tp]; ok {
		w.ends[tp]++
	} else {
		w.ends[tp] = 0
	}
}

func (w *world) deliver(out *platform.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.waiting[out.CommandID] {
		select {
		case i.c <- out:
		default:
		}
	}
}

// Expect and Outcome: the outcomes view. An outcome is known once it is delivered.
func (w *world) Expect(id string) ports.Expectation {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := &interest{w: w, id: id, c: make(chan *platform.Outcome, 4)}
	w.waiting[id] = append(w.waiting[id], i)
	return i
}

func (i *interest) C() <-chan *platform.Outcome { return i.c }

func (i *interest) Cancel() {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	var rest []*interest
	for _, other := range i.w.waiting[i.id] {
		if other != i {
			rest = append(rest, other)
		}
	}
	if i.w.waiting[i.id] = rest; rest == nil {
		delete(i.w.waiting, i.id)
	}
}

func (w *world) Outcome(_ context.Context, id string) (*platform.Outcome, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, ok := w.first[id]
	if w.hold || w.lost {
		ok = false
	}
	return out, ok, w.viewErr
}

// states is the state view of a world.
type states struct{ *world }

func (w states) Get(ctx context.Context, aggregateType, id string, minVersion int64) (views.State, error) {
	for {
		state, err := w.current(aggregateType + "/" + id)
		if err != nil || state.Version >= max(minVersion, 1) {
			return state, err
		}
		if minVersion == 0 {
			return state, fmt.Errorf("reading: %w", views.ErrNotFound)
		}
		select {
		case <-ctx.Done():
			return state, fmt.Errorf("waiting: %w", views.ErrBehind)
		case <-time.After(time.Millisecond):
		}
	}
}

func (w states) current(key string) (views.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kept[key]
	if k == nil {
		return views.State{}, w.viewErr
	}
	return views.State{Version: k.version, At: k.at, Avro: k.state.AppendAvro(nil)}, w.viewErr
}

func (w *world) Events(_ context.Context, aggregateType, id string, from int64, limit int) ([]ports.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.kept[aggregateType+"/"+id]
	if k == nil || from > k.version {
		return nil, w.viewErr
	}
	events := k.events[from-1:]
	return events[:min(len(events), limit)], w.viewErr
}

func (w *world) After(_ context.Context, parts []views.TopicPartition) (views.Position, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pos := views.Position{}
	for _, tp := range parts {
		if end, ok := w.ends[tp]; ok {
			pos[tp] = end
		}
	}
	return pos, w.viewErr
}

func (w *world) Wait(ctx context.Context, _ topology.Projection, pos views.Position) error {
	w.mu.Lock()
	err := w.waitErr
	w.waitedAt = pos
	w.mu.Unlock()
	if err == errNeverCaughtUp { //nolint:errorlint // set by the test itself
		<-ctx.Done()
		return fmt.Errorf("waiting: %w", views.ErrBehind)
	}
	return err
}

var errNeverCaughtUp = fmt.Errorf("never caught up")

func (w *world) Lag(context.Context, topology.Projection) (views.Lag, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lag, w.viewErr
}

// change alters the world between two steps of a test.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) commandsSent() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent
}

// searchDouble answers what it was told and keeps what it was asked.
type searchDouble struct {
	mu    sync.Mutex
	asked []ports.Query
	index string
	page  ports.Page
	doc   *ports.Document
	err   error
}

func (s *searchDouble) Get(_ context.Context, index, id string) (ports.Document, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = index
	if s.doc == nil || s.doc.ID != id {
		return ports.Document{}, false, s.err
	}
	return *s.doc, true, s.err
}

func (s *searchDouble) Search(_ context.Context, index string, q ports.Query) (ports.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.asked = index, append(s.asked, q)
	return s.page, s.err
}

func (s *searchDouble) Count(context.Context, string) (int64, error) { return 42, s.err }
