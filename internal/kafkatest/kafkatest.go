// Package kafkatest gives tests brokers that run: kfake in the test's own process,
// and one real Kafka per test binary, started by deploy/local/kafka.sh. Both forgive
// different things, so what talks to a broker is tested on both. What is tested
// under faults has a Kafka whose brokers can be killed (Three, Dedicated), and ways
// to a Kafka that can be made slow or cut (Broker.Link).
//
// A broker that cannot be started fails the test with a sentence; nothing is skipped.
package kafkatest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Broker is a running broker.
type Broker struct {
	Name  string // "kfake", "kafka" or "kafka-3"
	Addrs []string
	// Prefix begins the names of this test's topics, groups and transactional ids: the
	// real Kafka is shared by all tests of a binary.
	Prefix string
	// Fake is the kfake cluster; nil for Kafka.
	Fake *kfake.Cluster

	server *brokers // nil for kfake, and for a Kafka that somebody else started
}

// Env names an address of a running Kafka (host:port) to use instead of starting one.
const Env = "NEXUS_KAFKA"

// Each runs a test once on each kind of broker.
func Each(t *testing.T, test func(t *testing.T, b *Broker)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) { test(t, Kfake(t)) })
	t.Run("kafka", func(t *testing.T) { test(t, Kafka(t)) })
}

// Kfake starts an in-process broker for this test.
func Kfake(t testing.TB, opts ...kfake.Opt) *Broker {
	t.Helper()
	base := []kfake.Opt{kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "1000"})}
	c, err := kfake.NewCluster(append(base, opts...)...)
	if err != nil {
		t.Fatalf("kfake does not start: %v", err)
	}
	t.Cleanup(c.Close)
	return &Broker{Name: "kfake", Addrs: c.ListenAddrs(), Prefix: prefix(t), Fake: c}
}

// Kafka returns the real Kafka of this test binary, which the first call starts.
// It ends with the test binary, however that ends.
func Kafka(t testing.TB) *Broker {
	t.Helper()
	if addr := os.Getenv(Env); addr != "" {
		return &Broker{Name: "kafka", Addrs: strings.Split(addr, ","), Prefix: prefix(t)}
	}
	return started(t, one)
}

var (
	prefixMu sync.Mutex
	prefixes int
)

func prefix(t testing.TB) string {
	t.Helper()
	prefixMu.Lock()
	defer prefixMu.Unlock()
	prefixes++
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, t.Name())
	return fmt.Sprintf("%s.%d.%d.", name[:min(len(name), 60)], os.Getpid(), prefixes)
}

// Topic is a topic to create.
type Topic struct {
	Name       string
	Partitions int
	Config     map[string]string
}

// Create creates topics and waits until the broker knows them.
func (b *Broker) Create(t testing.TB, topics ...Topic) {
	t.Helper()
	cl := b.Client(t)
	adm := kadm.NewClient(cl)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, topic := range topics {
		cfg := map[string]*string{}
		for k, v := range topic.Config {
			cfg[k] = kadm.StringPtr(v)
		}
		if _, err := adm.CreateTopic(ctx, int32(topic.Partitions), b.replicas(), cfg, topic.Name); err != nil {
			t.Fatalf("creating topic %s: %v", topic.Name, err)
		}
	}
	for _, topic := range topics {
		Eventually(t, 20*time.Second, "topic "+topic.Name+" has leaders", func() bool { return hasLeaders(ctx, cl, topic) })
	}
}

// replicas is how many copies of a topic to ask for: what a real Kafka is set to.
func (b *Broker) replicas() int16 {
	if b.Fake != nil {
		return 1
	}
	return -1
}

// hasLeaders asks the broker itself: kadm answers from a cache of up to 5 s.
func hasLeaders(ctx context.Context, cl *kgo.Client, topic Topic) bool {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic.Name
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != topic.Partitions {
		return false
	}
	for _, p := range resp.Topics[0].Partitions {
		if p.ErrorCode != 0 || p.Leader < 0 {
			return false
		}
	}
	return true
}

// Client returns a plain client that is closed with the test.
func (b *Broker) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addrs...)}, opts...)...)
	if err != nil {
		t.Fatalf("opening a client: %v", err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// Eventually polls until f answers true and fails the test after limit.
func Eventually(t testing.TB, limit time.Duration, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for wait := time.Millisecond; !f(); wait = min(2*wait, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-time.After(wait)
	}
}
