// Package registrytest gives tests a real schema registry: one Apicurio per test binary, started by
// deploy/local/registry.sh. It answers otherwise than the embedded one in many small things, so what depends on a
// registry is tested on both.
//
// A registry that cannot be started fails the test with a sentence; nothing is skipped.
package registrytest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is the Apicurio of this test binary. Its tests do not run in parallel: Stop takes it away from all of them.
type Server struct {
	// URL is the base address of the API, the same after a Stop and a Start.
	URL string

	dir     string
	stdin   io.Closer  // what the script waits on; nil while stopped
	ended   chan error // of the script
	address string
}

// Apicurio returns the registry, which the first call starts. It ends with the test binary, however that ends.
func Apicurio(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("the tests need a real schema registry and could not start one: %v", err)
	}
	return s
}

var shared = sync.OnceValues(func() (*Server, error) {
	dir, err := os.MkdirTemp("", "nexus-registry-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.run(""); err != nil {
		return nil, err
	}
	s.URL = "http://" + s.address + "/apis/ccompat/v7"
	return s, nil
})

// Stop ends the server; what it holds stays.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	_ = s.stdin.Close()
	s.stdin = nil
	if err := <-s.ended; err != nil {
		t.Fatalf("stopping the registry: %v", err)
	}
}

// Start starts the server again, after a Stop.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.address)
	if err == nil {
		err = s.run(port)
	}
	if err != nil {
		t.Fatalf("starting the registry again: %v", err)
	}
}

// patience covers the first start, which may download Java and the server.
const patience = 6 * time.Minute

// run starts the script and waits until the registry answers. The write end of the script's stdin stays open in this
// process: its closing, by Stop or by our death, ends the server.
func (s *Server) run(port string) error {
	_, self, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(self), "..", "..", "deploy", "local", "registry.sh")
	out, err := os.Create(filepath.Join(s.dir, "script.log"))
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	address := filepath.Join(s.dir, "address")
	if err := os.Remove(address); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	cmd := exec.Command("bash", script, "run", s.dir) //nolint:gosec,noctx // the module's own script, which lives as long as the test program
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, out, out
	cmd.Env = append(os.Environ(), "NEXUS_PORT="+port)
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return fmt.Errorf("starting %s: %w", script, err)
	}
	s.stdin, s.ended = w, make(chan error, 1)
	go func() { s.ended <- cmd.Wait() }()
	for deadline := time.After(patience); ; {
		if text, err := os.ReadFile(address); err == nil {
			s.address = strings.TrimSpace(string(text))
			return nil
		}
		select {
		case err := <-s.ended:
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("%s ended (%w):\n%s", script, err, text)
		case <-deadline:
			_ = w.Close()
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("%s was not ready in time:\n%s", script, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// SetLevel sets the compatibility level of a subject, or with subject "" of the registry, at any registry.
func SetLevel(t testing.TB, base, subject, level string) {
	t.Helper()
	target, err := url.JoinPath(base, "config", url.PathEscape(subject))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, strings.TrimSuffix(target, "/"), strings.NewReader(`{"compatibility":"`+level+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("setting the level of %q to %s: %v", subject, level, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("setting the level of %q to %s: HTTP %d %s, %v", subject, level, resp.StatusCode, text, err)
	}
}
