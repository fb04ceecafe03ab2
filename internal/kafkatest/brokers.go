package kafkatest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nexusblueprint/nexus/internal/servertest"
)

// linksPerServer is how many Links a Kafka can have at a time: each is a listener of
// its brokers, which are started with them.
const linksPerServer = 4

// brokers is a Kafka that this test program started.
type brokers struct {
	*servertest.Server
	size int

	mu    sync.Mutex
	links [][]detour // of those not in use, the detour to each broker
}

// detour is a way to a broker: it says that its address is proxy, and listens on listener.
type detour struct{ proxy, listener string }

// The Kafkas that all tests of a program share; the first that asks starts it.
var (
	one   = sync.OnceValues(func() (*brokers, error) { return startBrokers(1) })
	three = sync.OnceValues(func() (*brokers, error) { return startBrokers(3) })
)

// started gives this test a started Kafka.
func started(t testing.TB, start func() (*brokers, error)) *Broker {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatalf("the tests need a real Kafka and could not start one: %v", err)
	}
	name := "kafka"
	if s.size > 1 {
		name = fmt.Sprintf("kafka-%d", s.size)
	}
	return &Broker{Name: name, Addrs: strings.Split(s.Address, ","), Prefix: prefix(t), server: s}
}

func startBrokers(size int) (*brokers, error) {
	// A test is over before the second compiler pays: a start takes two thirds of the CPU time without it.
	server, err := servertest.Start("kafka.sh", fmt.Sprint("KAFKA_BROKERS=", size), fmt.Sprint("KAFKA_LINKS=", linksPerServer),
		"KAFKA_OPTS=-XX:TieredStopAtLevel=1 "+os.Getenv("KAFKA_OPTS"))
	if err != nil {
		return nil, err
	}
	s := &brokers{Server: server, size: size, links: make([][]detour, linksPerServer)}
	text, err := os.ReadFile(filepath.Join(s.Dir, "links")) //nolint:gosec // a folder of our own
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var broker int
		var d detour
		if _, err := fmt.Sscan(line, &broker, &d.proxy, &d.listener); err != nil {
			return nil, fmt.Errorf("%s/links: %q is not a broker and two addresses: %w", s.Dir, line, err)
		}
		link := i % linksPerServer // they come by broker
		s.links[link] = append(s.links[link], d)
	}
	return s, nil
}
