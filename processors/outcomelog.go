package processors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// outcomeTopic reads an aggregate's outcomes topic.
type outcomeTopic struct {
	topic  string
	admin  *kadm.Client
	opts   []kgo.Opt // of a client of its own
	framer Framer
}

// Read implements OutcomeLog. It opens a client only where there is something
// to read: most starts find nothing.
func (o *outcomeTopic) Read(ctx context.Context, partition int32, offset int64, from avro.Millis, f func(*platform.Outcome) error) (int64, error) {
	young, err := o.offset(ctx, partition, func() (kadm.ListedOffsets, error) {
		return o.admin.ListOffsetsAfterMilli(ctx, int64(from), o.topic)
	})
	if err != nil {
		return 0, err
	}
	end, err := o.offset(ctx, partition, func() (kadm.ListedOffsets, error) {
		return o.admin.ListCommittedOffsets(ctx, o.topic)
	})
	if err != nil {
		return 0, err
	}
	first := max(young, offset)
	if first >= end {
		return first, nil
	}
	return end, o.consume(ctx, partition, first, end, f)
}

// metadataPause is how long a client may not know a topic that was just created.
const metadataPause = 20 * time.Millisecond

// offset asks until the client knows the partition.
func (o *outcomeTopic) offset(ctx context.Context, partition int32, list func() (kadm.ListedOffsets, error)) (int64, error) {
	for {
		listed, err := list()
		if err != nil {
			return 0, fmt.Errorf("offsets of %s: %w", o.topic, err)
		}
		if at, ok := listed.Lookup(o.topic, partition); ok && !errors.Is(at.Err, kerr.UnknownTopicOrPartition) {
			return at.Offset, at.Err
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("offsets of %s/%d: %w", o.topic, partition, ctx.Err())
		case <-time.After(metadataPause):
		}
	}
}

func (o *outcomeTopic) consume(ctx context.Context, partition int32, from, end int64, f func(*platform.Outcome) error) error {
	opts := append([]kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the last offsets may hold nothing but markers
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.topic: {partition: kgo.NewOffset().At(from)}}),
	}, o.opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for next := from; next < end; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading %s/%d at %d: %w", o.topic, partition, next, err)
		}
		for _, fe := range fetches.Errors() {
			return fmt.Errorf("reading %s/%d at %d: %w", fe.Topic, fe.Partition, next, fe.Err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			next = r.Offset + 1
			if r.Attrs.IsControl() || r.Offset >= end {
				continue
			}
			out := new(platform.Outcome)
			if err := o.framer.Decode(r.Value, out); err != nil {
				continue // not written by this program: nothing to remember
			}
			if err := f(out); err != nil {
				return err
			}
		}
	}
	return nil
}
