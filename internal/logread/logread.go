// Package logread reads what is committed on topics now, from start to end: for
// whoever judges, exports or looks at a log. It follows nothing and writes
// nothing.
package logread

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TopicPartition names one partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func (tp TopicPartition) String() string { return fmt.Sprintf("%s/%d", tp.Topic, tp.Partition) }

// Range is the offsets to read of one partition: From inclusive, To exclusive.
type Range struct{ From, To int64 }

// Committed lists the range of each partition of the topics, as of now: from
// what the broker still has to the last stable offset, below which every
// transaction has ended.
func Committed(ctx context.Context, admin *kadm.Client, topics ...string) (map[TopicPartition]Range, error) {
	starts, err := offsets(ctx, "starts", topics, admin.ListStartOffsets)
	if err != nil {
		return nil, err
	}
	ends, err := offsets(ctx, "ends", topics, admin.ListCommittedOffsets)
	if err != nil {
		return nil, err
	}
	ranges := make(map[TopicPartition]Range, len(ends))
	for tp, end := range ends {
		ranges[tp] = Range{From: starts[tp], To: end}
	}
	return ranges, nil
}

func offsets(ctx context.Context, what string, topics []string, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (map[TopicPartition]int64, error) {
	listed, err := list(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("reading the %s of topics: %w", what, err)
	}
	found := map[TopicPartition]int64{}
	var bad error
	listed.Each(func(o kadm.ListedOffset) {
		tp := TopicPartition{o.Topic, o.Partition}
		if o.Err != nil {
			bad = errors.Join(bad, fmt.Errorf("reading the %s of %s: %w", what, tp, o.Err))
		}
		found[tp] = o.Offset
	})
	return found, bad
}

// ErrOpen says that a transaction stayed open for longer than brokers let one.
var ErrOpen = errors.New("a transaction stays open")

const (
	settlePatience = 90 * time.Second // brokers abort a transaction after 60 s, unless told otherwise
	settlePauseMin = 2 * time.Millisecond
	settlePauseMax = 100 * time.Millisecond
)

// Settled is Committed, once each transaction that had written to the topics
// when it was called has ended. A commit becomes visible partition by partition:
// whoever has seen one part of it, finds the others in a Settled range.
// Errors: ErrOpen.
func Settled(ctx context.Context, admin *kadm.Client, topics ...string) (map[TopicPartition]Range, error) {
	written, err := offsets(ctx, "ends", topics, admin.ListEndOffsets)
	if err != nil {
		return nil, err
	}
	patient, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	for pause := settlePauseMin; ; pause = min(2*pause, settlePauseMax) {
		ranges, err := Committed(ctx, admin, topics...)
		if err != nil {
			return nil, err
		}
		open, found := firstOpen(ranges, written)
		if !found {
			return ranges, nil
		}
		select {
		case <-patient.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%s at offset %d, for %s: %w", open, ranges[open].To, settlePatience, ErrOpen)
		case <-time.After(pause):
		}
	}
}

func firstOpen(ranges map[TopicPartition]Range, written map[TopicPartition]int64) (TopicPartition, bool) {
	for tp, end := range written {
		if ranges[tp].To < end {
			return tp, true
		}
	}
	return TopicPartition{}, false
}

// How long nothing may come before a look at the log itself, and how many looks
// may find records that do not come.
const (
	quietMax    = 400 * time.Millisecond
	looksMax    = 50
	metadataAge = 100 * time.Millisecond
)

// Each calls f with the committed records of the ranges, in order within each
// partition, without transaction markers. It returns when all ranges are read;
// what retention or compaction has removed meanwhile is passed over. An error
// of f ends it. opts reach the broker.
func Each(ctx context.Context, ranges map[TopicPartition]Range, f func(*kgo.Record) error, opts ...kgo.Opt) error {
	r := &reader{left: map[TopicPartition]Range{}, f: f}
	from := map[string]map[int32]kgo.Offset{}
	for tp, span := range ranges {
		if span.From >= span.To {
			continue
		}
		r.left[tp] = span
		if from[tp.Topic] == nil {
			from[tp.Topic] = map[int32]kgo.Offset{}
		}
		from[tp.Topic][tp.Partition] = kgo.NewOffset().At(span.From)
	}
	if len(r.left) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // a range may end in markers, which show that it was read
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumePartitions(from),
		// Moved leaders and cut logs must not cost 5 s each; a look goes over the
		// consumer's connection, behind its fetch.
		kgo.MetadataMinAge(metadataAge), kgo.FetchMaxWait(quietMax),
	}, opts...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	r.cl = cl
	for looks := 0; len(r.left) > 0; {
		came, err := r.poll(ctx)
		if err != nil {
			return err
		}
		if came {
			looks = 0
			continue
		}
		if looks++; looks > looksMax {
			return fmt.Errorf("reading %s: the broker has records and does not give them", r.someLeft())
		}
		if err := r.passOver(ctx); err != nil {
			return err
		}
	}
	return nil
}

// reader is one run of Each.
type reader struct {
	cl   *kgo.Client
	left map[TopicPartition]Range // what is still to be read
	f    func(*kgo.Record) error
}

func (r *reader) someLeft() TopicPartition {
	for tp := range r.left {
		return tp
	}
	return TopicPartition{}
}

// poll takes what comes within quietMax.
func (r *reader) poll(ctx context.Context) (came bool, err error) {
	patient, cancel := context.WithTimeout(ctx, quietMax)
	defer cancel()
	fetches := r.cl.PollFetches(patient)
	if ctx.Err() != nil {
		return false, fmt.Errorf("reading the log: %w", ctx.Err())
	}
	for _, fe := range fetches.Errors() {
		if errors.Is(fe.Err, context.DeadlineExceeded) && patient.Err() != nil {
			continue
		}
		return false, fmt.Errorf("reading %s/%d: %w", fe.Topic, fe.Partition, fe.Err)
	}
	for it := fetches.RecordIter(); !it.Done(); {
		came = true
		if err := r.take(it.Next()); err != nil {
			return came, err
		}
	}
	return came, nil
}

func (r *reader) take(rec *kgo.Record) error {
	tp := TopicPartition{rec.Topic, rec.Partition}
	span, wanted := r.left[tp]
	if !wanted {
		return nil
	}
	if rec.Offset < span.To && !rec.Attrs.IsControl() {
		if err := r.f(rec); err != nil {
			return err
		}
	}
	r.advance(tp, rec.Offset+1)
	return nil
}

// advance notes that nothing below next is left to read.
func (r *reader) advance(tp TopicPartition, next int64) {
	span := r.left[tp]
	if next >= span.To {
		delete(r.left, tp)
		r.cl.PauseFetchPartitions(map[string][]int32{tp.Topic: {tp.Partition}})
		return
	}
	span.From = max(span.From, next)
	r.left[tp] = span
}
