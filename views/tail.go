package views

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// A reader commits the offset after the last record it was given. What stands between that offset and the end may be
// nothing it will ever be given: markers of transactions, aborted records, gaps of compaction. So a reader that has
// everything can stay below the end for ever, and only a look at the log tells it from one that is behind.

// probe asks what stands in a partition from an offset on.
type probe struct {
	tp   TopicPartition
	from int64
}

// sight is what a read-committed reader would find: no record in [from, clean), and, if seen, one at clean.
type sight struct {
	from, clean int64
	seen        bool
	at          avro.Millis // timestamp of the record at clean
}

// Bytes of one look: the first record is all that is wanted, but the broker sends whole batches, at least one.
const (
	lookBytes          = 1 << 20
	lookPartitionBytes = 32 << 10
	// lookRounds bounds one call: what is still open then (a long stretch of aborted records) goes on with the next.
	lookRounds = 16
)

// look answers all probes. A sight that ends before the partition's stable end without a record is to be continued
// from clean.
func (b *broker) look(ctx context.Context, probes []probe) (map[TopicPartition]sight, error) {
	found := make(map[TopicPartition]sight, len(probes))
	for _, p := range probes {
		found[p.tp] = sight{from: p.from, clean: p.from}
	}
	stale := time.Duration(0)
	for range lookRounds {
		if len(probes) == 0 {
			return found, nil
		}
		again, err := b.lookOnce(ctx, probes, found, stale)
		if err != nil && stale == 0 && ctx.Err() == nil {
			// Leaders move and topics are created anew: one try with what the broker says now.
			stale = time.Millisecond
			continue
		}
		if err != nil {
			return nil, err
		}
		probes = again
	}
	return found, nil
}

func (b *broker) lookOnce(ctx context.Context, probes []probe, found map[TopicPartition]sight, maxAge time.Duration) ([]probe, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	topics := []string{}
	seen := map[string]bool{}
	for _, p := range probes {
		if !seen[p.tp.Topic] {
			seen[p.tp.Topic] = true
			topics = append(topics, p.tp.Topic)
		}
	}
	l, err := b.layout(ctx, topics, maxAge)
	if err != nil {
		return nil, err
	}
	byLeader := map[int32][]probe{}
	for _, p := range probes {
		byLeader[l.leaders[p.tp]] = append(byLeader[l.leaders[p.tp]], p)
	}
	var stuck, moved []probe
	for leader, ps := range byLeader {
		resp, err := fetchRequest(ps, l, readCommitted, lookPartitionBytes).RequestWith(ctx, b.cl.Broker(int(leader)))
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return nil, fmt.Errorf("looking at the end of %s: %w: %w", ps[0].tp, ErrUnavailable, err)
		}
		s, m, err := b.read(ctx, ps, resp, l, found)
		if err != nil {
			return nil, err
		}
		stuck, moved = append(stuck, s...), append(moved, m...)
	}
	// A broker gives at least one whole batch to the first partition of a request only, however small the limits.
	return append(stuck, moved...), nil
}

const (
	readUncommitted int8 = 0
	readCommitted   int8 = 1
)

func fetchRequest(probes []probe, l layout, isolation int8, partitionBytes int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = 0, 0, lookBytes, isolation
	req.SessionEpoch = -1 // no fetch session
	at := map[string]int{}
	for _, p := range probes {
		i, ok := at[p.tp.Topic]
		if !ok {
			i = len(req.Topics)
			at[p.tp.Topic] = i
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = p.tp.Topic, l.ids[p.tp.Topic]
			req.Topics = append(req.Topics, t)
		}
		fp := kmsg.NewFetchRequestTopicPartition()
		fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = p.tp.Partition, p.from, partitionBytes
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, fp)
	}
	return req
}

// read notes what a response shows and returns the probes to ask again: those that got nothing and those that got
// further without meeting a record.
func (b *broker) read(ctx context.Context, probes []probe, resp *kmsg.FetchResponse, l layout, found map[TopicPartition]sight) (stuck, moved []probe, err error) {
	answered := answers(resp, l)
	for _, p := range probes {
		rp := answered[p.tp]
		if rp == nil {
			stuck = append(stuck, p)
			continue
		}
		s := found[p.tp]
		if errors.Is(kerr.ErrorForCode(rp.ErrorCode), kerr.OffsetOutOfRange) {
			if s.clean, err = b.skipDeleted(ctx, p); err != nil {
				return nil, nil, err
			}
		} else if err = s.take(p, rp); err != nil {
			return nil, nil, err
		}
		found[p.tp] = s
		switch {
		case s.seen || rp.ErrorCode == 0 && s.clean >= rp.LastStableOffset:
		case s.clean > p.from:
			moved = append(moved, probe{p.tp, s.clean})
		default:
			stuck = append(stuck, p)
		}
	}
	return stuck, moved, nil
}

// answers finds the parts of a response by topic and partition.
func answers(resp *kmsg.FetchResponse, l layout) map[TopicPartition]*kmsg.FetchResponseTopicPartition {
	names := map[[16]byte]string{}
	for name, id := range l.ids {
		names[id] = name
	}
	answered := map[TopicPartition]*kmsg.FetchResponseTopicPartition{}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == "" {
			t.Topic = names[t.TopicID]
		}
		for j := range t.Partitions {
			answered[TopicPartition{t.Topic, t.Partitions[j].Partition}] = &t.Partitions[j]
		}
	}
	return answered
}

// take reads one partition's answer.
func (s *sight) take(p probe, rp *kmsg.FetchResponseTopicPartition) error {
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: p.from, IsolationLevel: kgo.ReadCommitted(), Topic: p.tp.Topic, Partition: p.tp.Partition,
	}, rp, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		return fmt.Errorf("looking at the end of %s: %w: %w", p.tp, ErrUnavailable, fp.Err)
	}
	if len(fp.Records) > 0 {
		s.clean, s.seen, s.at = fp.Records[0].Offset, true, avro.MillisOf(fp.Records[0].Timestamp)
		return nil
	}
	s.clean = max(s.clean, next)
	return nil
}

// skipDeleted answers a probe that is out of the log: what lies before its start is gone and nothing to wait for.
func (b *broker) skipDeleted(ctx context.Context, p probe) (int64, error) {
	starts, err := b.offsets(ctx, logStart, []TopicPartition{p.tp})
	if err != nil {
		return 0, err
	}
	if start := starts[p.tp]; start > p.from {
		return start, nil
	}
	return 0, fmt.Errorf("looking at %s from offset %d: %w: %w", p.tp, p.from, ErrUnavailable, errBeyondEnd)
}

// errBeyondEnd says that a partition ends before an offset that was once in it.
var errBeyondEnd = errors.New("the log ends before it: the topic was created anew or cut off")
