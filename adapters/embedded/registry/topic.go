package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	writeTimeout = 8 * time.Second
	// quietTail is how long a replay waits for records it has been promised
	// before it suspects that compaction has removed the last ones.
	quietTail = 300 * time.Millisecond
	// maxRecordBytes keeps a batch below the default of max.message.bytes
	// (1,048,588), with room for its header.
	maxRecordBytes = 1_000_000
)

// topicLog is the topic _schemas: a log of one partition, read from a position
// and appended to. It is used by one goroutine at a time.
type topicLog struct {
	topic  string
	opts   []kgo.Opt // how to reach the broker
	client *kgo.Client
	next   int64 // offset after the last record that was applied
	// behind is set when a write's fate is unknown: the log may hold records
	// that were not applied.
	behind bool
}

func newTopicLog(topic string, opts []kgo.Opt) (*topicLog, error) {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...),
		kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		// A record written twice says the same twice, so duplicates do not
		// matter, while an idempotent producer could not give up a write in time.
		kgo.DisableIdempotentWrite(),
		// The broker is in this process or next door: what is not answered after
		// a few quick tries will not be.
		kgo.RecordRetries(3),
		kgo.MetadataMinAge(50*time.Millisecond),
		kgo.RetryBackoffFn(func(tries int) time.Duration { return time.Duration(tries) * 50 * time.Millisecond }),
		kgo.RecordDeliveryTimeout(writeTimeout/2),
		kgo.ProduceRequestTimeout(writeTimeout/2),
		kgo.RetryTimeout(writeTimeout),
	)...)
	if err != nil {
		return nil, fmt.Errorf("making a Kafka client: %w", err)
	}
	return &topicLog{topic: topic, opts: opts, client: client}, nil
}

func (l *topicLog) close() { l.client.Close() }

var topicConfigs = map[string]string{"cleanup.policy": "compact", "retention.ms": "-1"}

// ensure creates the topic, or checks that the one there keeps what it is given.
func (l *topicLog) ensure(ctx context.Context) error {
	configs := map[string]*string{}
	for k, v := range topicConfigs {
		configs[k] = &v
	}
	admin := kadm.NewClient(l.client)
	_, err := admin.CreateTopic(ctx, 1, -1, configs, l.topic)
	if err == nil {
		return nil
	}
	if !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("creating topic %s: %w", l.topic, err)
	}
	return l.inspect(ctx, admin)
}

func (l *topicLog) inspect(ctx context.Context, admin *kadm.Client) error {
	topics, err := admin.ListTopicsWithInternal(ctx, l.topic)
	if err == nil {
		err = topics[l.topic].Err
	}
	if err != nil {
		return fmt.Errorf("describing topic %s: %w", l.topic, err)
	}
	if n := len(topics[l.topic].Partitions); n != 1 {
		return fmt.Errorf("topic %s has %d partitions, but a registry's log has one: give the registry another topic", l.topic, n)
	}
	described, err := admin.DescribeTopicConfigs(ctx, l.topic)
	if err != nil {
		return fmt.Errorf("reading the settings of topic %s: %w", l.topic, err)
	}
	for _, resource := range described {
		if resource.Err != nil {
			return fmt.Errorf("reading the settings of topic %s: %w", l.topic, resource.Err)
		}
		for _, c := range resource.Configs {
			want, matters := topicConfigs[c.Key]
			if matters && c.MaybeValue() != want {
				return fmt.Errorf("topic %s has %s=%s and would lose schemas: set it to %s and start again", l.topic, c.Key, c.MaybeValue(), want)
			}
		}
	}
	return nil
}

// catchUp applies every record between the position and the end of the log.
// marked reports that it had to write an empty NOOP to see the end.
func (l *topicLog) catchUp(ctx context.Context, apply func(*kgo.Record)) (marked bool, err error) {
	ends, err := kadm.NewClient(l.client).ListEndOffsets(ctx, l.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return false, fmt.Errorf("listing the end of topic %s: %w", l.topic, err)
	}
	end, _ := ends.Lookup(l.topic, 0)
	if l.next < end.Offset {
		if marked, err = l.readTo(ctx, end.Offset, apply); err != nil {
			return marked, fmt.Errorf("reading topic %s at offset %d: %w", l.topic, l.next, err)
		}
	}
	l.behind = false
	return marked, nil
}

func (l *topicLog) readTo(ctx context.Context, end int64, apply func(*kgo.Record)) (marked bool, err error) {
	reader, err := l.reader()
	if err != nil {
		return false, err
	}
	defer reader.Close()
	for l.next < end {
		err := l.poll(ctx, reader, apply)
		switch {
		case err == nil:
		case !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
			return marked, err
		case !marked:
			// Nothing came although the end is not reached: compaction may
			// have removed the last records. A record of our own shows the end.
			marked = true
			if _, err := l.write(ctx, []change{{key: encode(noopKey{keyNoop, 0})}}); err != nil {
				return marked, err
			}
		}
	}
	return marked, nil
}

func (l *topicLog) reader() (*kgo.Client, error) {
	from := kgo.NewOffset().At(l.next)
	if l.next == 0 {
		from = kgo.NewOffset().AtStart()
	}
	return kgo.NewClient(append(append([]kgo.Opt{}, l.opts...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.topic: {0: from}}),
		kgo.DisableFetchSessions(),
		kgo.FetchMaxWait(quietTail/2),
	)...)
}

func (l *topicLog) poll(ctx context.Context, reader *kgo.Client, apply func(*kgo.Record)) error {
	wait, cancel := context.WithTimeout(ctx, quietTail)
	defer cancel()
	fetches := reader.PollFetches(wait)
	fetches.EachRecord(func(rec *kgo.Record) {
		apply(rec)
		l.next = rec.Offset + 1
	})
	if fetches.NumRecords() > 0 {
		return nil
	}
	return fetches.Err()
}

// write appends the changes behind each other and returns once the broker has
// acknowledged all of them. After an error the log is behind.
func (l *topicLog) write(ctx context.Context, changes []change) ([]*kgo.Record, error) {
	for _, c := range changes {
		if len(c.key)+len(c.value) > maxRecordBytes {
			return nil, errRecordTooLarge
		}
	}
	// The write goes on when the client of the request goes away: half a
	// cancelled write is a write of unknown fate.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	recs := make([]*kgo.Record, len(changes))
	for i, c := range changes {
		recs[i] = &kgo.Record{Topic: l.topic, Key: c.key, Value: c.value}
	}
	if err := l.client.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		l.behind = true
		return nil, fmt.Errorf("writing %d records to topic %s: %w", len(recs), l.topic, err)
	}
	return recs, nil
}
