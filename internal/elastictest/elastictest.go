// Package elastictest gives tests an Elasticsearch that runs: one real server per test binary, started by
// deploy/local/elasticsearch.sh, and servers of their own for tests that stop, kill and restart them.
//
// A server that cannot be started fails the test with a sentence; nothing is skipped.
package elastictest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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

var shared = sync.OnceValues(func() (*Server, error) {
	dir, err := os.MkdirTemp("", "nexus-elasticsearch-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	return s, s.run()
})

// Server is an Elasticsearch of one test's own.
type Server struct {
	URL string

	dir   string
	stdin *os.File // of the script, which ends when nothing holds it any more
	ended chan struct{}
}

// Start starts a server with no data. It ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{dir: t.TempDir()}
	if err := s.run(); err != nil {
		t.Fatalf("the test needs a real Elasticsearch and could not start one: %v", err)
	}
	t.Cleanup(s.end)
	return s
}

// Stop ends the server in order.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.end()
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGKILL)
	s.end()
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

// Restart starts the server again after Stop or Kill, at the same address, with its data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run("ELASTICSEARCH_KEEP=1", "NEXUS_PORT="+s.URL[strings.LastIndexByte(s.URL, ':')+1:]); err != nil {
		t.Fatalf("Elasticsearch does not start again: %v", err)
	}
}

func (s *Server) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "server.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatalf("signal %v to Elasticsearch: %v", signal, err)
	}
}

// options are those of the server's JVM: a test is over before the better compiler pays.
func options() string {
	if f := flag.Lookup("test.bench"); f != nil && f.Value.String() != "" {
		return os.Getenv("ELASTICSEARCH_OPTS")
	}
	return os.Getenv("ELASTICSEARCH_OPTS") + " -XX:TieredStopAtLevel=1"
}

// end lets the script end, and waits for it.
func (s *Server) end() {
	if s.stdin != nil {
		_ = s.stdin.Close() // the script's cat sees the end of its input
		s.stdin = nil
		<-s.ended
	}
}

// run runs the script, which takes the server along when this process ends.
func (s *Server) run(env ...string) error {
	_, self, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(self), "..", "..", "deploy", "local", "elasticsearch.sh")
	logFile := filepath.Join(s.dir, "script.log")
	out, err := os.Create(logFile)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // the script has its own
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command("bash", script, "run", s.dir) //nolint:gosec,noctx // the module's own script, which lives as long as its input is open
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = r, out, out, append(os.Environ(), append(env, "ELASTICSEARCH_OPTS="+options())...)
	address := filepath.Join(s.dir, "address")
	_ = os.Remove(address) // of the last start
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", script, err)
	}
	_ = r.Close()
	ended, failed := make(chan struct{}), error(nil)
	s.stdin, s.ended = w, ended
	go func() {
		failed = cmd.Wait()
		close(ended)
	}()
	deadline := time.After(6 * time.Minute) // the first start may install Java and download Elasticsearch
	for {
		if at, err := os.ReadFile(address); err == nil {
			s.URL = "http://" + strings.TrimSpace(string(at))
			return nil
		}
		select {
		case <-ended:
			s.stdin = nil
			text, _ := os.ReadFile(logFile)
			return fmt.Errorf("%s ended (%w):\n%s", script, failed, text)
		case <-deadline:
			text, _ := os.ReadFile(logFile)
			return fmt.Errorf("%s was not ready in time:\n%s", script, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
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
