package views

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/internal/kafkalog"
)

// requestTimeout bounds one question to the broker.
const requestTimeout = 5 * time.Second

// broker asks what the views need to know beside the records they read.
type broker struct{ cl *kgo.Client }

func newBroker(cfg Config) (*broker, error) {
	cl, err := kgo.NewClient(append(clientOpts(cfg), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		return nil, fmt.Errorf("setting up the broker's client: %w", err)
	}
	return &broker{cl: cl}, nil
}

// clientOpts are the options of every client of this package.
func clientOpts(cfg Config) []kgo.Opt {
	return append([]kgo.Opt{kafkalog.To(cfg.Logger), kgo.ClientID("nexus-views")}, cfg.Client...)
}

func (b *broker) close() { b.cl.Close() }

// bound is which end of a partition is asked for.
type bound struct {
	timestamp int64 // Kafka's: -2 start, -1 end, else the first record of that time or later, in milliseconds
	isolation int8
	name      string
}

var (
	logStart = bound{-2, 0, "start"}
	// logEnd is the high watermark: it counts records of open transactions.
	logEnd = bound{-1, 0, "end"}
	// stableEnd is where a read-committed reader stops now.
	stableEnd = bound{-1, 1, "stable end"}
)

// offsets asks for one bound of many partitions. A partition without a record of the time asked for has -1.
func (b *broker) offsets(ctx context.Context, what bound, tps []TopicPartition) (map[TopicPartition]int64, error) {
	if len(tps) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = what.isolation
	at := map[string]int{}
	for _, tp := range tps {
		i, ok := at[tp.Topic]
		if !ok {
			i = len(req.Topics)
			at[tp.Topic] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = tp.Topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = tp.Partition, what.timestamp
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	found := make(map[TopicPartition]int64, len(tps))
	resp, err := req.RequestWith(ctx, b.cl)
	if err != nil {
		return nil, fmt.Errorf("asking for the %s of %s: %w: %w", what.name, tps[0], ErrUnavailable, err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			tp := TopicPartition{t.Topic, p.Partition}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("asking for the %s of %s: %w: %w", what.name, tp, ErrUnavailable, err)
			}
			found[tp] = p.Offset
		}
	}
	for _, tp := range tps {
		if _, ok := found[tp]; !ok {
			return nil, fmt.Errorf("asking for the %s of %s: %w: the answer leaves it out", what.name, tp, ErrUnavailable)
		}
	}
	return found, nil
}

// committed asks for the offsets that groups have committed. What a transaction has not committed yet is not among
// them; a partition without a commit is left out.
func (b *broker) committed(ctx context.Context, groups []string) (map[string]map[TopicPartition]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := kmsg.NewPtrOffsetFetchRequest()
	for _, name := range groups {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = name
		req.Groups = append(req.Groups, g)
	}
	resp, err := req.RequestWith(ctx, b.cl)
	if err != nil {
		return nil, fmt.Errorf("asking for committed offsets: %w: %w", ErrUnavailable, err)
	}
	found := make(map[string]map[TopicPartition]int64, len(groups))
	for _, g := range resp.Groups {
		// A group that was never there has committed nothing.
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			return nil, fmt.Errorf("asking for the offsets of group %s: %w: %w", g.Group, ErrUnavailable, err)
		}
		offsets := map[TopicPartition]int64{}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("asking for the offsets of group %s: %w: %s/%d: %w", g.Group, ErrUnavailable, t.Topic, p.Partition, err)
				}
				if p.Offset >= 0 {
					offsets[TopicPartition{t.Topic, p.Partition}] = p.Offset
				}
			}
		}
		found[g.Group] = offsets
	}
	return found, nil
}

// layout is what metadata says of the topics asked for.
type layout struct {
	ids     map[string][16]byte
	counts  map[string]int32
	leaders map[TopicPartition]int32
}

func (b *broker) layout(ctx context.Context, topics []string, maxAge time.Duration) (layout, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	l := layout{ids: map[string][16]byte{}, counts: map[string]int32{}, leaders: map[TopicPartition]int32{}}
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := b.cl.RequestCachedMetadata(ctx, req, maxAge)
	if err != nil {
		return l, fmt.Errorf("describing %s: %w: %w", topics[0], ErrUnavailable, err)
	}
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return l, fmt.Errorf("describing topic %s: %w: %w", *t.Topic, ErrUnavailable, err)
		}
		l.ids[*t.Topic], l.counts[*t.Topic] = t.TopicID, int32(len(t.Partitions))
		for _, p := range t.Partitions {
			l.leaders[TopicPartition{*t.Topic, p.Partition}] = p.Leader
		}
	}
	for _, name := range topics {
		if l.counts[name] == 0 {
			return l, fmt.Errorf("describing topic %s: %w: the broker does not know it; it is created from the topology at a start", name, ErrUnavailable)
		}
	}
	return l, nil
}

// ended reports whether an error only says that ctx is over.
func ended(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed))
}
