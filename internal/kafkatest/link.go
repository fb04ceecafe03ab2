package kafkatest

import (
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/linktest"
)

// Link is a way to a Kafka that can be made slow or cut. A client whose seeds are
// Addrs has no other way: the brokers tell it only addresses of this link, under
// which it finds each of them.
type Link struct {
	Addrs []string         // of the brokers, in their order
	To    []*linktest.Link // to each broker, to make only one of them bad
}

// Link opens a way to this Kafka, until the test ends. Four can be open at a time.
func (b *Broker) Link(t testing.TB) *Link {
	t.Helper()
	s := b.server
	if s == nil {
		t.Fatalf("a link needs a Kafka that the tests started themselves, because it is a listener of its own: this is %s at %v", b.Name, b.Addrs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.links) == 0 {
		t.Fatalf("all %d links of this Kafka are in use: raise linksPerServer in internal/kafkatest", linksPerServer)
	}
	l := &Link{To: s.links[len(s.links)-1]}
	s.links = s.links[:len(s.links)-1]
	for _, to := range l.To {
		l.Addrs = append(l.Addrs, to.Addr)
	}
	t.Cleanup(func() {
		l.Cut() // no connection of this test goes on
		l.Heal(t)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.links = append(s.links, l.To)
	})
	return l
}

// Slow delays what goes either way by latency, give or take jitter.
func (l *Link) Slow(t testing.TB, latency, jitter time.Duration) {
	t.Helper()
	for _, to := range l.To {
		to.Slow(t, latency, jitter)
	}
}

// Hang lets nothing through any more, without telling anybody.
func (l *Link) Hang(t testing.TB) {
	t.Helper()
	for _, to := range l.To {
		to.Hang(t)
	}
}

// Cut closes all connections and refuses new ones.
func (l *Link) Cut() {
	for _, to := range l.To {
		to.Cut()
	}
}

// Heal undoes whatever was done to the link.
func (l *Link) Heal(t testing.TB) {
	t.Helper()
	for _, to := range l.To {
		to.Heal(t)
	}
}
