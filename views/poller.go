package views

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// stage is what a wait is waiting for. Each stage has offsets of its own to pass:
//
//	applying: the projection's group has committed past the position on the event topics
//	looping:  it has committed past what its loop topic held when applying was over
//	sinking:  the sink's group has committed past what the table held when looping was over
type stage int

const (
	applying stage = iota
	looping
	sinking
	visible
)

// wait is one wait for a read model. Its stage and need belong to the poller.
type wait struct {
	model *model
	stage stage
	need  map[TopicPartition]int64 // offsets to be passed; nil: to be found out
	done  chan struct{}
}

// poller makes rounds of questions to the broker while someone waits. It belongs to one goroutine.
type poller struct {
	p      *Positions
	b      *broker
	sights map[string]map[TopicPartition]sight // by group: what stands from its committed offset on
	behind map[string]*behind                  // by read model
	failed bool                                // the last round did
}

func newPoller(p *Positions, b *broker) *poller {
	return &poller{p: p, b: b, sights: map[string]map[TopicPartition]sight{}, behind: map[string]*behind{}}
}

func (po *poller) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-po.p.waiting:
		}
		for {
			waits, calls := po.open()
			if len(waits)+len(calls) == 0 {
				break
			}
			pause := pollPause
			if err := po.round(ctx, waits, calls); err != nil {
				po.fail(ctx, calls, err)
				pause = faultPause
			} else {
				po.failed = false
			}
			if !rest(ctx, pause) {
				return
			}
		}
	}
}

// open takes what is to be answered: all waits, and the lags asked for.
func (po *poller) open() ([]*wait, []*lagCall) {
	p := po.p
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.waits)), slices.Collect(maps.Values(p.lags))
}

func (po *poller) fail(ctx context.Context, calls []*lagCall, err error) {
	// Whatever was learnt may belong to topics that are no more.
	clear(po.sights)
	clear(po.behind)
	if !po.failed && !ended(ctx, err) {
		po.p.cfg.Logger.Warn("positions cannot be compared", "err", err)
	}
	po.failed = true
	for _, c := range calls {
		// One question that is answered late is not yet a broker that is gone; waits, too, go on.
		if c.failed++; c.failed < lagTries && !ended(ctx, err) {
			continue
		}
		c.err = err
		po.settleLag(c)
	}
}

func (po *poller) settleLag(c *lagCall) {
	p := po.p
	p.mu.Lock()
	delete(p.lags, c.model.name)
	if c.err == nil {
		p.fresh[c.model.name] = lagMade{lag: c.lag, at: p.cfg.Clock.Now()}
	}
	p.mu.Unlock()
	close(c.done)
}

// round asks for the committed offsets once and moves everyone on as far as they allow.
func (po *poller) round(ctx context.Context, waits []*wait, calls []*lagCall) error {
	groups := map[string]bool{}
	for _, w := range waits {
		groups[w.model.group], groups[w.model.sink] = true, true
	}
	for _, c := range calls {
		groups[c.model.group], groups[c.model.sink] = true, true
	}
	// These offsets are older than all that is asked below, so what they have passed stays passed.
	commits, err := po.b.committed(ctx, slices.Sorted(maps.Keys(groups)))
	if err != nil {
		return err
	}
	if err := po.advance(ctx, waits, commits); err != nil {
		return err
	}
	for _, w := range waits {
		if w.stage == visible {
			po.finish(w)
		}
	}
	if len(calls) == 0 {
		return nil
	}
	return po.measure(ctx, calls, commits)
}

func (po *poller) finish(w *wait) {
	p := po.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, open := p.waits[w]; open {
		delete(p.waits, w)
		close(w.done)
	}
}

type commits = map[string]map[TopicPartition]int64

// advance moves waits from stage to stage as far as the committed offsets allow.
func (po *poller) advance(ctx context.Context, waits []*wait, have commits) error {
	for st := applying; st < visible; st++ {
		var here []*wait
		for _, w := range waits {
			if w.stage == st {
				here = append(here, w)
			}
		}
		if len(here) == 0 {
			continue
		}
		if err := po.demand(ctx, here); err != nil {
			return err
		}
		if err := po.lookFor(ctx, here, have); err != nil {
			return err
		}
		for _, w := range here {
			if po.passed(w, have) {
				w.stage, w.need = w.stage+1, nil
			}
		}
	}
	return nil
}

// topicOf gives the partitions whose ends a wait has to pass in its stage.
func (w *wait) topicOf() []TopicPartition {
	if w.stage == looping {
		return w.model.loop
	}
	return w.model.table
}

// groupOf gives the group whose commits count in the wait's stage.
func (w *wait) groupOf() string {
	if w.stage == sinking {
		return w.model.sink
	}
	return w.model.group
}

// demand fixes what the waits have to pass: the ends of this moment. High watermarks, because the transaction that
// moved the projection's offsets may still be putting its markers into the other partitions.
func (po *poller) demand(ctx context.Context, waits []*wait) error {
	var tps []TopicPartition
	asked := map[TopicPartition]bool{}
	for _, w := range waits {
		if w.need != nil {
			continue
		}
		for _, tp := range w.topicOf() {
			if !asked[tp] {
				asked[tp] = true
				tps = append(tps, tp)
			}
		}
	}
	ends, err := po.b.offsets(ctx, logEnd, tps)
	if err != nil {
		return err
	}
	for _, w := range waits {
		if w.need != nil {
			continue
		}
		w.need = map[TopicPartition]int64{}
		for _, tp := range w.topicOf() {
			if ends[tp] > 0 {
				w.need[tp] = ends[tp] - 1
			}
		}
	}
	return nil
}

// passed reports whether the group has nothing left to read at or below what the wait needs.
func (po *poller) passed(w *wait, have commits) bool {
	group := w.groupOf()
	for tp, offset := range w.need {
		if have[group][tp] > offset {
			continue
		}
		if s, ok := po.sight(group, tp, have); !ok || s.clean <= offset {
			return false
		}
	}
	return true
}

// sight returns what is known to stand from the group's committed offset on.
func (po *poller) sight(group string, tp TopicPartition, have commits) (sight, bool) {
	s, ok := po.sights[group][tp]
	return s, ok && s.from <= have[group][tp] && have[group][tp] <= s.clean
}

// lookFor looks behind the committed offsets that lie below what the waits need.
func (po *poller) lookFor(ctx context.Context, waits []*wait, have commits) error {
	want := map[string]map[TopicPartition]int64{}
	for _, w := range waits {
		group := w.groupOf()
		for tp, offset := range w.need {
			if have[group][tp] > offset {
				continue
			}
			if want[group] == nil {
				want[group] = map[TopicPartition]int64{}
			}
			want[group][tp] = max(want[group][tp], offset)
		}
	}
	for group, offsets := range want {
		if err := po.lookPast(ctx, group, offsets, have); err != nil {
			return err
		}
	}
	return nil
}

// lookPast learns, for each partition, what stands from the group's committed offset on, up to the offset wanted.
func (po *poller) lookPast(ctx context.Context, group string, offsets map[TopicPartition]int64, have commits) error {
	var probes []probe
	for tp, offset := range offsets {
		s, known := po.sight(group, tp, have)
		switch {
		case !known:
			probes = append(probes, probe{tp, have[group][tp]})
		case !s.seen && s.clean <= offset:
			probes = append(probes, probe{tp, s.clean})
		}
	}
	if len(probes) == 0 {
		return nil
	}
	found, err := po.b.look(ctx, probes)
	if err != nil {
		return err
	}
	if po.sights[group] == nil {
		po.sights[group] = map[TopicPartition]sight{}
	}
	for tp, s := range found {
		s.from = have[group][tp]
		po.sights[group][tp] = s
	}
	return nil
}

// age is how old a record of that time is, in seconds, never negative.
func age(now time.Time, at avro.Millis) float64 {
	return max(0, now.Sub(at.Time()).Seconds())
}
