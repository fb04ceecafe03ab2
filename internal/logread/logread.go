// Package logread reads what is committed on topics now, from start to end: for
// whoever judges, exports or looks at a log, and follows nothing.
package logread

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TopicPartition names one partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Range is the offsets to read of one partition: From inclusive, To exclusive.
type Range struct{ From, To int64 }

// Committed lists the range of each partition of the topics, as of now: from
// what the broker still has to the last stable offset, below which every
// transaction has ended.
func Committed(ctx context.Context, admin *kadm.Client, topics ...string) (map[TopicPartition]Range, error) {
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("reading the starts of topics: %w", err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("reading the ends of topics: %w", err)
	}
	ranges := map[TopicPartition]Range{}
	var bad error
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		if err := errors.Join(end.Err, start.Err); err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s/%d: %w", end.Topic, end.Partition, err))
			return
		}
		ranges[TopicPartition{end.Topic, end.Partition}] = Range{From: start.Offset, To: end.Offset}
	})
	return ranges, bad
}

// Each calls f with the committed records of the ranges, in order within each
// partition, without transaction markers. It returns when all ranges are read;
// an error of f ends it. opts reach the broker.
func Each(ctx context.Context, ranges map[TopicPartition]Range, f func(*kgo.Record) error, opts ...kgo.Opt) error {
	from := map[string]map[int32]kgo.Offset{}
	left := map[TopicPartition]int64{}
	for tp, r := range ranges {
		if r.From >= r.To {
			continue
		}
		left[tp] = r.To
		if from[tp.Topic] == nil {
			from[tp.Topic] = map[int32]kgo.Offset{}
		}
		from[tp.Topic][tp.Partition] = kgo.NewOffset().At(r.From)
	}
	if len(left) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // a range may end in markers, which show that it was read
		kgo.ConsumePartitions(from),
	}, opts...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading the log: %w", err)
		}
		if err := each(fetches, left, f); err != nil {
			return err
		}
	}
	return nil
}

func each(fetches kgo.Fetches, left map[TopicPartition]int64, f func(*kgo.Record) error) error {
	for _, fe := range fetches.Errors() {
		return fmt.Errorf("reading %s/%d: %w", fe.Topic, fe.Partition, fe.Err)
	}
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		tp := TopicPartition{r.Topic, r.Partition}
		to, wanted := left[tp]
		if !wanted {
			continue
		}
		if r.Offset < to && !r.Attrs.IsControl() {
			if err := f(r); err != nil {
				return err
			}
		}
		if r.Offset >= to-1 {
			delete(left, tp)
		}
	}
	return nil
}
