package gateway

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHeaders_traceparent(t *testing.T) {
	const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for v, ok := range map[string]bool{
		valid: true, "": false, strings.ToUpper(valid): false, "01" + valid[2:]: false, valid + "0": false,
		strings.Replace(valid, "4bf9", "4bg9", 1): false, strings.Replace(valid, "-00f0", "_00f0", 1): false,
	} {
		got := traceparent(http.Header{"Traceparent": []string{v}})
		if (got != nil) != ok || ok && *got != v {
			t.Errorf("%q: %v", v, got)
		}
	}
}

func TestHeaders_prefer(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"": waitDefault, "wait=3": 3 * time.Second, "respond-async, WAIT = 3": 3 * time.Second, `wait="3"; x=y`: 3 * time.Second,
		"wait=31": waitMax, "wait=99999999999": waitDefault, "wait=-1": waitDefault, "wait": waitDefault, "wait=x, wait=2": 2 * time.Second, "wait=0": 0,
	} {
		if got, _ := preferredWait(http.Header{"Prefer": []string{v}}); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

func TestServer_serves_its_description(t *testing.T) {
	r := newRig(t)
	if a := r.do(http.MethodGet, "/api/openapi.json", "").is(200).says("openapi", "3.0.3"); a.body != string(r.openAPI) {
		t.Error("another document than the one that was checked")
	}
}

func TestBatch_when_the_view_fails(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.viewErr = errors.New("secret of the disk") })
	answers := r.batch(`{"type":"PlaceOrder","id":"k","command":`+placeOrder+`}`, "{}")
	answers[0].is(503).says("code", "unavailable", "commandId", "k", "line", 1)
	answers[1].is(400)
	if n := r.commandsSent(); n != 0 {
		t.Errorf("%d commands were sent", n)
	}
	r.clean()
}

// A drain that takes too long tells those who wait, instead of cutting them off.
func TestRun_hurries(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.lost = true })
	url, stop := r.serve()
	status := make(chan int, 1)
	go func() {
		res, err := http.Post(url+placePath, "application/json", strings.NewReader(placeOrder))
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	eventually(t, "the command is sent", func() bool { return r.commandsSent() == 1 })
	begun := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took < drainMax || took > drainMax+hurryMax {
		t.Errorf("drained in %v", took)
	}
	if got := <-status; got != http.StatusAccepted {
		t.Errorf("status %d, want 202", got)
	}
}
