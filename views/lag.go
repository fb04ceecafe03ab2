package views

import (
	"context"
	"maps"
)

// behind is what is kept of a read model from one measurement to the next.
type behind struct {
	position Position // that queries are sure to see
	// next is a sample of the projection's committed offsets on its way to the search store; when it is there, it
	// becomes the position. nil: none is on its way.
	next   *wait
	sample Position
}

// measure makes the lags asked for.
func (po *poller) measure(ctx context.Context, calls []*lagCall, have commits) error {
	var tps []TopicPartition
	seen := map[TopicPartition]bool{}
	for _, c := range calls {
		for _, s := range c.model.stretches() {
			for _, tp := range s.partitions {
				if !seen[tp] {
					seen[tp] = true
					tps = append(tps, tp)
				}
			}
		}
	}
	// Records of open transactions are nobody's to apply yet: stable ends.
	ends, err := po.b.offsets(ctx, stableEnd, tps)
	if err != nil {
		return err
	}
	if err := po.lookBehind(ctx, calls, ends, have); err != nil {
		return err
	}
	if err := po.follow(ctx, calls, have); err != nil {
		return err
	}
	now := po.p.cfg.Clock.Now()
	for _, c := range calls {
		for _, s := range c.model.stretches() {
			for _, tp := range s.partitions {
				if have[s.group][tp] >= ends[tp] {
					continue
				}
				if sight, ok := po.sight(s.group, tp, have); ok && sight.seen && sight.clean < ends[tp] {
					c.lag.Seconds = max(c.lag.Seconds, age(now, sight.at))
					c.lag.Records += ends[tp] - sight.clean
				}
			}
		}
		c.lag.Position = maps.Clone(po.behind[c.model.name].position)
		po.settleLag(c)
	}
	return nil
}

// stretch is a part of the way from an event to the search store: the topics that a group reads.
type stretch struct {
	group      string
	partitions []TopicPartition
}

func (m *model) stretches() []stretch {
	return []stretch{{m.group, m.events}, {m.group, m.loop}, {m.sink, m.table}}
}

// lookBehind looks for the first record that each group has before it.
func (po *poller) lookBehind(ctx context.Context, calls []*lagCall, ends map[TopicPartition]int64, have commits) error {
	for _, c := range calls {
		for _, s := range c.model.stretches() {
			offsets := map[TopicPartition]int64{}
			for _, tp := range s.partitions {
				if have[s.group][tp] < ends[tp] {
					offsets[tp] = ends[tp] - 1
				}
			}
			if err := po.lookPast(ctx, s.group, offsets, have); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow sends samples of committed offsets on the way to the search store and notes which have arrived.
func (po *poller) follow(ctx context.Context, calls []*lagCall, have commits) error {
	var waits []*wait
	for _, c := range calls {
		be := po.behind[c.model.name]
		if be == nil {
			be = &behind{position: Position{}}
			po.behind[c.model.name] = be
		}
		if be.next == nil {
			be.sample = Position{}
			for _, tp := range c.model.events {
				if committed := have[c.model.group][tp]; committed > 0 {
					be.sample[tp] = committed - 1
				}
			}
			be.next = &wait{model: c.model, stage: looping}
		}
		waits = append(waits, be.next)
	}
	if err := po.advance(ctx, waits, have); err != nil {
		return err
	}
	for _, c := range calls {
		be := po.behind[c.model.name]
		if be.next.stage != visible {
			continue
		}
		for tp, offset := range be.sample {
			be.position.Include(tp, offset)
		}
		be.next = nil
	}
	return nil
}
