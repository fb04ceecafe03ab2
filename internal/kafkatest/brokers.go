package kafkatest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nexusblueprint/nexus/internal/linktest"
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
	links [][]*linktest.Link // those not in use, each a proxy to each broker
}

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

// startBrokers starts brokers and the proxies of their links. Where a proxy has to listen is in the configuration of the
// brokers; if somebody else has taken a port by the time they run, all begins anew with other ports.
func startBrokers(size int, env ...string) (*brokers, error) {
	for try := 1; ; try++ {
		s, err := tryBrokers(size, env)
		if err == nil || try == 3 || !errors.Is(err, syscall.EADDRINUSE) {
			return s, err
		}
	}
}

func tryBrokers(size int, env []string) (*brokers, error) {
	// A test is over before the second compiler pays: a start takes two thirds of the CPU time without it.
	server, err := servertest.Start("kafka.sh", append([]string{
		fmt.Sprint("KAFKA_BROKERS=", size), fmt.Sprint("KAFKA_LINKS=", linksPerServer), "KAFKA_OPTS=-XX:TieredStopAtLevel=1 " + os.Getenv("KAFKA_OPTS"),
	}, env...)...)
	if err != nil {
		return nil, err
	}
	s := &brokers{Server: server, size: size, links: make([][]*linktest.Link, linksPerServer)}
	if err := s.openLinks(); err != nil {
		s.closeLinks()
		return nil, errors.Join(err, server.Stop())
	}
	return s, nil
}

// openLinks reads which listeners the brokers have for links, and puts a proxy before each.
func (s *brokers) openLinks() error {
	text, err := os.ReadFile(filepath.Join(s.Dir, "links"))
	if err != nil {
		return err
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var broker int
		var proxy, listener string
		if _, err := fmt.Sscan(line, &broker, &proxy, &listener); err != nil {
			return fmt.Errorf("%s/links: %q is not a broker and two addresses: %w", s.Dir, line, err)
		}
		to, err := linktest.New(proxy, listener)
		if err != nil {
			return err
		}
		link := i % linksPerServer // they come by broker
		s.links[link] = append(s.links[link], to)
	}
	return nil
}

func (s *brokers) closeLinks() {
	for _, link := range s.links {
		for _, to := range link {
			to.Cut()
		}
	}
}

// Stop ends the brokers and the proxies of their links.
func (s *brokers) Stop() error {
	s.closeLinks()
	return s.Server.Stop()
}
