package logread

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A consumer is told nothing where nothing is left: the last offsets of a range
// may have been compacted or deleted away. So a reader that hears nothing asks
// the log itself what stands at its next offset.

const (
	lookTimeout = 10 * time.Second
	lookBytes   = 1 << 20
)

// errShortened says that a partition ends before an offset that was once in it.
var errShortened = errors.New("the log ends before it: the topic was created anew or has lost its end")

// passOver advances every partition over what is gone.
func (r *reader) passOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	for tp, span := range r.left {
		next, err := r.look(ctx, tp, span)
		if err != nil {
			return fmt.Errorf("reading %s at %d: %w", tp, span.From, err)
		}
		r.advance(tp, next)
	}
	return nil
}

// look returns the offset of the first record at or after span.From, or span.To
// if there is none below it.
func (r *reader) look(ctx context.Context, tp TopicPartition, span Range) (int64, error) {
	for next := span.From; next < span.To; {
		answer, err := r.fetch(ctx, tp, next)
		if err != nil {
			return 0, err
		}
		if errors.Is(kerr.ErrorForCode(answer.ErrorCode), kerr.OffsetOutOfRange) {
			return r.start(ctx, tp, next)
		}
		fp, after := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			KeepControlRecords: true, Offset: next, IsolationLevel: kgo.ReadCommitted(), Topic: tp.Topic, Partition: tp.Partition,
		}, answer, kgo.DefaultDecompressor(), nil)
		switch {
		case fp.Err != nil:
			return 0, fp.Err
		case len(fp.Records) > 0:
			return fp.Records[0].Offset, nil
		case after > next:
			next = after // aborted records, or a batch that compaction has emptied
		case fp.LastStableOffset >= span.To:
			return span.To, nil
		default:
			return 0, fmt.Errorf("offset %d was there: %w", span.To-1, errShortened)
		}
	}
	return span.To, nil
}

// start is where a partition goes on that begins after offset.
func (r *reader) start(ctx context.Context, tp TopicPartition, offset int64) (int64, error) {
	starts, err := offsets(ctx, "starts", []string{tp.Topic}, kadm.NewClient(r.cl).ListStartOffsets)
	if err != nil {
		return 0, err
	}
	if starts[tp] <= offset {
		return 0, errShortened
	}
	return starts[tp], nil
}

// fetch asks the partition's leader, outside of the consumer.
func (r *reader) fetch(ctx context.Context, tp TopicPartition, offset int64) (*kmsg.FetchResponseTopicPartition, error) {
	metadata := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(tp.Topic)
	metadata.Topics = append(metadata.Topics, topic)
	described, err := metadata.RequestWith(ctx, r.cl)
	if err != nil {
		return nil, err
	}
	for _, t := range described.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, err
		}
		for _, p := range t.Partitions {
			if p.Partition == tp.Partition {
				return r.fetchFrom(ctx, p.Leader, t.TopicID, tp, offset)
			}
		}
	}
	return nil, kerr.UnknownTopicOrPartition
}

func (r *reader) fetchFrom(ctx context.Context, leader int32, id [16]byte, tp TopicPartition, offset int64) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = 0, 0, lookBytes, 1
	req.SessionEpoch = -1 // no fetch session
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = tp.Topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = tp.Partition, offset, lookBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, r.cl.Broker(int(leader)))
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			return &resp.Topics[i].Partitions[j], nil
		}
	}
	return nil, errors.New("the broker leaves it out of its answer")
}
