package kafkatest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// write produces one record and returns when it is acknowledged, or not within limit.
func write(t *testing.T, cl *kgo.Client, topic, value string, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr()
}

// values reads what is committed of a topic, up to a value.
func values(t *testing.T, b *Broker, topic, last string) string {
	t.Helper()
	cl := b.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var read []string
	for !slices.Contains(read, last) && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { read = append(read, string(r.Value)) })
	}
	return strings.Join(read, " ")
}

func TestThree(t *testing.T) {
	c := Three(t)
	topic := c.Prefix + "x"
	c.Create(t, Topic{Name: topic, Partitions: 1})
	for _, internal := range []string{topic, "__consumer_offsets", "__transaction_state"} {
		c.replicated(t, internal)
	}

	cl := c.Client(t)
	if err := write(t, cl, topic, "all", time.Minute); err != nil {
		t.Fatal(err)
	}
	thaw, acknowledged := c.Freeze(t, 3), make(chan error, 1)
	go func() { acknowledged <- write(t, cl, topic, "frozen", time.Minute) }()
	select {
	case err := <-acknowledged:
		t.Fatalf("a write that one of three copies cannot have was acknowledged, or failed: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	thaw()
	if err := <-acknowledged; err != nil {
		t.Fatalf("after the thaw: %v", err)
	}
	c.Kill(t, 1)
	if err := write(t, cl, topic, "one-killed", time.Minute); err != nil {
		t.Fatalf("two brokers of three do not take a write: %v", err)
	}
	c.Stop(t, 2)
	lone := c.Client(t, kgo.RecordRetries(1), kgo.RecordDeliveryTimeout(3*time.Second), kgo.ProduceRequestTimeout(2*time.Second))
	if err := write(t, lone, topic, "two-down", 10*time.Second); err == nil {
		t.Fatal("one broker of three acknowledged a write")
	}
	c.Start(t, 1)
	c.Start(t, 2)
	c.Whole(t)
	if err := write(t, cl, topic, "whole", time.Minute); err != nil {
		t.Fatal(err)
	}
	// What was refused may have been written all the same: nobody was told either way.
	if got := strings.Replace(values(t, c.Broker, topic, "whole"), " two-down", "", 1); got != "all frozen one-killed whole" {
		t.Fatalf("read %q", got)
	}
}

// replicated checks that a topic has three copies, of which two must be in sync. It
// brings the topics of groups and transactions about by using both.
func (c *Cluster) replicated(t *testing.T, topic string) {
	t.Helper()
	cl := c.Client(t, kgo.TransactionalID(c.Prefix+"t"), kgo.ConsumerGroup(c.Prefix+"g"), kgo.ConsumeTopics(c.Prefix+"x"))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := write(t, cl, c.Prefix+"x", "aborted", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	adm := kadm.NewClient(cl)
	Eventually(t, time.Minute, topic+" has three copies", func() bool {
		list, err := adm.ListTopicsWithInternal(t.Context(), topic)
		return err == nil && list[topic].Err == nil && list[topic].Partitions.NumReplicas() == 3
	})
	configs, err := adm.DescribeTopicConfigs(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range configs[0].Configs {
		if config.Key == "min.insync.replicas" && config.MaybeValue() != "2" {
			t.Errorf("min.insync.replicas of %s is %s, not 2", topic, config.MaybeValue())
		}
	}
}

func TestDedicated(t *testing.T) {
	s, err := startBrokers(1)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{Broker: started(t, func() (*brokers, error) { return s, nil })}
	topic := c.Prefix + "x"
	c.Create(t, Topic{Name: topic, Partitions: 1})
	cl := c.Client(t)
	for i, take := range []func(testing.TB, int){c.Kill, c.Stop} {
		if err := write(t, cl, topic, fmt.Sprint(i), time.Minute); err != nil {
			t.Fatal(err)
		}
		take(t, 1)
		if err := write(t, c.Client(t), topic, "nobody", 300*time.Millisecond); err == nil {
			t.Fatal("a dead broker took a write")
		}
		c.Start(t, 1)
		c.Whole(t)
	}
	if err := write(t, cl, topic, "2", time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := values(t, c.Broker, topic, "2"); got != "0 1 2" {
		t.Fatalf("read %q", got)
	}

	// A broker that was started again, by another process, ends with us like the first.
	pid, err := os.ReadFile(filepath.Join(s.Dir, "node-1", "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join("/proc", strings.Fields(string(pid))[0], "cmdline")); err == nil && len(text) > 0 {
		t.Fatalf("the broker outlived its owner: %s", text)
	}
}
