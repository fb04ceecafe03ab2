package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

func dial(t *testing.T, server *httptest.Server) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestServer_unknown_paths_and_methods(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/nothing", "/api", "/api/", "/api/commands/", "/api/commands/PlaceOrder/", "/api/queries/products/", "/API/queries", "//api/queries", "/api/aggregates/order"} {
		r.do(http.MethodGet, path, "").is(404).says("code", "not-found").has("Content-Type", "application/problem+json")
	}
	for path, allow := range map[string]string{"/api/commands": "POST", "/api/queries": "GET", "/api/commands/x": "POST, GET", "/healthz": "GET"} {
		a := r.do(http.MethodDelete, path, "").is(405).says("code", "method-not-allowed")
		for method := range strings.SplitSeq(allow, ", ") {
			if !strings.Contains(a.header.Get("Allow"), method) {
				t.Errorf("%s: Allow %q lacks %s", path, a.header.Get("Allow"), method)
			}
		}
	}
	r.do(http.MethodGet, "/", "").is(302).has("Location", "/api/openapi.json")
}

func TestServer_panics_are_hidden(t *testing.T) {
	r := newRig(t)
	r.engine.GET("/boom", func(*gin.Context) { panic("secret") })
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, request(http.MethodGet, "/boom", ""))
	answered{t: t, status: rec.Code, body: rec.Body.String()}.is(500).says("code", "internal")
	if strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("body %s", rec.Body)
	}
	if log := r.logged.String(); !strings.Contains(log, "secret") || !strings.Contains(log, "server_test.go") {
		t.Errorf("the log has no panic with its stack: %s", log)
	}
	r.engine.GET("/half", func(c *gin.Context) {
		c.String(200, "half an ")
		panic("secret")
	})
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
			t.Errorf("panic %v, want http.ErrAbortHandler", p)
		}
	}()
	r.ServeHTTP(httptest.NewRecorder(), request(http.MethodGet, "/half", ""))
}

func TestServer_checks_host_and_origin_on_loopback(t *testing.T) {
	r := newRig(t)
	r.hosts.Store(loopbackRule(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}))
	for _, c := range []struct {
		host, origin string
		status       int
		code         string
	}{
		{"127.0.0.1:8080", "", 200, ""},
		{"localhost:8080", "", 200, ""},
		{"LOCALHOST:8080", "", 200, ""},
		{"[::1]:8080", "", 200, ""},
		{"localhost:8080", "http://localhost:8080", 200, ""},
		{"localhost:8080", "http://127.0.0.1:8080", 200, ""},
		{"evil.example:8080", "", 403, "forbidden-host"},
		{"127.0.0.1.evil.example:8080", "", 403, "forbidden-host"},
		{"localhost", "", 403, "forbidden-host"},
		{"localhost:9090", "", 403, "forbidden-host"},
		{"", "", 403, "forbidden-host"},
		{"localhost:8080", "http://evil.example", 403, "forbidden-origin"},
		{"localhost:8080", "http://localhost:9090", 403, "forbidden-origin"},
		{"localhost:8080", "https://localhost:8080", 403, "forbidden-origin"},
		{"localhost:8080", "null", 403, "forbidden-origin"},
	} {
		req := request(http.MethodGet, "/healthz", "")
		req.Host = c.host
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		a := r.send(req)
		if a.status != c.status {
			t.Errorf("Host %q, Origin %q: %d, want %d", c.host, c.origin, a.status, c.status)
		} else if c.code != "" {
			a.says("code", c.code)
		}
	}
	if loopbackRule(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8080}) != nil || loopbackRule(&net.TCPAddr{IP: net.IPv4zero, Port: 8080}) != nil {
		t.Error("an address that others reach is not checked: they name it as they like")
	}
	if a := r.send(request(http.MethodGet, "/healthz", "", "Origin", "http://localhost:8080")); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("no other origin is let in")
	}
}

func TestServer_readiness(t *testing.T) {
	ready := false
	r := newRig(t, func() (string, bool, string) { return "broker", true, "" }, func() (string, bool, string) { return "views", ready, "catching up" })
	r.do(http.MethodGet, "/healthz", "").is(200)
	a := r.do(http.MethodGet, "/readyz", "").is(503).says("ready", "false")
	if !strings.Contains(a.body, `{"name":"views","ok":false,"detail":"catching up"}`) {
		t.Errorf("body %s", a.body)
	}
	ready = true
	a = r.do(http.MethodGet, "/readyz", "").is(200).says("ready", "true")
	if want := `],"governance":{"mode":"warn","violations":[{"rule":"append-only","severity":"error","place":"broker: topic a.events","detail":"loses events"}],"notJudged":["direct-calls"],"gaps":[{"part":"live.acls","rules":["event-access"],"why":"not told"}]}}`; !strings.HasSuffix(strings.TrimSpace(a.body), want) {
		t.Errorf("body %s, want it to end in %s", a.body, want)
	}
	r.draining.Store(true)
	r.do(http.MethodGet, "/readyz", "").is(503)
	r.do(http.MethodGet, "/healthz", "").is(200)
}

func TestServer_endpoints(t *testing.T) {
	r := newRig(t)
	for range 2 { // the body is shared
		a := r.do(http.MethodGet, "/api/admin/endpoints", "").is(200)
		if a.body != `{"api":"http://127.0.0.1:8080","bus":"127.0.0.1:9092","registry":"http://127.0.0.1:8081"}`+"\n" {
			t.Errorf("body %s", a.body)
		}
	}
}

func TestServer_metrics(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodPost, placePath, placeOrder).is(201)
	r.do(http.MethodPost, placePath, placeOrder).is(422)
	r.do(http.MethodPost, placePath, "{}").is(400)
	r.do(http.MethodPost, batchPath, place("2")+"\n"+place("2")).is(200)
	r.do(http.MethodGet, "/nothing", "").is(404)
	body := r.do(http.MethodGet, "/metrics", "").is(200).body
	for _, line := range []string{
		`nexus_commands_total{end="accepted",type="PlaceOrder"} 2`,
		`nexus_commands_total{end="rejected",type="PlaceOrder"} 2`,
		`nexus_commands_total{end="invalid-command",type="PlaceOrder"} 1`,
		`nexus_http_request_seconds_count{method="POST",route="/api/commands/:type",status="201"} 1`,
		`nexus_http_request_seconds_count{method="POST",route="/api/commands",status="200"} 1`,
		`nexus_http_request_seconds_count{method="GET",route="none",status="404"} 1`,
		`nexus_commands_in_flight 0`,
		`nexus_batches_in_flight 0`,
		`nexus_queries_in_flight 0`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestNew_says_what_is_missing(t *testing.T) {
	_, err := New(Options{})
	if err == nil || !strings.Contains(err.Error(), "Topology") || !strings.Contains(err.Error(), "Search") {
		t.Errorf("error %v", err)
	}
}

// serve runs the gateway on a free port of loopback until stop is called.
func (r *rig) serve() (url string, stop func() error) {
	r.t.Helper()
	return r.serveOn("127.0.0.1:0")
}

func (r *rig) serveOn(address string) (url string, stop func() error) {
	r.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(r.t.Context(), "tcp", address)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, listener) }()
	r.t.Cleanup(cancel)
	return "http://" + listener.Addr().String(), func() error {
		cancel()
		return <-ended
	}
}

func TestRun_drains(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.hold = true })
	url, stop := r.serve()
	client := &http.Client{Transport: &http.Transport{}}
	status := make(chan int, 1)
	go func() {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, url+placePath, strings.NewReader(placeOrder))
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	eventually(t, "the command is sent", func() bool { return r.commandsSent() == 1 })
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	eventually(t, "the server drains", r.draining.Load)
	select {
	case err := <-ended:
		t.Fatalf("ended before the answer was given: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	r.release()
	if got := <-status; got != 201 {
		t.Errorf("status %d, want 201", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := client.Get(url + "/healthz"); err == nil { // there is nobody
		t.Error("still serving")
	}
}

func TestRun_warns_beyond_loopback(t *testing.T) {
	for address, warnings := range map[string]int{"127.0.0.1:0": 0, "0.0.0.0:0": 1} {
		r := newRig(t)
		_, stop := r.serveOn(address)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := strings.Count(r.logged.String(), "without authentication"); n != warnings {
			t.Errorf("%s: %d warnings, want %d:\n%s", address, n, warnings, r.logged)
		}
	}
}

func TestRun_answers_probes_by_HEAD(t *testing.T) {
	r := newRig(t, func() (string, bool, string) { return "views", false, "catching up" })
	url, stop := r.serve()
	for path, status := range map[string]int{"/healthz": 200, "/readyz": 503} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodHead, url+path, nil)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != status || len(body) > 0 || res.ContentLength <= 0 {
			t.Errorf("HEAD %s: %d, %d bytes of %d, want %d and a body left out", path, res.StatusCode, len(body), res.ContentLength, status)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRun_serves_with_checks(t *testing.T) {
	r := newRig(t)
	url, stop := r.serve()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/healthz", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 200 || string(body) != "{\"ok\":true}\n" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	req, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/healthz", nil)
	req.Host = "evil.example"
	if res, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 403 {
		t.Errorf("status %d for another host, want 403", res.StatusCode)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
