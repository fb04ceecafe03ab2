// Package registrytest gives tests schema registries: embedded ones on brokers of theirs, and one Apicurio per test
// binary, started by deploy/local/registry.sh. It answers otherwise than the embedded one in many small things, so what
// depends on a registry is tested on both.
//
// A registry that cannot be started fails the test with a sentence; nothing is skipped.
package registrytest

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/nexusblueprint/nexus/internal/servertest"
)

// Server is the Apicurio of this test binary. Its tests do not run in parallel: Stop takes it away from all of them.
type Server struct {
	// URL is the base address of the API, the same after a Stop and a Start.
	URL string

	server *servertest.Server
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
	s, err := servertest.Start("registry.sh")
	if err != nil {
		return nil, err
	}
	return &Server{URL: "http://" + s.Address + "/apis/ccompat/v7", server: s}, nil
})

// Stop ends the server; what it holds stays.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.server.Do("stop-server"); err != nil {
		t.Fatal(err)
	}
}

// Start starts the server again, after a Stop.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.server.Do("start-server"); err != nil {
		t.Fatal(err)
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
