package views

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// errGone says that a record is no longer in the log.
var errGone = errors.New("the record is no longer in the log")

// record reads one record that is known to be committed.
//
// Errors: errGone if compaction or retention has taken it; [ErrUnavailable].
func (b *broker) record(ctx context.Context, tp TopicPartition, offset int64) (*kgo.Record, error) {
	rec, err := b.recordOnce(ctx, tp, offset, 0)
	if err != nil && !errors.Is(err, errGone) && ctx.Err() == nil {
		rec, err = b.recordOnce(ctx, tp, offset, time.Millisecond) // the leader may have moved
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s/%d: %w", tp, offset, err)
	}
	return rec, nil
}

func (b *broker) recordOnce(ctx context.Context, tp TopicPartition, offset int64, maxAge time.Duration) (*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	l, err := b.layout(ctx, []string{tp.Topic}, maxAge)
	if err != nil {
		return nil, err
	}
	// One byte is less than any batch: the broker sends exactly the batch that the offset is in.
	resp, err := fetchRequest([]probe{{tp, offset}}, l, readUncommitted, 1).RequestWith(ctx, b.cl.Broker(int(l.leaders[tp])))
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	rp := answers(resp, l)[tp]
	if rp == nil {
		return nil, fmt.Errorf("%w: the answer leaves it out", ErrUnavailable)
	}
	return pick(rp, tp, offset)
}

func pick(rp *kmsg.FetchResponseTopicPartition, tp TopicPartition, offset int64) (*kgo.Record, error) {
	switch err := kerr.ErrorForCode(rp.ErrorCode); {
	case errors.Is(err, kerr.OffsetOutOfRange):
		return nil, errGone
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: offset, Topic: tp.Topic, Partition: tp.Partition}, rp, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, fp.Err)
	}
	if len(fp.Records) == 0 || fp.Records[0].Offset != offset {
		return nil, errGone
	}
	return fp.Records[0], nil
}
