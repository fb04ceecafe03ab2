// Package linktest puts a proxy (toxiproxy, in this process) between a client and a server, so that a test can make the
// link between them slow, cut it, and mend it.
package linktest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Link is a link that can be made bad. Its methods may be called by several goroutines of a test, one after the other.
type Link struct {
	Addr  string // host:port where clients connect
	proxy *toxiproxy.Proxy
}

// Open begins to carry connections from listen (host:port, port 0 for a free one) to upstream, until the test ends.
func Open(t testing.TB, listen, upstream string) *Link {
	t.Helper()
	l, err := New(listen, upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Cut)
	return l
}

// New is Open for a link that outlives a test: it carries until it is Cut.
func New(listen, upstream string) (*Link, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &Link{proxy: toxiproxy.NewProxy(server, upstream, listen, upstream)}
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("a proxy to %s cannot listen on %s: %w", upstream, listen, err)
	}
	l.Addr = l.proxy.Listen
	return l, nil
}

// Slow delays what goes either way by latency, give or take jitter.
func (l *Link) Slow(t testing.TB, latency, jitter time.Duration) {
	t.Helper()
	l.toxic(t, "latency", fmt.Sprintf(`{"latency": %d, "jitter": %d}`, latency.Milliseconds(), jitter.Milliseconds()))
}

// Hang lets nothing through any more, without telling anybody, as when packets are lost: connections stay open, and new
// ones are accepted. Connections that lived through it are closed by Heal.
func (l *Link) Hang(t testing.TB) {
	t.Helper()
	l.toxic(t, "timeout", `{"timeout": 0}`)
}

// toxic puts one toxic, in place of those there are, on both directions.
func (l *Link) toxic(t testing.TB, kind, attributes string) {
	t.Helper()
	l.proxy.Toxics.ResetToxics(t.Context())
	for _, direction := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": %s}`, kind, direction, attributes)
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatalf("making the link to %s bad (%s): %v", l.proxy.Upstream, toxic, err)
		}
	}
}

// Cut closes all connections and refuses new ones, as when the server's process has died.
func (l *Link) Cut() { l.proxy.Stop() }

// Heal undoes whatever was done to the link.
func (l *Link) Heal(t testing.TB) {
	t.Helper()
	l.proxy.Toxics.ResetToxics(t.Context())
	if err := l.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		t.Fatalf("the link to %s cannot listen on %s again: %v", l.proxy.Upstream, l.Addr, err)
	}
}
