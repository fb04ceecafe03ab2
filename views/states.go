package views

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// statesAtATime bounds the table records that are being fetched: each comes with the batch it was written in.
const statesAtATime = 8

// States shows the live state of every aggregate, as of the last transaction it has read. Make it with [NewStates] and
// Run it once; its other methods are safe for concurrent use.
//
// It keeps where the newest table record of each aggregate stands and reads that record when it is asked for: under
// load a state is written far more often than it is looked at, and some are large.
type States struct {
	f          *follower
	cfg        Config
	aggregates map[string]topology.Aggregate
	byTopic    map[string]string
	watch      *watch
	broker     atomic.Pointer[broker] // while Run runs
	turns      chan struct{}          // holds a token for each fetch under way

	key, value []byte // of the writer
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
	s := &States{
		cfg: cfg, aggregates: map[string]topology.Aggregate{}, byTopic: map[string]string{}, watch: newWatch(),
		turns: make(chan struct{}, statesAtATime),
	}
	var topics []string
	for _, a := range cfg.Topology.Aggregates {
		topic := cfg.Topology.Table(a)
		topics = append(topics, topic)
		s.aggregates[a.Name()], s.byTopic[topic] = a, a.Name()
	}
	s.f = newFollower(cfg, stateSpace, "states", topics, readersWait, s)
	return s
}

// Run follows the topics until ctx ends, and returns nil then. Any other end is a failure of the local store.
func (s *States) Run(ctx context.Context) error {
	b, err := newBroker(s.cfg)
	if err != nil {
		return err
	}
	defer b.close()
	s.broker.Store(b)
	return s.f.run(ctx)
}

// Ready reports whether the view has read what was on its topics when it started.
func (s *States) Ready() bool { return s.f.isReady() }

// Progress of catching up after the start.
func (s *States) Progress() Progress { return s.f.progress() }

func stateKey[K string | []byte](dst []byte, aggregate string, id K) []byte {
	dst = append(append(append(dst[:0], 'v', byte(stateSpace), kindData), aggregate...), 0)
	return append(dst, id...)
}

// place is where an aggregate's newest table record stands.
func place(dst []byte, partition int32, offset int64) []byte {
	dst = binary.BigEndian.AppendUint32(dst[:0], uint32(partition))
	return binary.BigEndian.AppendUint64(dst, uint64(offset))
}

func (s *States) arrived(*kgo.Record) {}

func (s *States) store(b *localstore.Batch, r *kgo.Record) error {
	s.key = stateKey(s.key, s.byTopic[r.Topic], r.Key)
	if r.Value == nil {
		b.Delete(s.key)
		return nil
	}
	s.value = place(s.value, r.Partition, r.Offset)
	b.Set(s.key, s.value)
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
// Errors: [ports.ErrUnknownType]; [ErrNotFound], only with minVersion 0; [ErrBehind] when minVersion did not come within
// ctx's deadline; [ports.ErrCatchingUp]; [ErrUnavailable]; ctx.Err() when it was cancelled; others are failures of the store
// or of decoding.
func (s *States) Get(ctx context.Context, aggregateType, id string, minVersion int64) (State, error) {
	a, ok := s.aggregates[aggregateType]
	if !ok {
		return State{}, fmt.Errorf("reading %s %s: %w", aggregateType, id, ports.ErrUnknownType)
	}
	if err := s.f.check(); err != nil {
		return State{}, err
	}
	if minVersion <= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	watchKey := aggregateType + "\x00" + id
	for {
		change := s.watch.on(watchKey)
		st, err := s.read(ctx, a, id)
		switch {
		case errors.Is(err, errGone):
			// Compaction takes a record only when there is a newer one, which the view is about to read.
		case err != nil, minVersion > 0 && st.Version >= minVersion, minVersion <= 0 && st.Version > 0:
			s.watch.off(watchKey, change)
			return st, err
		case minVersion <= 0:
			s.watch.off(watchKey, change)
			return st, fmt.Errorf("reading %s %s: %w", aggregateType, id, ErrNotFound)
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

// read returns the zero State for an aggregate that does not exist.
func (s *States) read(ctx context.Context, a topology.Aggregate, id string) (State, error) {
	at, err := s.cfg.Store.Get(stateKey(nil, a.Name(), id))
	if err != nil || len(at) != 12 {
		return State{}, err
	}
	tp := TopicPartition{s.cfg.Topology.Table(a), int32(binary.BigEndian.Uint32(at))}
	r, err := s.fetch(ctx, tp, int64(binary.BigEndian.Uint64(at[4:])))
	if err != nil {
		return State{}, fmt.Errorf("reading %s %s: %w", a.Name(), id, err)
	}
	var env platform.Envelope
	state := a.NewState()
	if err := s.cfg.Framer.Decode(r.Value, &avro.Joined{Name: a.Table, Head: &env, Tail: state}); err != nil {
		return State{}, fmt.Errorf("reading the table record of %s %s: %w", a.Name(), id, err)
	}
	return State{
		Version: env.Version, At: env.At, Record: state,
		Schema: s.cfg.Topology.Schemas.Find(state.AvroName()).Schema(), Avro: state.AppendAvro(nil),
	}, nil
}

func (s *States) fetch(ctx context.Context, tp TopicPartition, offset int64) (*kgo.Record, error) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.broker.Load().record(ctx, tp, offset)
}

// late is the error of a wait that ctx has ended.
func late(ctx context.Context, format string, args ...any) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf(format+": %w", append(args, ErrBehind)...)
	}
	return ctx.Err()
}
