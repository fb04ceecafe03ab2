package processors

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
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
	first, err := o.firstOffset(ctx, partition, offset, from)
	if err != nil {
		return 0, err
	}
	ends, err := o.admin.ListCommittedOffsets(ctx, o.topic)
	if err != nil {
		return 0, fmt.Errorf("end of %s: %w", o.topic, err)
	}
	end, ok := ends.Lookup(o.topic, partition)
	if !ok || end.Err != nil {
		return 0, fmt.Errorf("end of %s/%d: %w", o.topic, partition, errors.Join(end.Err, ctx.Err()))
	}
	if first >= end.Offset {
		return max(first, offset), nil
	}
	return end.Offset, o.consume(ctx, partition, first, end.Offset, f)
}

// firstOffset is the later one of the offset and the first record of the time.
func (o *outcomeTopic) firstOffset(ctx context.Context, partition int32, offset int64, from avro.Millis) (int64, error) {
	listed, err := o.admin.ListOffsetsAfterMilli(ctx, int64(from), o.topic)
	if err != nil {
		return 0, fmt.Errorf("offset of %s in %s: %w", from, o.topic, err)
	}
	at, ok := listed.Lookup(o.topic, partition)
	if !ok || at.Err != nil {
		return 0, fmt.Errorf("offset of %s in %s/%d: %w", from, o.topic, partition, errors.Join(at.Err, ctx.Err()))
	}
	return max(at.Offset, offset), nil
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
