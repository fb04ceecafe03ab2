package views

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// States shows the live state of every aggregate, as of the last transaction it has read. Make it with [NewStates] and
// Run it once; its other methods are safe for concurrent use.
type States struct {
	f          *follower
	cfg        Config
	aggregates map[string]topology.Aggregate
	byTopic    map[string]string
	watch      *watch
	key        []byte // of the writer
}

// State is what an aggregate looks like at a version.
type State struct {
	Version int64
	At      avro.Millis  // recorded time of the last event
	Schema  *avro.Schema // of the state
	Avro    []byte       // the state, encoded by Schema
	Record  avro.Record  // the state, decoded; the caller's own
}

// NewStates makes the view; nothing is started.
func NewStates(cfg Config) *States {
	cfg = cfg.withDefaults()
	s := &States{cfg: cfg, aggregates: map[string]topology.Aggregate{}, byTopic: map[string]string{}, watch: newWatch()}
	var topics []string
	for _, a := range cfg.Topology.Aggregates {
		topic := cfg.Topology.Table(a)
		topics = append(topics, topic)
		s.aggregates[a.Name()], s.byTopic[topic] = a, a.Name()
	}
	s.f = newFollower(cfg, stateSpace, "states", topics, s)
	return s
}

// Run follows the topics until ctx ends, and returns nil then. Any other end is a failure of the local store.
func (s *States) Run(ctx context.Context) error { return s.f.run(ctx) }

// Ready reports whether the view has read what was on its topics when it started.
func (s *States) Ready() bool { return s.f.isReady() }

// Progress of catching up after the start.
func (s *States) Progress() Progress { return s.f.progress() }

func stateKey(dst []byte, aggregate, id string) []byte {
	dst = append(dst[:0], 'v', byte(stateSpace), kindData)
	return append(append(append(dst, aggregate...), 0), id...)
}

func (s *States) arrived(*kgo.Record) {}

func (s *States) store(b *localstore.Batch, r *kgo.Record) error {
	s.key = append(append(append(s.key[:0], 'v', byte(stateSpace), kindData), s.byTopic[r.Topic]...), 0)
	s.key = append(s.key, r.Key...)
	if r.Value == nil {
		b.Delete(s.key)
		return nil
	}
	b.Set(s.key, r.Value)
	return nil
}

func (s *States) sealed(*localstore.Batch) {}

func (s *States) applied(records []*kgo.Record) {
	if s.watch.idle() {
		return
	}
	for _, r := range records {
		s.watch.change(s.byTopic[r.Topic] + "\x00" + string(r.Key))
	}
}

func (s *States) since() int64 { return 0 }

// Get returns the state of an aggregate at minVersion or later; with minVersion 0 whatever there is now. The answer is
// never older than one given before by this view. It waits for minVersion until ctx ends.
//
// Errors: [ErrUnknownType]; [ErrNotFound], only with minVersion 0; [ErrBehind] when minVersion did not come within
// ctx's deadline; [ErrCatchingUp]; ctx.Err() when it was cancelled; others are failures of the store or of decoding.
func (s *States) Get(ctx context.Context, aggregateType, id string, minVersion int64) (State, error) {
	a, ok := s.aggregates[aggregateType]
	if !ok {
		return State{}, fmt.Errorf("reading %s %s: %w", aggregateType, id, ErrUnknownType)
	}
	if err := s.f.check(); err != nil {
		return State{}, err
	}
	if minVersion <= 0 {
		return s.read(a, id)
	}
	watchKey := aggregateType + "\x00" + id
	for {
		change := s.watch.on(watchKey)
		st, err := s.readAny(a, id)
		if err != nil || st.Version >= minVersion {
			s.watch.off(watchKey, change)
			return st, err
		}
		select {
		case <-change.changed:
			s.watch.off(watchKey, change)
		case <-ctx.Done():
			s.watch.off(watchKey, change)
			return State{}, late(ctx, "%s %s stands at version %d here, not yet at %d", aggregateType, id, st.Version, minVersion)
		}
	}
}

func (s *States) read(a topology.Aggregate, id string) (State, error) {
	st, err := s.readAny(a, id)
	if err == nil && st.Version == 0 {
		err = fmt.Errorf("reading %s %s: %w", a.Name(), id, ErrNotFound)
	}
	return st, err
}

// readAny returns the zero State for an aggregate that does not exist.
func (s *States) readAny(a topology.Aggregate, id string) (State, error) {
	framed, err := s.cfg.Store.Get(stateKey(nil, a.Name(), id))
	if err != nil || framed == nil {
		return State{}, err
	}
	rec := tableRecord{name: a.Table, state: a.NewState()}
	if err := s.cfg.Framer.Decode(framed, &rec); err != nil {
		return State{}, fmt.Errorf("reading the table record of %s %s: %w", a.Name(), id, err)
	}
	return State{
		Version: rec.envelope.Version, At: rec.envelope.At, Record: rec.state,
		Schema: s.cfg.Topology.Schemas.Find(rec.state.AvroName()).Schema(), Avro: rec.state.AppendAvro(nil),
	}, nil
}

// late is the error of a wait that ctx has ended.
func late(ctx context.Context, format string, args ...any) error {
	if context.Cause(ctx) == context.DeadlineExceeded || ctx.Err() == context.DeadlineExceeded {
		return fmt.Errorf(format+": %w", append(args, ErrBehind)...)
	}
	return ctx.Err()
}
