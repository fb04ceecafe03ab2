package faults

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/soak"
)

// Every link between two parts is made slow, then silent, then cut, and heals.
func (s *stage) links(t *testing.T) {
	s.whole(t)
	tr := s.traffic(t, s.front)
	finish := s.load(t, s.front)
	tr.goesOn(t, 10)
	for range soak.Rounds(t, 1) {
		for _, l := range []struct {
			name string
			link interface {
				Slow(t testing.TB, latency, jitter time.Duration)
				Hang(t testing.TB)
				Cut()
				Heal(t testing.TB)
			}
		}{{"gateway to broker", s.frontLink}, {"processors to broker", s.backLink}} {
			s.slow(t, tr, l.name, func() { l.link.Slow(t, latency, latency/4) })
			l.link.Heal(t)
			s.recovers(t, tr)
			for fault, strike := range map[string]func(){"silent": func() { l.link.Hang(t) }, "cut": l.link.Cut} {
				s.silence(t, tr, fmt.Sprintf("the link of %s, %s", l.name, fault), strike)
				l.link.Heal(t)
				s.recovers(t, tr)
			}
		}
		for fault, strike := range map[string]func(){"silent": func() { s.mirrorLink.Hang(t) }, "cut": s.mirrorLink.Cut} {
			strike()
			s.behind(t)
			t.Logf("the link of sink to broker, %s: the read models stand still", fault)
			s.mirrorLink.Heal(t)
			s.caughtUp(t, tr)
		}
		s.searchGone(t, tr)
	}
	finish()
	tr.stop(t)
	s.verdict(t, s.front)
}

const (
	latency = 200 * time.Millisecond
	// queryPatience is how long a query may take on a machine at work; the gateway gives the search store 5 s.
	queryPatience = 15 * time.Second
)

// slow demands that commands go on, and are as slow as the link is.
func (s *stage) slow(t *testing.T, tr *traffic, link string, strike func()) {
	t.Helper()
	strike()
	tr.goesOn(t, clientCount) // those on their way
	tr.slowest.Store(0)
	tr.goesOn(t, 2*clientCount)
	slowest := time.Duration(tr.slowest.Load())
	t.Logf("the link of %s, slow: the slowest of %d commands took %v", link, 2*clientCount, slowest.Round(time.Millisecond))
	if slowest < latency {
		t.Errorf("no command took as long as the link of %s: it was not hit", link)
	}
}

// silence demands that nothing is acknowledged once the clients have noticed.
func (s *stage) silence(t *testing.T, tr *traffic, what string, strike func()) {
	t.Helper()
	missed := tr.missed.Load()
	strike()
	programtest.Eventually(t, what+": the clients notice", func() bool { return tr.missed.Load() >= missed+clientCount })
	acked := tr.acked.Load()
	missed = tr.missed.Load()
	programtest.Eventually(t, what+": the clients miss it again", func() bool { return tr.missed.Load() >= missed+clientCount/2 })
	if more := tr.acked.Load() - acked; more > 0 {
		t.Errorf("%s: %d commands were acknowledged over a link that carries nothing", what, more)
	}
	t.Logf("%s: nothing acknowledged, %d answers missed", what, tr.missed.Load())
}

// caughtUp waits until a write is in the read models.
func (s *stage) caughtUp(t *testing.T, tr *traffic) {
	t.Helper()
	tr.goesOn(t, 1)
	position := ""
	programtest.Eventually(t, "a write is seen in the read models", func() bool {
		if position == "" {
			r := s.sent.issue()
			a := book(t.Context(), s.front.API(), r)
			if position, _ = a.body["position"].(string); position == "" {
				return false
			}
			s.sent.ack(r)
		}
		a := ask(t.Context(), http.MethodGet, s.front.API()+"/api/queries/products?limit=1&wait=1s&position="+url.QueryEscape(position), "")
		return a.status == http.StatusOK
	})
}

// searchGone: commands go on, queries say that they cannot be answered.
func (s *stage) searchGone(t *testing.T, tr *traffic) {
	t.Helper()
	for _, fault := range []struct {
		name   string
		strike func()
		status int
	}{
		{"slow", func() { s.searchLink.Slow(t, latency, latency/4) }, http.StatusOK},
		{"silent", func() { s.searchLink.Hang(t) }, http.StatusServiceUnavailable},
		{"cut", s.searchLink.Cut, http.StatusServiceUnavailable},
	} {
		fault.strike()
		began := time.Now()
		answer, took := make(chan reply, 1), time.Duration(0)
		go func() {
			a := ask(t.Context(), http.MethodGet, s.front.API()+"/api/queries/products?limit=1", "")
			took = time.Since(began)
			answer <- a
		}()
		tr.goesOn(t, 10)
		if fault.name == "silent" {
			s.registryGone(t, tr) // meanwhile
		}
		// A sink may wait for the store for 30 s; who asks a query is not left to wait for so long.
		a := <-answer
		if a.status != fault.status || fault.name == "slow" && took < latency || took > queryPatience {
			t.Errorf("the link to the search store, %s: a query is answered %d after %v: %s", fault.name, a.status, took, a.text)
		}
		t.Logf("the link to the search store, %s: a query is answered %d after %v", fault.name, a.status, took.Round(time.Millisecond))
		s.searchLink.Heal(t)
		s.caughtUp(t, tr)
	}
}

// registryGone: instances that run know the schemas; a start says what is missing.
func (s *stage) registryGone(t *testing.T, tr *traffic) {
	t.Helper()
	late := s.guest(t, "late")
	s.registryLink.Cut()
	late.Begin(t)
	if code := late.Exit(t); code == 0 || !strings.Contains(late.Log.String(), "schema registry gave no answer: "+s.registry) {
		t.Errorf("a start without its registry ended with %d:\n%s", code, programtest.Tail(late.Log.String()))
	}
	tr.goesOn(t, 10)
	if a := ask(t.Context(), http.MethodGet, s.front.API()+"/readyz", ""); a.status != http.StatusOK {
		t.Errorf("without the registry the gateway is not ready: %d %s", a.status, a.text)
	}
	s.registryLink.Heal(t)
	run(t, late)
	s.shared(t, s.back, late)
	settle(t, late)
	s.shared(t, s.back)
	tr.goesOn(t, 10)
}
