package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/nexusblueprint/nexus/policies"
)

// api judges whether the API answers, is ready, and agrees on the time.
func (d *doctor) api(ctx context.Context) (answers bool) {
	const name = "API"
	ctx, cancel := seconds(ctx, 5)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(d.at.server, "/")+"/readyz", nil)
	if err != nil {
		d.fail(name, "name an address such as http://127.0.0.1:8080 with --server", "%v", err)
		return false
	}
	asked := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.fail(name, "start the system with nexus dev, or name its address with --server", "nothing answers at %s: %v", d.at.server, err)
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	middle := asked.Add(time.Since(asked) / 2)
	var ready struct {
		Ready  *bool
		Checks []struct {
			Name, Detail string
			OK           bool
		}
		Governance *struct { // an earlier release says nothing of it
			Violations []policies.Violation
			NotJudged  []string
			Gaps       []policies.Gap
		}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || json.Unmarshal(body, &ready) != nil || ready.Ready == nil {
		d.fail(name, "name the address of a running system with --server", "%s answers %s, but not as a system of this kind does", d.at.server, resp.Status)
		return false
	}
	if *ready.Ready {
		d.ok(name, "%s is ready", d.at.server)
	} else {
		var not []string
		for _, c := range ready.Checks {
			if !c.OK {
				not = append(not, c.Name+": "+c.Detail)
			}
		}
		d.fail(name, "wait: it may be starting or stopping; its log says more if this stays", "%s answers and is not ready: %s", d.at.server, strings.Join(not, "; "))
	}
	if g := ready.Governance; g != nil {
		d.governance(g.Violations, g.NotJudged)
		for _, gap := range g.Gaps {
			d.warn("governance", "nexus verify --config asks again", "%s", gap)
		}
	}
	d.clock(resp.Header.Get("Date"), middle)
	return true
}

// governance repeats what the policies said at the server's start.
func (d *doctor) governance(violations []policies.Violation, notJudged []string) {
	const name = "governance"
	if len(violations) == 0 {
		d.ok(name, "at the start no policy was violated; left to nexus verify: %s", strings.Join(notJudged, ", "))
		return
	}
	all := make([]string, len(violations))
	for i, v := range violations {
		all[i] = v.String()
	}
	d.warn(name, "mend them, then start with governance: enforce", "the start went on with %d violations of the policies:\n%s", len(all), strings.Join(all, "\n"))
}

// Clocks may differ by so much. Ids that carry their time are refused as stale
// when they come in nine minutes late.
const (
	skewWarns = 5 * time.Second
	skewFails = 5 * time.Minute
)

// clock compares this machine's time with the server's, which has whole seconds.
func (d *doctor) clock(date string, here time.Time) {
	const name = "clock"
	there, err := http.ParseTime(date)
	if err != nil {
		d.warn(name, "compare the clocks by hand", "the server does not say what time it is")
		return
	}
	skew := here.Sub(there.Add(time.Second / 2)).Round(time.Second)
	const advice = "let both machines follow a time server (NTP): commands are refused as stale by the time in their ids"
	switch {
	case skew.Abs() >= skewFails:
		d.fail(name, advice, "this machine is %s %s the server", skew.Abs(), aheadOf(skew))
	case skew.Abs() >= skewWarns:
		d.warn(name, advice, "this machine is %s %s the server", skew.Abs(), aheadOf(skew))
	default:
		d.ok(name, "as the server's, to %s", max(skew.Abs(), time.Second))
	}
}

func aheadOf(skew time.Duration) string {
	if skew > 0 {
		return "ahead of"
	}
	return "behind"
}

// ports judges, where nothing runs, whether nexus dev could take its addresses.
func (d *doctor) ports(ctx context.Context) {
	addresses := []struct{ flag, addr string }{{"--listen", "127.0.0.1:8080"}, {"--bus-listen", "127.0.0.1:9092"}, {"--registry-listen", "127.0.0.1:8081"}}
	if u, err := url.Parse(d.at.server); err == nil && loopback(u.Hostname()) && u.Port() != "" {
		addresses[0].addr = u.Host
	}
	var taken, free []string
	for _, a := range addresses {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", a.addr)
		switch {
		case err == nil:
			_ = l.Close()
			free = append(free, a.addr)
		case errors.Is(err, syscall.EADDRINUSE):
			taken = append(taken, fmt.Sprintf("%s (%s)", a.addr, a.flag))
		default:
			taken = append(taken, fmt.Sprintf("%s (%s, %v)", a.addr, a.flag, err))
		}
	}
	if len(taken) > 0 {
		d.fail("ports", "stop what uses them, or start nexus dev with other addresses; port 0 takes a free one", "in use by another program: %s", strings.Join(taken, ", "))
		return
	}
	d.ok("ports", "%s are free", strings.Join(free, ", "))
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
