package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/policies"
)

// rig is a gateway over a world.
type rig struct {
	*Gateway
	*world
	t       testing.TB
	metrics *prometheus.Registry
	logged  *programtest.Transcript
}

func newRig(t testing.TB, checks ...Check) *rig {
	t.Helper()
	w := newWorld()
	r := &rig{world: w, t: t, metrics: prometheus.NewRegistry(), logged: &programtest.Transcript{}}
	g, err := New(Options{
		Topology: w.topology, Bus: w, States: states{w}, History: w, Positions: w, Search: &w.found,
		Governance: Governance{Mode: "warn", Violations: []policies.Violation{{Rule: "append-only", Severity: "error", Place: "broker: topic a.events", Detail: "loses events"}}, NotJudged: []string{"direct-calls"}, Gaps: []policies.Gap{{Part: "live.acls", Rules: []string{"event-access"}, Why: "not told"}}},
		Checks:     checks, Endpoints: Endpoints{API: "http://127.0.0.1:8080", Bus: "127.0.0.1:9092", Registry: "http://127.0.0.1:8081"},
		Version: "0.0.0", Metrics: r.metrics, Random: rand.NewChaCha8([32]byte{1}),
		Clock: clock.Func(func() time.Time { return time.UnixMilli(w.now.Load()) }),
		Log:   slog.New(slog.NewTextHandler(r.logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Gateway = g
	return r
}

// answered is an HTTP answer as tests look at it.
type answered struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// do sends one request; headers come in pairs of name and value.
func (r *rig) do(method, path, body string, headers ...string) answered {
	r.t.Helper()
	return r.send(request(method, path, body, headers...))
}

func request(method, path, body string, headers ...string) *http.Request {
	var in io.Reader = http.NoBody
	if body != "" {
		in = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, path, in)
	if method == http.MethodPost && strings.HasPrefix(path, "/api/commands") {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Content-Type" {
			req.Header.Del(headers[i])
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

// send answers a request and holds the answer against the OpenAPI document.
func (r *rig) send(req *http.Request) answered {
	r.t.Helper()
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, req)
	a := answered{t: r.t, status: rec.Code, header: rec.Header(), body: rec.Body.String()}
	checkContract(r.t, req, a)
	return a
}

// clean demands that nothing of any command stayed behind.
func (r *rig) clean() {
	r.t.Helper()
	r.flights.mu.Lock()
	flights := len(r.flights.flying)
	r.flights.mu.Unlock()
	r.mu.Lock()
	interests := len(r.waiting)
	r.mu.Unlock()
	if permits := r.singles.inside() + r.lots.inside() + r.batches.inside(); permits+flights+interests != 0 {
		r.t.Errorf("left behind: %d permits, %d flights, %d expectations", permits, flights, interests)
	}
}

// raw gives the body of a 200 without holding it against the document.
func (r *rig) raw(method, path string) string {
	r.t.Helper()
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, request(method, path, ""))
	return answered{t: r.t, status: rec.Code, body: rec.Body.String()}.is(200).body
}

func (a answered) is(status int) answered {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d; body: %s", a.status, status, a.body)
	}
	return a
}

// says demands members of the JSON body; numbers compare as json.Number's text.
func (a answered) says(pairs ...any) answered {
	a.t.Helper()
	got := jsonObject(a.t, a.body)
	for i := 0; i+1 < len(pairs); i += 2 {
		name := pairs[i].(string)
		if fmt.Sprint(got[name]) != fmt.Sprint(pairs[i+1]) {
			a.t.Errorf("%s is %v, want %v; body: %s", name, got[name], pairs[i+1], a.body)
		}
	}
	return a
}

// has demands a header.
func (a answered) has(name, value string) answered {
	a.t.Helper()
	if got := a.header.Get(name); got != value {
		a.t.Errorf("header %s is %q, want %q", name, got, value)
	}
	return a
}

// faults are the pointer and code of each error in a problem.
func (a answered) faults() (faults []string) {
	a.t.Helper()
	errs, _ := jsonObject(a.t, a.body)["errors"].([]any)
	for _, e := range errs {
		f := e.(map[string]any)
		faults = append(faults, fmt.Sprint(f["pointer"], " ", f["code"]))
	}
	return faults
}

func jsonObject(t testing.TB, body string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	got := map[string]any{}
	if err := dec.Decode(&got); err != nil {
		t.Fatalf("body is no JSON object: %v: %s", err, body)
	}
	return got
}

// eventually polls until ok or the deadline.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Fatalf("not within 5 s: %s", what)
}
