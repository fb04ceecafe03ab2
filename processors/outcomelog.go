package processors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
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
	unread := map[logread.TopicPartition]logread.Range{{Topic: o.topic, Partition: partition}: {From: first, To: end}}
	return end, logread.Each(ctx, unread, func(r *kgo.Record) error {
		out := new(platform.Outcome)
		if o.framer.Decode(r.Value, out) != nil {
			return nil // not written by this program: nothing to remember
		}
		return f(out)
	}, o.opts...)
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
