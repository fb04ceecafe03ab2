package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// runner carries what all benchmarks share.
type runner struct {
	short   bool
	pairs   int
	stack   string // broker of the present run: kfake or kafka
	profile string // folder of CPU profiles; "" takes none
	streams string // further settings of the Kafka Streams peer
	cache   string
	root    string // of the module
	dir     string // for anything temporary
	log     io.Writer
	machine machine

	lines []string // what the present benchmark said of its runs
	temps int
}

// tell prints for whoever watches; what cannot be printed is not missed.
func tell(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// pick returns the size of the real benchmark, or that of the short form.
func pick[T any](r *runner, long, short T) T {
	if r.short {
		return short
	}
	return long
}

// say tells of a run, now and in the kept section.
func (r *runner) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.lines = append(r.lines, line)
	tell(r.log, "  %s\n", line)
}

// begin tells of a run with the machine's load before it.
func (r *runner) begin(format string, args ...any) {
	r.say("%s (load average before: %s)", fmt.Sprintf(format, args...), loadAverage())
}

// progress is for who waits at the terminal alone.
func (r *runner) progress(format string, args ...any) {
	tell(r.log, "  … "+format+"\n", args...)
}

// temp is a fresh folder.
func (r *runner) temp(name string) (string, error) {
	r.temps++
	dir := filepath.Join(r.dir, fmt.Sprintf("%s-%d", name, r.temps))
	return dir, os.MkdirAll(dir, 0o700)
}

// profileOf names the file of the next profile of a process, "" for none.
func (r *runner) profileOf(name string) string {
	if r.profile == "" {
		return ""
	}
	r.temps++
	return filepath.Join(r.profile, fmt.Sprintf("%s-%d.pprof", strings.ReplaceAll(name, " ", "-"), r.temps))
}

// poll calls f until it answers true.
func poll(ctx context.Context, every time.Duration, f func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// alternate runs each of the kinds once per pair, forwards and backwards in
// turn, so that what changes on the machine meanwhile falls on all of them.
func alternate(kinds []string, pairs int, f func(kind string, pair int) error) error {
	for pair := range pairs {
		order := slices.Clone(kinds)
		if pair%2 == 1 {
			slices.Reverse(order)
		}
		for _, k := range order {
			if err := f(k, pair); err != nil {
				return fmt.Errorf("%s, pair %d: %w", k, pair+1, err)
			}
		}
	}
	return nil
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile is the value that a share of the values does not exceed; the median
// of an even number of values is the mean of the middle two.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if share == 0.5 && len(s)%2 == 0 {
		return (s[len(s)/2-1] + s[len(s)/2]) / 2
	}
	return s[min(len(s)-1, int(share*float64(len(s))))]
}

// ratios divides run by run.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

// report is what a benchmark found.
type report struct {
	claims []claim
	notes  []string // conditions and caveats that the figures need
}

// claim is a figure with its target.
type claim struct {
	what, target, value string
	met                 bool // meaningless without a target
}

func atLeast(what, format string, target, value float64) claim {
	return claim{what, "≥ " + fmt.Sprintf(format, target), fmt.Sprintf(format, value), value >= target}
}

func atMost(what, format string, target, value float64) claim {
	return claim{what, "≤ " + fmt.Sprintf(format, target), fmt.Sprintf(format, value), value <= target}
}

// figure is a claim without a target.
func figure(what, format string, value ...any) claim {
	return claim{what: what, value: fmt.Sprintf(format, value...)}
}

func (c claim) verdict() string {
	switch {
	case c.target == "":
		return ""
	case c.met:
		return "met"
	}
	return "**missed**"
}

func (rep report) text() string {
	var b strings.Builder
	for _, c := range rep.claims {
		fmt.Fprintf(&b, "  %-75s %16s  %-10s %s\n", c.what, c.value, c.target, strings.Trim(c.verdict(), "*"))
	}
	return b.String()
}
