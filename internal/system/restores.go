package system

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/processors"
)

// restore is one thing that is filled from the log after a start or a move.
type restore struct {
	of          string // "shop.order", "states": a group or a view
	ready       bool
	done, total int64 // offsets
}

func tableOf(s processors.Status) restore {
	return restore{of: s.Group, ready: s.Ready, done: s.Restored, total: s.RestoreTotal}
}

func tablesOf(ps *processors.Processors) []restore {
	var all []restore
	for _, s := range ps.Status() {
		all = append(all, tableOf(s))
	}
	return all
}

func viewOf(name string, v readyView) restore {
	p := v.Progress()
	return restore{of: name, ready: v.Ready(), done: p.Done, total: p.Total}
}

// restores estimates when what is being restored will be done: in the log, in
// /readyz, and as metrics. It is safe for concurrent use.
type restores struct {
	sources []func() []restore
	left    *prometheus.Desc
	now     func() time.Time

	mu    sync.Mutex
	began map[string]sample
}

// sample is where a restore stood when it was first seen.
type sample struct {
	at   time.Time
	done int64
}

func newRestores() *restores {
	return &restores{
		began: map[string]sample{}, now: clock.System{}.Now,
		left: prometheus.NewDesc("nexus_restore_records_left", "Records that a table or view still reads before this instance is ready.", []string{"of"}, nil),
	}
}

func (r *restores) add(source func() []restore) { r.sources = append(r.sources, source) }

func (r *restores) all() []restore {
	var all []restore
	for _, source := range r.sources {
		all = append(all, source()...)
	}
	return all
}

// rate is in records a second since the restore was first seen; 0: not known yet.
func (r *restores) rate(of restore) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	first, seen := r.began[of.of]
	if !seen || of.done < first.done { // another restore
		r.began[of.of] = sample{now, of.done}
		return 0
	}
	elapsed := now.Sub(first.at).Seconds()
	if elapsed < 0.1 {
		return 0
	}
	return float64(of.done-first.done) / elapsed
}

func (r *restores) forget(of string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.began, of)
}

// estimate says how much is left, and for how long.
func (r *restores) estimate(of restore) string {
	left := of.total - of.done
	if left <= 0 {
		return ""
	}
	text := fmt.Sprintf(", %d of %d records left", left, of.total)
	if rate := r.rate(of); rate > 0 {
		text += fmt.Sprintf(", %.0f/s, about %s", rate, duration(left, rate))
	}
	return text
}

func duration(left int64, rate float64) time.Duration {
	return time.Duration(float64(left) / rate * float64(time.Second)).Round(100 * time.Millisecond)
}

const reportEvery = 3 * time.Second

// report writes down what is being restored, until ctx ends. Normal running is
// silent.
func (r *restores) report(ctx context.Context, logger *slog.Logger) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		for _, of := range r.all() {
			left := of.total - of.done
			if of.ready || left <= 0 {
				r.forget(of.of)
				continue
			}
			attrs := []any{"of", of.of, "records_left", left, "records", of.total}
			if rate := r.rate(of); rate > 0 {
				attrs = append(attrs, "per_second", int64(rate), "time_left", duration(left, rate))
			}
			logger.Info("restoring from the log", attrs...)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Describe implements prometheus.Collector.
func (r *restores) Describe(descs chan<- *prometheus.Desc) { descs <- r.left }

// Collect implements prometheus.Collector.
func (r *restores) Collect(metrics chan<- prometheus.Metric) {
	for _, of := range r.all() {
		left := max(0, of.total-of.done)
		if of.ready {
			left = 0
		}
		metrics <- prometheus.MustNewConstMetric(r.left, prometheus.GaugeValue, float64(left), of.of)
	}
}
