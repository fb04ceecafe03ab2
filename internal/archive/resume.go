package archive

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// aggregateKey names an aggregate among all of a context.
type aggregateKey struct{ kind, id string }

// heads are where aggregates stand.
type heads map[aggregateKey]head

// found reads what an interrupted Restore has written: where each aggregate
// stands on the topics. It makes sure that the archive passes through there, so
// that what is missing can be appended.
func (r *restore) found(ctx context.Context) (heads, error) {
	there, err := r.log(ctx)
	if err != nil || len(there) == 0 {
		return nil, err
	}
	met := 0
	judge := newChains(r.archive.topology)
	for _, f := range r.archive.files {
		if _, err := r.archive.each(ctx, judge, f.path, func(_ *chain, e Event, m fact) error {
			at, known := there[aggregateKey{m.aggregateType, m.aggregateID}]
			if !known || at.version != m.version {
				return nil
			}
			if at.hash != hashOf(e) {
				return fmt.Errorf("version %d of %s %s: %w", m.version, m.aggregateType, m.aggregateID, ErrOther)
			}
			met++
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if met != len(there) {
		return nil, fmt.Errorf("%d of %d aggregates have events that are missing in it: %w", len(there)-met, len(there), ErrOther)
	}
	return there, nil
}

// log folds the events topics to where their aggregates stand.
func (r *restore) log(ctx context.Context) (heads, error) {
	cl, err := kgo.NewClient(r.Broker...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	defer cl.Close()
	var topics []string
	for _, a := range r.archive.topology.Aggregates {
		topics = append(topics, r.archive.topology.Events(a))
	}
	ranges, err := logread.Settled(ctx, kadm.NewClient(cl), topics...)
	if err != nil {
		return nil, err
	}
	there := heads{}
	return there, logread.Each(ctx, ranges, func(rec *kgo.Record) error {
		var m platform.Metadata
		meta := serde.Metadata(rec)
		if err := r.Framer.Decode(meta, &m); err != nil {
			return fmt.Errorf("metadata of the event at %s/%d/%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
		}
		if len(rec.Value) < serde.FrameBytes {
			return fmt.Errorf("the event at %s/%d/%d has no framing: %w", rec.Topic, rec.Partition, rec.Offset, ErrOther)
		}
		e := Event{Metadata: meta[serde.FrameBytes:], Payload: rec.Value[serde.FrameBytes:]}
		there[aggregateKey{m.AggregateType, m.AggregateID}] = head{m.Version, hashOf(e)}
		return nil
	}, r.Broker...)
}
