package kafkatest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Cluster is a real Kafka whose brokers a test may kill, stop and start again; they
// are numbered from 1. A broker keeps its data and its port. Its methods are for one
// goroutine at a time.
type Cluster struct {
	*Broker
	down []int
}

// Three returns the Kafka of three brokers of this test binary, which the first call
// starts: every topic is on all three, two must have a write before it is
// acknowledged. When the test ends, those that it took down are started again.
func Three(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{Broker: started(t, three)}
	t.Cleanup(func() {
		for len(c.down) > 0 {
			c.Start(t, c.down[0])
		}
		c.Whole(t)
	})
	return c
}

// Dedicated starts a Kafka of one broker for this test alone.
func Dedicated(t testing.TB) *Cluster {
	t.Helper()
	return dedicated(t)
}

func dedicated(t testing.TB, env ...string) *Cluster {
	t.Helper()
	c := &Cluster{Broker: started(t, func() (*brokers, error) { return startBrokers(1, env...) })}
	t.Cleanup(func() {
		if err := c.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Kill ends a broker with kill -9.
func (c *Cluster) Kill(t testing.TB, broker int) {
	t.Helper()
	c.take(t, "kill-node", broker)
}

// Stop ends a broker cleanly: it hands over its partitions first.
func (c *Cluster) Stop(t testing.TB, broker int) {
	t.Helper()
	c.take(t, "stop-node", broker)
}

func (c *Cluster) take(t testing.TB, verb string, broker int) {
	t.Helper()
	if err := c.server.Do(verb, strconv.Itoa(broker)); err != nil {
		t.Fatal(err)
	}
	c.down = append(c.down, broker)
}

// Start starts a broker that was killed or stopped, and returns when it listens. It
// may still be catching up, see Whole.
func (c *Cluster) Start(t testing.TB, broker int) {
	t.Helper()
	c.down = slices.DeleteFunc(c.down, func(b int) bool { return b == broker })
	if err := c.server.Do("start-node", strconv.Itoa(broker)); err != nil {
		t.Fatal(err)
	}
}

// Whole waits until every partition has a leader and all its copies are in sync. All
// brokers must have been started.
func (c *Cluster) Whole(t testing.TB) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	fault := ""
	t.Cleanup(func() {
		if t.Failed() && fault != "" {
			t.Logf("the brokers are not whole: %s", fault)
		}
	})
	Eventually(t, 2*time.Minute, "all partitions are in sync", func() bool {
		for broker := range c.Addrs {
			if fault = c.fault(cl, int32(broker+1)); fault != "" {
				return false
			}
		}
		return true
	})
}

// fault is what is not in order as a broker sees it.
func (c *Cluster) fault(cl *kgo.Client, broker int32) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // t.Context has ended where Cleanup calls this
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil // all
	r, err := cl.Broker(int(broker)).RetriableRequest(ctx, req)
	if err != nil {
		return fmt.Sprintf("broker %d: %v", broker, err)
	}
	resp := r.(*kmsg.MetadataResponse)
	if len(resp.Brokers) != len(c.Addrs) {
		return fmt.Sprintf("broker %d knows of %d brokers", broker, len(resp.Brokers))
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
				return fmt.Sprintf("broker %d says of partition %d of %s: leader %d, in sync %d of %d", broker, p.Partition, *topic.Topic, p.Leader, p.ISR, p.Replicas)
			}
		}
	}
	return ""
}
