package confluent

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/ports"
)

// serving starts a server that answers as f does and counts its requests.
func serving(t *testing.T, f http.HandlerFunc) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		f(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// quick is a client that does not pause between tries.
func quick(t *testing.T, cfg config.Registry) *Registry {
	t.Helper()
	r := connect(t, cfg)
	r.firstPause = time.Microsecond
	return r
}

func TestRegistry_asksUnderThePathOfTheURL(t *testing.T) {
	for _, base := range []string{"/apis/ccompat/v7", "/apis/ccompat/v7/"} {
		url, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
			if want := "/apis/ccompat/v7/schemas/ids/7"; r.URL.Path != want {
				t.Errorf("asked for %s, want %s", r.URL.Path, want)
			}
			fmt.Fprint(w, `{"schema":"\"int\""}`)
		})
		if text, _, err := quick(t, config.Registry{URL: url + base}).Text(t.Context(), 7); err != nil || text != `"int"` {
			t.Errorf("%s: %s, %v", base, text, err)
		}
	}
}

func TestRegistry_authenticates(t *testing.T) {
	for want, cfg := range map[string]config.Registry{
		"Basic a2V5OnNlY3JldA==": {User: "key", Password: config.NewSecret("secret")}, "": {},
	} {
		url, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Authorization"); got != want {
				http.Error(w, `{"error_code":401,"message":"User cannot be authenticated"}`, http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, `{"compatibilityLevel":"FULL_TRANSITIVE"}`)
		})
		cfg.URL = url
		if level, err := quick(t, cfg).Level(t.Context(), "a"); err != nil || level != ports.LevelFullTransitive {
			t.Errorf("%s: %s, %v", want, level, err)
		}
		wrong := config.Registry{URL: cfg.URL, User: "key", Password: config.NewSecret("wr0ng")}
		_, err := quick(t, wrong).Level(t.Context(), "a")
		if err == nil || !strings.Contains(err.Error(), "does not accept the credentials") || strings.Contains(err.Error(), "wr0ng") ||
			errors.Is(err, ports.ErrRegistryUnavailable) {
			t.Errorf("wrong credentials: %v", err)
		}
	}
}

func TestRegistry_trustsOnlyTheGivenAuthority(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"schema":"\"int\""}`) }))
	defer s.Close()
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := quick(t, config.Registry{URL: s.URL, CAFile: file}).Text(t.Context(), 1); err != nil {
		t.Errorf("with its authority: %v", err)
	}
	if _, _, err := quick(t, config.Registry{URL: s.URL}).Text(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without: %v", err)
	}
}

func TestRegistry_triesAgainWhatMayPass(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable} {
		left := atomic.Int64{}
		left.Store(tries - 1)
		url, requests := serving(t, func(w http.ResponseWriter, _ *http.Request) {
			if left.Add(-1) >= 0 {
				http.Error(w, "later", status)
				return
			}
			fmt.Fprint(w, `{"schema":"\"int\""}`)
		})
		r := quick(t, config.Registry{URL: url})
		if _, _, err := r.Text(t.Context(), 1); err != nil || requests.Load() != tries {
			t.Errorf("%d, then an answer: %v after %d requests", status, err, requests.Load())
		}
		left.Store(1 << 20)
		if _, _, err := r.Text(t.Context(), 1); !errors.Is(err, ports.ErrRegistryUnavailable) || requests.Load() != 2*tries || !strings.Contains(err.Error(), url) {
			t.Errorf("%d for ever: %v after %d requests", status, err, requests.Load()-tries)
		}
	}
}

func TestRegistry_asksOnceForWhatIsRefused(t *testing.T) {
	for status, want := range map[int]error{http.StatusConflict: ports.ErrIncompatible, http.StatusUnprocessableEntity: ports.ErrInvalidSchema} {
		url, requests := serving(t, func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/versions") { // the look-up before
				http.Error(w, `{"error_code":40401,"message":"not here"}`, http.StatusNotFound)
				return
			}
			http.Error(w, fmt.Sprintf(`{"error_code":%d,"message":"because"}`, map[int]int{409: 409, 422: 42201}[status]), status)
		})
		_, err := quick(t, config.Registry{URL: url}).Register(t.Context(), ports.Schema{Subject: "a", Text: `"int"`})
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "because") || requests.Load() != 2 {
			t.Errorf("%d: %v after %d requests", status, err, requests.Load())
		}
	}
}

// A registry that takes connections and never answers costs one patience, not one for each try.
func TestRegistry_waitsOnceForASilentRegistry(t *testing.T) {
	release := make(chan struct{})
	url, requests := serving(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	r := quick(t, config.Registry{URL: url})
	if r.patience > 10*time.Second {
		t.Errorf("a client waits %v", r.patience)
	}
	r.patience = 100 * time.Millisecond
	_, _, err := r.Text(t.Context(), 1)
	const want = "no answer in 100ms: look at its log"
	if !errors.Is(err, ports.ErrRegistryUnavailable) || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "http://") != 1 {
		t.Errorf("%v; want: %s", err, want)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, each as patient", n)
	}
	r.answered.Store(true) // it is slow: each try has the patience, and the error says so
	_, _, err = r.Text(t.Context(), 1)
	if n := requests.Load(); !errors.Is(err, ports.ErrRegistryUnavailable) || !strings.Contains(err.Error(), "no answer in 4 tries of 100ms: look at its log") || n != 1+tries {
		t.Errorf("%v after %d requests", err, n-1)
	}
}

func TestRegistry_saysOnceWhereNobodyAnswers(t *testing.T) {
	_, _, err := quick(t, config.Registry{URL: "http://127.0.0.1:1"}).Text(t.Context(), 1)
	want := "fetching schema 1: schema registry gave no answer: http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused: start it, or correct the address"
	if err == nil || err.Error() != want {
		t.Errorf("%v; want: %s", err, want)
	}
}

func TestRegistry_endsAHangingCallWithItsContext(t *testing.T) {
	release := make(chan struct{})
	url, _ := serving(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := connect(t, config.Registry{URL: url}).Text(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), url) {
		t.Errorf("%v", err)
	}
}

func TestRegistry_boundsWhatItReads(t *testing.T) {
	url, requests := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.CopyN(w, endless{}, 2*answerBytesMax)
	})
	if _, _, err := quick(t, config.Registry{URL: url}).Text(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "is larger than") || requests.Load() != 1 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestRegistry_followsReferences(t *testing.T) {
	url, _ := serving(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/schemas/ids/1":
			fmt.Fprint(w, `{"schema":"whole","references":[{"name":"x","subject":"part","version":3},{"name":"y","subject":"part","version":3}]}`)
		case "/subjects/part/versions/3":
			fmt.Fprint(w, `{"schema":"part","references":[{"name":"x","subject":"piece","version":1}]}`)
		case "/subjects/piece/versions/1":
			fmt.Fprint(w, `{"schema":"piece","references":[{"name":"x","subject":"part","version":3}]}`)
		case "/schemas/ids/2":
			fmt.Fprint(w, `{"schema":"whole","references":[{"name":"x","subject":"gone","version":1}]}`)
		case "/schemas/ids/3":
			fmt.Fprint(w, `{"schema":"message","schemaType":"PROTOBUF"}`)
		default:
			http.Error(w, `{"error_code":40401,"message":"not here"}`, http.StatusNotFound)
		}
	})
	r := quick(t, config.Registry{URL: url})
	if text, refersTo, err := r.Text(t.Context(), 1); err != nil || text != "whole" || strings.Join(refersTo, " ") != "part piece" {
		t.Errorf("%s refers to %v, %v", text, refersTo, err)
	}
	for id, part := range map[uint32]string{2: "version 1 of gone", 3: "PROTOBUF"} {
		if _, _, err := r.Text(t.Context(), id); !errors.Is(err, ports.ErrInvalidSchema) || errors.Is(err, ports.ErrUnknownSchema) || !strings.Contains(err.Error(), part) {
			t.Errorf("id %d: %v", id, err)
		}
	}
}

// A registry that was never given a level answers without one, or not at all.
func TestRegistry_takesNoLevelForNone(t *testing.T) {
	for answer, status := range map[string]int{`{}`: 200, `{"error_code":40408,"message":"no level"}`: 404} {
		url, _ := serving(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, answer)
		})
		if level, err := quick(t, config.Registry{URL: url}).Level(t.Context(), "a"); err != nil || level != ports.LevelNone {
			t.Errorf("%s: %q, %v", answer, level, err)
		}
	}
}

func TestNew_namesTheFault(t *testing.T) {
	for part, cfg := range map[string]config.Registry{
		`"host:8081"`: {URL: "host:8081"}, "credentials do not belong into the address": {URL: "http://me:s3cret@host"},
		`"…@host": an http:// or https://`: {URL: "http://%zz:s3cret@host"}, `"http://host?a=b"`: {URL: "http://host?a=b"}, `""`: {},
		"no such file": {URL: "http://h", CAFile: "/nowhere"}, "no certificate": {URL: "http://h", CAFile: "options.go"},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", part, err)
		}
	}
}
