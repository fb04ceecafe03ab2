package views

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readyTick is how often a view that catches up looks whether a partition that does not move is at its end.
const readyTick = 50 * time.Millisecond

// begin compares what the store has with what the topics are and decides where to read on.
func (f *follower) begin(ctx context.Context, b *broker) (map[TopicPartition]mark, error) {
	l, err := b.layout(ctx, f.topics, time.Millisecond)
	if err != nil {
		return nil, err
	}
	var tps []TopicPartition
	for _, t := range f.topics {
		for p := range l.counts[t] {
			tps = append(tps, TopicPartition{t, p})
		}
	}
	starts, err := b.offsets(ctx, logStart, tps)
	if err != nil {
		return nil, err
	}
	ends, err := b.offsets(ctx, stableEnd, tps)
	if err != nil {
		return nil, err
	}
	marks, why, err := f.load(l, tps, starts, ends)
	if err != nil {
		return nil, err
	}
	if why != "" {
		level := slog.LevelWarn
		if why == whyNew {
			level = slog.LevelInfo // had it been lost, the local store would have said so
		}
		f.logger.Log(ctx, level, "view is built from its topics", "reason", why)
		if err := f.wipe(); err != nil {
			return nil, err
		}
		marks = map[TopicPartition]mark{}
	}
	if err := f.place(ctx, b, l, tps, starts, marks); err != nil {
		return nil, err
	}
	f.resume(marks, ends, why != "")
	return marks, nil
}

// whyNew is the reason to build a view that was never built.
const whyNew = "the local store holds nothing of it"

// load reads the marks. why says what keeps the store from being used.
func (f *follower) load(l layout, tps []TopicPartition, starts, ends map[TopicPartition]int64) (marks map[TopicPartition]mark, why string, err error) {
	stored, err := f.cfg.Store.Get(f.space.formatKey())
	switch {
	case err != nil:
		return nil, "", &storeError{err}
	case stored == nil:
		return nil, whyNew, nil
	case len(stored) != 1 || stored[0] != format:
		return nil, "the local store has it in the format of another release", nil
	}
	marks = map[TopicPartition]mark{}
	var key []byte
	for _, tp := range tps {
		key = f.space.markKey(key, tp)
		stored, err := f.cfg.Store.Get(key)
		if err != nil {
			return nil, "", &storeError{err}
		}
		if stored == nil {
			continue
		}
		m, ok := parseMark(stored)
		switch {
		case !ok:
			return nil, fmt.Sprintf("the mark of %s is damaged", tp), nil
		case m.topicID != l.ids[tp.Topic]:
			return nil, fmt.Sprintf("topic %s is another one than the one that was read", tp.Topic), nil
		case m.next > ends[tp]:
			return nil, fmt.Sprintf("%s ends at offset %d and was read up to %d: it was cut off", tp, ends[tp], m.next), nil
		case m.next < starts[tp] && f.view.since() == 0:
			return nil, fmt.Sprintf("%s begins at offset %d and was read up to %d only: records are gone", tp, starts[tp], m.next), nil
		}
		marks[tp] = m
	}
	return marks, "", nil
}

// wipe removes what the view has stored.
func (f *follower) wipe() error {
	batch := f.cfg.Store.NewBatch()
	batch.DeleteRange(f.space.key(kindSystem), f.space.key(kindEnd))
	batch.Set(f.space.formatKey(), []byte{format})
	if err := f.cfg.Store.Apply(batch); err != nil {
		return &storeError{err}
	}
	return nil
}

// place gives every partition an offset to go on from: its mark, or the start, or the first record that is young
// enough to matter.
func (f *follower) place(ctx context.Context, b *broker, l layout, tps []TopicPartition, starts map[TopicPartition]int64, marks map[TopicPartition]mark) error {
	young := map[TopicPartition]int64{}
	if since := f.view.since(); since > 0 {
		var err error
		if young, err = b.offsets(ctx, bound{timestamp: since, isolation: 1, name: "offset by time"}, tps); err != nil {
			return err
		}
	}
	for _, tp := range tps {
		m := marks[tp]
		m.topicID = l.ids[tp.Topic]
		m.next = max(m.next, starts[tp], young[tp])
		marks[tp] = m
	}
	return nil
}

// resume notes where a session begins and, unless the view was caught up before, what it has to reach.
func (f *follower) resume(marks map[TopicPartition]mark, ends map[TopicPartition]int64, rebuilt bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stored = f.polled // what the last session read and did not put down comes again
	f.announce()
	if f.ready && !rebuilt {
		return
	}
	f.ready, f.total = false, 0
	clear(f.target)
	for tp, m := range marks {
		f.begun[tp], f.next[tp] = m.next, m.next
		if ends[tp] > m.next {
			f.target[tp] = ends[tp]
			f.total += ends[tp] - m.next
		}
	}
}

// awaitReady returns when every partition has reached its target. What stands before a target may be nothing but
// markers, of which the reader never hears; so where nothing moves it looks.
func (f *follower) awaitReady(ctx context.Context, b *broker) error {
	tick := time.NewTicker(readyTick)
	defer tick.Stop()
	last := uint64(math.MaxUint64)
	for {
		var open []probe
		f.mu.Lock()
		for tp, target := range f.target {
			if f.next[tp] >= target {
				delete(f.target, tp)
				continue
			}
			open = append(open, probe{tp, f.next[tp]})
		}
		f.ready = len(f.target) == 0
		done, idle := f.ready, last == math.MaxUint64 || last == f.stored
		last = f.stored
		f.mu.Unlock()
		if done {
			return nil
		}
		if idle {
			if err := f.lookPast(ctx, b, open); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// lookPast takes the partitions that have nothing before their target for reached.
func (f *follower) lookPast(ctx context.Context, b *broker, idle []probe) error {
	sights, err := b.look(ctx, idle)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for tp, s := range sights {
		if s.clean >= f.target[tp] {
			delete(f.target, tp)
		}
	}
	return nil
}

func startsOf(marks map[TopicPartition]mark) map[string]map[int32]kgo.Offset {
	starts := map[string]map[int32]kgo.Offset{}
	for tp, m := range marks {
		if starts[tp.Topic] == nil {
			starts[tp.Topic] = map[int32]kgo.Offset{}
		}
		starts[tp.Topic][tp.Partition] = kgo.NewOffset().At(m.next)
	}
	return starts
}
