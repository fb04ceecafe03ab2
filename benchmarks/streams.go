package main

import (
	"context"
	"errors"
	"fmt"
)

var streamsKinds = []string{kindEngine, kindExactly, kindAtLeast}

// drained is where a contender stood when it was ready, when it was warm, and
// at the end.
type drained struct{ ready, warm, end snapshot }

// benchStreams drains commands that wait in their topic.
func benchStreams(ctx context.Context, r *runner) (report, error) {
	n, keys := pick(r, 1_000_000, 3_000), pick(r, 100_000, 300)
	all := map[string][]drained{}
	kinds := streamsKinds
	if r.streams != "" { // in search of its best settings
		kinds = []string{kindExactly}
	}
	err := alternate(kinds, pick(r, r.pairs, 1), func(kind string, pair int) error {
		r.begin("pair %d, %s", pair+1, kind)
		d, err := r.drainContender(ctx, kind, n, keys)
		if err != nil {
			return err
		}
		r.say("  %.0f commands/s, %.1f µs of its processor time each (warm: %.0f, %.1f µs), %.0f MiB at most",
			d.ready.rate(d.end), d.ready.microsPerCommand(d.end), d.warm.rate(d.end), d.warm.microsPerCommand(d.end), d.end.PeakBytes/(1<<20))
		all[kind] = append(all[kind], d)
		return nil
	})
	if err != nil || r.streams != "" {
		return report{}, err
	}
	return report{claims: streamsClaims(all), notes: []string{
		fmt.Sprintf("%d commands of %d keys wait in 8 partitions of a fresh Kafka (in a process of its own on the same cores). "+
			"Commands and events have %d bytes beside their metadata. Medians of %d alternating runs; a ratio is the median of the ratios of each pair. "+
			"Every run: one event per command, versions 1..n per key, hash chain and event ids as computed here, one outcome per command, table = last event.",
			n, keys, eventBytes, len(all[kindEngine])),
		"Time and processor time (user and system, /proc, so with compiler and collector of the JVM) run from the moment a process handles records until its last offset is committed; " +
			"its start is not included, its warm-up is. Warm: the same without the first fifth of the commands.",
	}}, nil
}

func streamsClaims(all map[string][]drained) (claims []claim) {
	of := func(kind string, f func(drained) float64) (values []float64) {
		for _, d := range all[kind] {
			values = append(values, f(d))
		}
		return values
	}
	rate := func(d drained) float64 { return d.ready.rate(d.end) }
	warmRate := func(d drained) float64 { return d.warm.rate(d.end) }
	micros := func(d drained) float64 { return d.ready.microsPerCommand(d.end) }
	warmMicros := func(d drained) float64 { return d.warm.microsPerCommand(d.end) }
	against := func(kind string, f func(drained) float64) float64 {
		return median(ratios(of(kindEngine, f), of(kind, f)))
	}
	claims = []claim{
		atLeast("engine against Kafka Streams exactly_once_v2, commands/s", "%.2f ×", 2, against(kindExactly, rate)),
		atMost("engine against the same, processor time per command", "%.2f ×", 1.0/3, against(kindExactly, micros)),
		figure("both, warm: commands/s, processor time", "%.2f ×, %.2f ×", against(kindExactly, warmRate), against(kindExactly, warmMicros)),
		figure("engine against Kafka Streams at_least_once: commands/s, processor time", "%.2f ×, %.2f ×", against(kindAtLeast, rate), against(kindAtLeast, micros)),
	}
	for _, kind := range streamsKinds {
		// Microseconds per command are seconds per million commands.
		claims = append(claims, figure(kind+": commands/s, CPU-seconds per million (warm)", "%.0f, %.1f (%.0f, %.1f)",
			median(of(kind, rate)), median(of(kind, micros)), median(of(kind, warmRate)), median(of(kind, warmMicros))))
	}
	return claims
}

// drainContender runs one of them over n waiting commands and verifies what it
// made.
func (r *runner) drainContender(ctx context.Context, kind string, n, keys int) (d drained, err error) {
	s, err := r.openStack(ctx, "kafka", benchTopology(false), nil)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.produce(ctx, commands{n: n, key: roundRobin("sku", keys)}); err != nil {
		return d, err
	}
	dir, err := r.temp("contender")
	if err != nil {
		return d, err
	}
	c, err := r.startContender(ctx, s, kind, "", dir, nil)
	if err != nil {
		return d, err
	}
	for _, at := range []struct {
		n    int
		into *snapshot
	}{{0, &d.ready}, {n / 5, &d.warm}, {n, &d.end}} {
		if *at.into, err = c.reach(ctx, at.n); err != nil {
			c.kill()
			return d, err
		}
	}
	if d.warm.Records >= int64(n) { // the short form's commands are one commit
		d.warm = d.ready
	}
	if err := c.stop(); err != nil {
		return d, err
	}
	return d, s.verifyContender(ctx, kind, n)
}
