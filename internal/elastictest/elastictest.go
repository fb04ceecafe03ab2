// Package elastictest gives tests an Elasticsearch that runs: one real server per test binary, started by
// deploy/local/elasticsearch.sh, and servers of their own for tests that stop, kill and restart them.
//
// A server that cannot be started fails the test with a sentence; nothing is skipped.
package elastictest

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/nexusblueprint/nexus/internal/servertest"
)

// Env names the URL of a running Elasticsearch to use instead of starting one. Its indexes are taken for nobody's.
const Env = "NEXUS_ELASTICSEARCH"

// Shared returns the URL of the Elasticsearch of this test binary, which the first call starts. It ends with the test
// binary, however that ends.
func Shared(t testing.TB) string {
	t.Helper()
	if url := os.Getenv(Env); url != "" {
		return url
	}
	s, err := shared()
	if err != nil {
		t.Fatalf("the tests need a real Elasticsearch and could not start one: %v", err)
	}
	return s.URL
}

var shared = sync.OnceValues(start)

// Server is an Elasticsearch of one test's own.
type Server struct {
	URL string // the same after a Restart

	server *servertest.Server
}

// Start starts a server with no data. It ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatalf("the test needs a real Elasticsearch and could not start one: %v", err)
	}
	t.Cleanup(func() {
		if err := s.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start() (*Server, error) {
	s, err := servertest.Start("elasticsearch.sh", "ELASTICSEARCH_OPTS="+options())
	if err != nil {
		return nil, err
	}
	return &Server{URL: "http://" + s.Address, server: s}, nil
}

// options are those of the server's JVM: a test is over before the better compiler pays.
func options() string {
	if f := flag.Lookup("test.bench"); f != nil && f.Value.String() != "" {
		return os.Getenv("ELASTICSEARCH_OPTS")
	}
	return os.Getenv("ELASTICSEARCH_OPTS") + " -XX:TieredStopAtLevel=1"
}

// Stop ends the server in order.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.do(t, "stop-server")
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.do(t, "kill-server")
}

// Restart starts the server again after Stop or Kill, at the same address, with its data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.do(t, "start-server")
}

func (s *Server) do(t testing.TB, verb string) {
	t.Helper()
	if err := s.server.Do(verb); err != nil {
		t.Fatal(err)
	}
}

// Pause makes the server answer nothing, until Resume.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
}

// Resume ends Pause.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGCONT)
}

func (s *Server) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.server.Dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatalf("signal %v to Elasticsearch: %v", signal, err)
	}
}
