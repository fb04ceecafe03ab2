package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"time"

	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/data"
)

// loaded is what one load took.
type loaded struct{ seconds, rss, peak, idle float64 }

// benchLoad loads the shipped months into a new system, as a newcomer would.
func benchLoad(ctx context.Context, r *runner) (report, error) {
	var all []loaded
	for i := range pick(r, 3, 1) {
		r.begin("run %d", i+1)
		one, err := r.loadOnce(ctx)
		if err != nil {
			return report{}, err
		}
		r.say("  %.2f s, then %.0f MiB (%.0f at most), %.1f %% of a core when idle", one.seconds, one.rss, one.peak, one.idle)
		all = append(all, one)
	}
	of := func(f func(loaded) float64) float64 {
		var values []float64
		for _, one := range all {
			values = append(values, f(one))
		}
		return median(values)
	}
	return report{
		claims: []claim{
			atMost("`nexus load online-retail`, six months, until the read models have it all", "%.1f s", 8, of(func(l loaded) float64 { return l.seconds })),
			atMost("memory of `nexus dev` afterwards (VmRSS)", "%.0f MB", 400, of(func(l loaded) float64 { return l.rss * (1 << 20) / 1e6 })),
			atMost("processor time of `nexus dev` when idle", "%.1f %% of a core", 3, of(func(l loaded) float64 { return l.idle })),
			figure("peak memory of `nexus dev` (VmHWM)", "%.0f MB", of(func(l loaded) float64 { return l.peak * (1 << 20) / 1e6 })),
		},
		notes: []string{fmt.Sprintf("A fresh data folder each time, broker, registry and search store embedded, the loader in a process of its own on the same cores. "+
			"Every run's figures equal the oracle's, key for key. Medians of %d runs.", len(all))},
	}, nil
}

func (r *runner) loadOnce(ctx context.Context) (one loaded, err error) {
	folder, err := r.temp("data")
	if err != nil {
		return one, err
	}
	d, err := r.startDev(ctx, folder)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	args := []string{"load", "online-retail", "--server", d.url}
	if r.short {
		args = append(args, filepath.Join(r.root, "shop", "data", shortMonth+".csv.gz"))
	}
	began := time.Now()
	if err := r.nexus(ctx, args...); err != nil {
		return one, err
	}
	one.seconds = time.Since(began).Seconds()
	if err := r.verifyFigures(ctx, d.url); err != nil {
		return one, err
	}
	idle := pick(r, 20*time.Second, time.Second)
	if one.idle, err = idlePercent(ctx, d.pid(), idle); err != nil {
		return one, err
	}
	rss, err := statusBytes(d.pid(), "VmRSS")
	if err != nil {
		return one, err
	}
	peak, err := statusBytes(d.pid(), "VmHWM")
	one.rss, one.peak = rss/(1<<20), peak/(1<<20)
	return one, err
}

// shortMonth is what the short form loads instead of six months.
const shortMonth = "2010-12"

// verifyFigures compares what the read models say with the shipped oracle; after
// one month only that month's sales have a figure there.
func (r *runner) verifyFigures(ctx context.Context, server string) error {
	figures, err := shop.ReadFigures(ctx, server)
	if err != nil {
		return err
	}
	text, err := json.Marshal(figures)
	if err != nil {
		return err
	}
	var got, want map[string]any
	if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal(data.Figures, &want)); err != nil {
		return err
	}
	if r.short {
		got = map[string]any{shortMonth: got["sales_by_month"].(map[string]any)[shortMonth]}
		want = map[string]any{shortMonth: want["sales_by_month"].(map[string]any)[shortMonth]}
	}
	for key, value := range want {
		if !equalFigures(got[key], value) {
			return fmt.Errorf("the figure %s is %v, the oracle says %v", key, got[key], value)
		}
	}
	return nil
}

// equalFigures compares numbers and strings of money as such.
func equalFigures(a, b any) bool {
	switch b := b.(type) {
	case map[string]any:
		m, ok := a.(map[string]any)
		if !ok || len(m) != len(b) {
			return false
		}
		for key := range b {
			if !equalFigures(m[key], b[key]) {
				return false
			}
		}
		return true
	case []any:
		l, ok := a.([]any)
		if !ok || len(l) != len(b) {
			return false
		}
		for i := range b {
			if !equalFigures(l[i], b[i]) {
				return false
			}
		}
		return true
	case float64, string:
		return numeric(a) == numeric(b)
	}
	return reflect.DeepEqual(a, b)
}

// numeric makes 1.5, "1.5" and "1.50" the same.
func numeric(v any) string {
	text := fmt.Sprint(v)
	var f float64
	if n, err := fmt.Sscanf(text+"\n", "%g\n", &f); err == nil && n == 1 {
		return fmt.Sprintf("%.3f", f)
	}
	return text
}

// idlePercent is the share of a core that a process uses while nobody asks.
func idlePercent(ctx context.Context, pid int, over time.Duration) (float64, error) {
	if !sleepUntil(ctx, time.Now().Add(over/4)) { // what the load set going settles first
		return 0, ctx.Err()
	}
	began := time.Now()
	before, err := cpuOf(pid)
	if err != nil {
		return 0, err
	}
	if !sleepUntil(ctx, began.Add(over)) {
		return 0, ctx.Err()
	}
	after, err := cpuOf(pid)
	return 100 * (after - before).Seconds() / time.Since(began).Seconds(), err
}
