package views

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nexusblueprint/nexus/topology"
)

const (
	// pollPause is how long the poller rests between two rounds while someone waits.
	pollPause = 3 * time.Millisecond
	// faultPause replaces it while the broker does not answer.
	faultPause = 200 * time.Millisecond
	// endsPause bounds how often ends are asked for: those who ask meanwhile share the next answer.
	endsPause = time.Millisecond
	// lagAge is how old a Lag may be.
	lagAge = 200 * time.Millisecond
	// lagTries is how many rounds may fail before a Lag does. A question to the broker is given up after 5 s, which a
	// machine under heavy load can take.
	lagTries = 2
)

// Positions compares what was written with what queries can see. Make it with [NewPositions] and Run it once; its
// other methods are safe for concurrent use and wait for Run.
type Positions struct {
	cfg     Config
	models  map[string]*model // by projection name
	asked   chan struct{}     // holds one token when ends are pending
	waiting chan struct{}     // holds one token when a wait or lag is new

	mu      sync.Mutex
	pending []*endsCall
	waits   map[*wait]struct{}
	lags    map[string]*lagCall // being made, by projection
	fresh   map[string]lagMade
}

// model is what has to be known of a read model.
type model struct {
	projection  topology.Projection
	name        string
	group, sink string // consumer groups
	events      []TopicPartition
	loop        []TopicPartition // none if it is not re-keyed
	table       []TopicPartition
	reads       map[TopicPartition]bool // its events
	topics      map[string]bool         // of its events
}

// Lag says how far a read model is behind the events that are committed.
type Lag struct {
	Seconds  float64  // age of the oldest record not yet in the search store; 0 if there is none
	Records  int64    // offsets that the projection and the sink still have to go through; 0 if there is no record
	Position Position // what queries are sure to see
}

// NewPositions makes the view; nothing is started. It uses neither the store nor the framer.
func NewPositions(cfg Config) *Positions {
	p := &Positions{
		cfg: cfg.withDefaults(), models: map[string]*model{}, asked: make(chan struct{}, 1), waiting: make(chan struct{}, 1),
		waits: map[*wait]struct{}{}, lags: map[string]*lagCall{}, fresh: map[string]lagMade{},
	}
	for _, pr := range cfg.Topology.Projections {
		p.models[pr.Name()] = modelOf(cfg.Topology, pr)
	}
	return p
}

func modelOf(t *topology.Topology, p topology.Projection) *model {
	all := func(topic string) (tps []TopicPartition) {
		for i := range t.PartitionCount() {
			tps = append(tps, TopicPartition{topic, i})
		}
		return tps
	}
	m := &model{
		projection: p, name: p.Name(), group: t.ProjectionGroup(p), sink: t.SinkGroup(p), table: all(t.ProjectionTable(p)),
		reads: map[TopicPartition]bool{}, topics: map[string]bool{},
	}
	for _, a := range t.Sources(p) {
		m.topics[t.Events(a)] = true
		for _, tp := range all(t.Events(a)) {
			m.events = append(m.events, tp)
			m.reads[tp] = true
		}
	}
	if p.Rekeyed {
		m.loop = all(t.ProjectionLoop(p))
	}
	return m
}

// Run serves the other methods until ctx ends, and returns nil then. While nobody asks it does nothing.
func (p *Positions) Run(ctx context.Context) error {
	b, err := newBroker(p.cfg)
	if err != nil {
		return err
	}
	defer b.close()
	var wg sync.WaitGroup
	wg.Go(func() { p.answerEnds(ctx, b) })
	newPoller(p, b).run(ctx)
	wg.Wait()
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// endsCall is one After under way.
type endsCall struct {
	partitions []TopicPartition
	position   Position
	err        error
	done       chan struct{}
}

// After returns a position at or after every record that is committed on the partitions now, also one whose
// transaction's markers are still being written. Callers at the same time share one request.
//
// Errors: [ErrUnavailable]; ctx.Err().
func (p *Positions) After(ctx context.Context, partitions []TopicPartition) (Position, error) {
	call := &endsCall{partitions: partitions, done: make(chan struct{})}
	p.mu.Lock()
	p.pending = append(p.pending, call)
	p.mu.Unlock()
	signal(p.asked)
	select {
	case <-call.done:
		return call.position, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answerEnds answers all calls that are pending with one request, again and again.
func (p *Positions) answerEnds(ctx context.Context, b *broker) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.asked:
		}
		p.mu.Lock()
		calls := p.pending
		p.pending = nil
		p.mu.Unlock()
		// A request that began before a call could miss what the call is about: only what is pending now is answered.
		p.answer(ctx, b, calls)
		if !rest(ctx, endsPause) {
			return
		}
	}
}

func (p *Positions) answer(ctx context.Context, b *broker, calls []*endsCall) {
	var all []TopicPartition
	seen := map[TopicPartition]bool{}
	for _, c := range calls {
		for _, tp := range c.partitions {
			if !seen[tp] {
				seen[tp] = true
				all = append(all, tp)
			}
		}
	}
	// A transaction is committed before its markers stand in every partition. Until then the stable end of a partition
	// lies before the transaction's records there, though their outcome may have been read elsewhere: so the high
	// watermark, which counts them from the start.
	ends, err := b.offsets(ctx, logEnd, all)
	for _, c := range calls {
		c.err = err
		if err == nil {
			c.position = Position{}
			for _, tp := range c.partitions {
				if ends[tp] > 0 {
					c.position.Include(tp, ends[tp]-1)
				}
			}
		}
		close(c.done)
	}
}

// rest waits, and reports whether ctx goes on.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Wait returns when every query of the read model that starts from then on sees at least the position. Topics that the
// read model does not read are ignored.
//
// Errors: [ErrPosition] for a partition that a topic of the read model does not have; [ErrBehind] when ctx's deadline
// came first; ctx.Err() when it was cancelled.
func (p *Positions) Wait(ctx context.Context, pr topology.Projection, position Position) error {
	m, err := p.model(pr)
	if err != nil {
		return err
	}
	need := map[TopicPartition]int64{}
	for tp, offset := range position {
		switch {
		case m.reads[tp]:
			need[tp] = offset
		case m.topics[tp.Topic]:
			return fmt.Errorf("%w: topic %s has no partition %d", ErrPosition, tp.Topic, tp.Partition)
		}
	}
	if len(need) == 0 {
		return nil
	}
	w := &wait{model: m, need: need, done: make(chan struct{})}
	p.mu.Lock()
	p.waits[w] = struct{}{}
	p.mu.Unlock()
	signal(p.waiting)
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	delete(p.waits, w)
	p.mu.Unlock()
	return late(ctx, "read model %s has not reached the position", m.name)
}

func (p *Positions) model(pr topology.Projection) (*model, error) {
	m := p.models[pr.Name()]
	if m == nil {
		return nil, fmt.Errorf("the topology has no projection %s", pr.Name())
	}
	return m, nil
}

// lagCall is one refresh of a Lag under way.
type lagCall struct {
	model  *model
	failed int // rounds
	lag    Lag
	err    error
	done   chan struct{}
}

type lagMade struct {
	lag Lag
	at  time.Time
}

// Lag says how far the read model is behind. The answer is at most 200 ms old; callers share it, so they must not
// change its Position.
//
// Errors: [ErrUnavailable], when the broker could not be asked twice in a row; ctx.Err().
func (p *Positions) Lag(ctx context.Context, pr topology.Projection) (Lag, error) {
	m, err := p.model(pr)
	if err != nil {
		return Lag{}, err
	}
	p.mu.Lock()
	if made, ok := p.fresh[m.name]; ok && p.cfg.Clock.Now().Sub(made.at) < lagAge {
		p.mu.Unlock()
		return made.lag, nil
	}
	call := p.lags[m.name]
	if call == nil {
		call = &lagCall{model: m, done: make(chan struct{})}
		p.lags[m.name] = call
	}
	p.mu.Unlock()
	signal(p.waiting)
	select {
	case <-call.done:
		return call.lag, call.err
	case <-ctx.Done():
		return Lag{}, ctx.Err()
	}
}
