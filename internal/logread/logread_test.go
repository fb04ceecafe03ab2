package logread

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
)

// log is a topic of one partition on some broker.
type log struct {
	t     *testing.T
	b     *kafkatest.Broker
	topic string
	admin *kadm.Client
}

func newLog(t *testing.T, b *kafkatest.Broker) *log {
	t.Helper()
	l := &log{t: t, b: b, topic: b.Prefix + "log"}
	b.Create(t, kafkatest.Topic{Name: l.topic, Partitions: 1})
	l.admin = kadm.NewClient(b.Client(t))
	return l
}

func (l *log) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	l.t.Cleanup(cancel)
	return ctx
}

// write commits or aborts one transaction of n records, which count on from first.
func (l *log) write(first, n int, commit bool) {
	l.t.Helper()
	cl := l.b.Client(l.t, kgo.TransactionalID(l.b.Prefix+fmt.Sprint(first)))
	if err := cl.BeginTransaction(); err != nil {
		l.t.Fatal(err)
	}
	for i := range n {
		if err := cl.ProduceSync(l.ctx(), &kgo.Record{Topic: l.topic, Value: fmt.Append(nil, first+i)}).FirstErr(); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := cl.EndTransaction(l.ctx(), kgo.TransactionEndTry(commit)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *log) read(ranges map[TopicPartition]Range, opts ...kgo.Opt) []string {
	l.t.Helper()
	var got []string
	err := Each(l.ctx(), ranges, func(r *kgo.Record) error {
		got = append(got, string(r.Value))
		return nil
	}, append(opts, kgo.SeedBrokers(l.b.Addrs...))...)
	if err != nil {
		l.t.Fatal(err)
	}
	return got
}

func (l *log) committed() map[TopicPartition]Range {
	l.t.Helper()
	ranges, err := Committed(l.ctx(), l.admin, l.topic)
	if err != nil {
		l.t.Fatal(err)
	}
	return ranges
}

func want(t *testing.T, got []string, values ...string) {
	t.Helper()
	if !slices.Equal(got, values) {
		t.Errorf("read %v, want %v", got, values)
	}
}

func TestEach(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		l := newLog(t, b)
		l.write(1, 2, true)
		l.write(10, 3, false)
		l.write(20, 1, true)
		l.write(30, 2, false)

		t.Run("gives what is committed, however the range ends", func(t *testing.T) {
			want(t, l.read(l.committed()), "1", "2", "20")
			for to := int64(1); to <= 4; to++ {
				ranges := map[TopicPartition]Range{{Topic: l.topic}: {From: 1, To: to}}
				want(t, l.read(ranges), []string{"1", "2"}[1:min(to, 2)]...)
			}
		})
		t.Run("gives nothing of an empty range", func(t *testing.T) {
			want(t, l.read(map[TopicPartition]Range{{Topic: l.topic}: {From: 3, To: 3}}))
		})
		t.Run("ends with the error of the callback", func(t *testing.T) {
			stop := errors.New("enough")
			err := Each(l.ctx(), l.committed(), func(*kgo.Record) error { return stop }, kgo.SeedBrokers(b.Addrs...))
			if !errors.Is(err, stop) {
				t.Errorf("error %v, want %v", err, stop)
			}
		})
		t.Run("passes over what was deleted meanwhile", func(t *testing.T) {
			ranges := l.committed()
			end := ranges[TopicPartition{Topic: l.topic}].To
			for _, upTo := range []int64{2, end} {
				behind := kadm.Offsets{}
				behind.AddOffset(l.topic, 0, upTo, -1)
				deleted, err := l.admin.DeleteRecords(l.ctx(), behind)
				if err == nil {
					err = deleted.Error()
				}
				if err != nil {
					t.Fatal(err)
				}
				if upTo == 2 {
					want(t, l.read(ranges), "20")
				} else {
					want(t, l.read(ranges))
				}
			}
		})
	})
}

// Compaction may remove the last records of a range: no record and no marker
// ever shows that the end is reached.
func TestEach_does_not_wait_for_an_end_that_is_gone(t *testing.T) {
	b := kafkatest.Kfake(t)
	l := newLog(t, b)
	l.write(1, 4, true)
	ranges := l.committed()
	// From offset 3 on, the broker answers as one does whose last batch is empty.
	b.Fake.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		if len(req.Topics) != 1 || req.Topics[0].Partitions[0].FetchOffset < 3 {
			req.MaxBytes = 1 // one batch at a time
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic, rt.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
		rp := kmsg.NewFetchResponseTopicPartition()
		rp.HighWatermark, rp.LastStableOffset = 5, 5
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	want(t, l.read(ranges, kgo.DisableFetchSessions()), "1", "2", "3")
}

func TestEach_fails_when_the_broker_is_gone_or_has_lost_the_end(t *testing.T) {
	t.Run("the log is shorter than the range", func(t *testing.T) {
		l := newLog(t, kafkatest.Kfake(t))
		l.write(1, 1, true)
		err := Each(l.ctx(), map[TopicPartition]Range{{Topic: l.topic}: {To: 9}}, func(*kgo.Record) error { return nil }, kgo.SeedBrokers(l.b.Addrs...))
		if !errors.Is(err, errShortened) {
			t.Errorf("error %v, want %v", err, errShortened)
		}
	})
	t.Run("the broker ends", func(t *testing.T) {
		l := newLog(t, kafkatest.Kfake(t, kfake.NumBrokers(1)))
		l.write(1, 1, true)
		ranges := l.committed()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		l.b.Fake.Close()
		if err := Each(ctx, ranges, func(*kgo.Record) error { return nil }, kgo.SeedBrokers(l.b.Addrs...)); err == nil {
			t.Error("no error")
		}
	})
}

func TestSettled_waits_for_open_transactions(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		l := newLog(t, b)
		l.write(1, 1, true)
		cl := b.Client(t, kgo.TransactionalID(b.Prefix+"open"))
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(l.ctx(), &kgo.Record{Topic: l.topic, Value: []byte("2")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		want(t, l.read(l.committed()), "1")

		settled := make(chan map[TopicPartition]Range, 1)
		go func() {
			ranges, err := Settled(l.ctx(), l.admin, l.topic)
			if err != nil {
				t.Error(err)
			}
			settled <- ranges
		}()
		select {
		case <-settled:
			t.Fatal("it did not wait for the open transaction")
		case <-time.After(200 * time.Millisecond):
		}
		if err := cl.EndTransaction(l.ctx(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		want(t, l.read(<-settled), "1", "2")
	})
}

func TestCommitted_says_which_topic_is_missing(t *testing.T) {
	b := kafkatest.Kfake(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if ranges, err := Committed(ctx, kadm.NewClient(b.Client(t)), "nothing"); err == nil {
		t.Errorf("no error, ranges %v", ranges)
	}
}
