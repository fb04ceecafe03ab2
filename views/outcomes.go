package views

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

const (
	hourMillis = 60 * 60 * 1000
	// expectedMax is how many outcomes an expectation holds that nobody has taken.
	expectedMax = 8
	// sameIDMax bounds the outcomes of one command id that Outcome looks through in one hour.
	sameIDMax = 1_000
)

// Outcomes hears how commands ended: it wakes those who wait for an outcome and remembers every outcome for at least
// one hour of log time. It is the half of a [ports.EventBus] that comes back. Make it with [NewOutcomes] and Run it once;
// its other methods are safe for concurrent use.
type Outcomes struct {
	f          *follower
	aggregates map[string]string // outcomes topic → aggregate
	cfg        Config

	mu       sync.Mutex
	expected map[string][]*expectation

	// Of the writer alone.
	key    []byte
	now    int64 // milliseconds; at least as late as all log times seen, unless those are in the future
	newest int64 // greatest log time seen
	hour   int64 // of the greatest log time that the store knows
}

// NewOutcomes makes the view; nothing is started.
func NewOutcomes(cfg Config) *Outcomes {
	cfg = cfg.withDefaults()
	o := &Outcomes{cfg: cfg, aggregates: map[string]string{}, expected: map[string][]*expectation{}}
	var topics []string
	for _, a := range cfg.Topology.Aggregates {
		topic := cfg.Topology.Outcomes(a)
		topics = append(topics, topic)
		o.aggregates[topic] = a.Name()
	}
	o.f = newFollower(cfg, outcomeSpace, "outcomes", topics, 0, o)
	o.now = cfg.Clock.Now().UnixMilli()
	return o
}

// Run follows the topics until ctx ends, and returns nil then. Any other end is a failure of the local store.
func (o *Outcomes) Run(ctx context.Context) error { return o.f.run(ctx) }

// Ready reports whether the view has read what was on its topics when it started.
func (o *Outcomes) Ready() bool { return o.f.isReady() }

// Progress of catching up after the start.
func (o *Outcomes) Progress() Progress { return o.f.progress() }

// expectation is a [ports.Expectation].
type expectation struct {
	o  *Outcomes
	id string
	c  chan *platform.Outcome
}

// Expect implements [ports.EventBus].
func (o *Outcomes) Expect(commandID string) ports.Expectation {
	e := &expectation{o: o, id: commandID, c: make(chan *platform.Outcome, expectedMax)}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expected[commandID] = append(o.expected[commandID], e)
	return e
}

func (e *expectation) C() <-chan *platform.Outcome { return e.c }

func (e *expectation) Cancel() {
	o := e.o
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.expected[e.id]
	for i, other := range all {
		if other == e {
			all = append(all[:i:i], all[i+1:]...)
			break
		}
	}
	if len(all) == 0 {
		delete(o.expected, e.id)
	} else {
		o.expected[e.id] = all
	}
}

// arrived hands an outcome to those who wait for it.
func (o *Outcomes) arrived(r *kgo.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting := o.expected[string(r.Key)]
	if len(waiting) == 0 {
		return
	}
	out := new(platform.Outcome)
	if err := o.cfg.Framer.Decode(r.Value, out); err != nil {
		o.f.unreadable(r, err)
		return
	}
	for _, e := range waiting {
		select {
		case e.c <- out:
		default:
		}
	}
}

// newestHourKey holds the hour of the greatest log time: where Outcome looks after a restart.
func newestHourKey() []byte { return append(outcomeSpace.key(kindSystem), 'h') }

func hourPrefix(dst []byte, hour int64) []byte {
	dst = append(dst[:0], 'v', byte(outcomeSpace), kindData)
	return binary.BigEndian.AppendUint32(dst, uint32(hour))
}

// store keeps the outcome under its hour, id and place in the log; nothing is decoded.
func (o *Outcomes) store(b *localstore.Batch, r *kgo.Record) error {
	at := r.Timestamp.UnixMilli()
	if at > o.now {
		o.now = o.cfg.Clock.Now().UnixMilli()
		at = min(at, o.now) // a time in the future would make everything else look old
	}
	o.newest = max(o.newest, at)
	hour := max(0, at/hourMillis)
	if hour < o.hour-1 {
		return nil // its hour was dropped
	}
	key := append(append(hourPrefix(o.key, hour), r.Key...), 0)
	key = append(append(key, o.aggregates[r.Topic]...), 0)
	key = binary.BigEndian.AppendUint32(key, uint32(r.Partition))
	o.key = binary.BigEndian.AppendUint64(key, uint64(r.Offset))
	b.Set(o.key, r.Value)
	return nil
}

// sealed drops the hours that are over. The running hour and the one before cover at least the last hour.
func (o *Outcomes) sealed(b *localstore.Batch) {
	hour := o.newest / hourMillis
	if hour <= o.hour {
		return
	}
	o.hour = hour
	b.DeleteRange(hourPrefix(nil, 0), hourPrefix(nil, max(0, hour-1)))
	b.Set(newestHourKey(), binary.BigEndian.AppendUint64(nil, uint64(hour)))
}

func (o *Outcomes) applied([]*kgo.Record) {}

// since is one hour ago: older outcomes need not be kept.
func (o *Outcomes) since() int64 { return max(1, o.cfg.Clock.Now().UnixMilli()-hourMillis) }

// Outcome implements [ports.EventBus]; the hour is one of log time. Besides the errors named there it has failures of the
// local store and of decoding.
func (o *Outcomes) Outcome(ctx context.Context, commandID string) (*platform.Outcome, bool, error) {
	if err := o.f.check(); err != nil {
		return nil, false, err
	}
	if err := o.f.settle(ctx); err != nil {
		return nil, false, fmt.Errorf("reading outcome of %s: %w", commandID, err)
	}
	stored, err := o.cfg.Store.Get(newestHourKey())
	if err != nil || len(stored) != 8 {
		return nil, false, err
	}
	hour := int64(binary.BigEndian.Uint64(stored))
	var repeated *platform.Outcome
	for h := max(0, hour-1); h <= hour; h++ {
		out, err := o.find(h, commandID)
		if err != nil {
			return nil, false, fmt.Errorf("reading outcome of %s: %w", commandID, err)
		}
		if out != nil && !out.Repeated {
			return out, true, nil
		}
		if repeated == nil {
			repeated = out
		}
	}
	return repeated, repeated != nil, nil
}

// find returns the first outcome of the id in one hour that is no repetition, else the first repetition, else nil.
func (o *Outcomes) find(hour int64, commandID string) (found *platform.Outcome, err error) {
	lower := append(append(hourPrefix(nil, hour), commandID...), 0)
	upper := append(append(hourPrefix(nil, hour), commandID...), 1)
	left := sameIDMax
	var broken error
	err = o.cfg.Store.Iterate(lower, upper, func(_, framed []byte) bool {
		left--
		out := new(platform.Outcome)
		if broken = o.cfg.Framer.Decode(framed, out); broken != nil {
			return false
		}
		// An id with a zero byte inside may begin like this one.
		if out.CommandID == commandID && (found == nil || !out.Repeated) {
			found = out
		}
		return left > 0 && (found == nil || found.Repeated)
	})
	if err == nil {
		err = broken
	}
	return found, err
}
