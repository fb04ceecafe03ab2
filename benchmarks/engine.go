package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var engineKinds = []string{kindEngine, kindSarama, kindCopy, kindFold}

// benchEngine drains commands that wait in their topic.
func benchEngine(ctx context.Context, r *runner) (report, error) {
	n, keys := pick(r, 1_000_000, 3_000), pick(r, 100_000, 300)
	rates := map[string][]float64{}
	micros := map[string][]float64{}
	err := alternate(engineKinds, pick(r, r.pairs, 1), func(kind string, pair int) error {
		r.begin("pair %d, %s", pair+1, kind)
		from, to, err := r.drain(ctx, kind, n, keys)
		if err != nil {
			return err
		}
		r.say("  %.0f commands/s, %.1f µs of its processor time each, %.0f MiB at most", from.rate(to), from.microsPerCommand(to), to.PeakBytes/(1<<20))
		rates[kind] = append(rates[kind], from.rate(to))
		micros[kind] = append(micros[kind], from.microsPerCommand(to))
		return nil
	})
	if err != nil {
		return report{}, err
	}
	against := func(kind string) float64 { return median(ratios(rates[kindEngine], rates[kind])) }
	rep := report{claims: []claim{
		atLeast("engine against plain goka on sarama, commands/s", "%.2f ×", 2.5, against(kindSarama)),
		atLeast("engine against a bare franz-go transactional loop with the same decide, evolve and Avro", "%.2f ×", 0.5, against(kindFold)),
		figure("engine against the same loop when it only copies bytes", "%.2f ×", against(kindCopy)),
	}}
	for _, kind := range engineKinds {
		rep.claims = append(rep.claims, figure(kind, "%.0f commands/s, %.1f µs", median(rates[kind]), median(micros[kind])))
	}
	rep.notes = []string{fmt.Sprintf("%d commands of %d keys wait in 8 partitions of a fresh broker (%s, in a process of its own on the same cores). "+
		"Commands and events have %d bytes beside their metadata. Medians of %d alternating runs; a ratio is the median of the ratios of each pair. "+
		"Every run: one event per command, versions 1..n per key.", n, keys, r.stack, eventBytes, len(rates[kindEngine]))}
	return rep, nil
}

// drain runs one subject over n waiting commands and verifies what it made.
func (r *runner) drain(ctx context.Context, kind string, n, keys int) (from, to snapshot, err error) {
	s, err := r.openStack(ctx, r.stack, benchTopology(false), nil)
	if err != nil {
		return from, to, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.produce(ctx, commands{n: n, key: roundRobin("sku", keys)}); err != nil {
		return from, to, err
	}
	c, err := r.startSubjectProcess(ctx, s, kind, false)
	if err != nil {
		return from, to, err
	}
	from, err = c.until(0)
	if err == nil {
		to, err = c.until(n)
	}
	if err = errors.Join(err, c.stop()); err != nil {
		return from, to, err
	}
	return from, to, s.verify(ctx, kind, n)
}

func (s *stack) verify(ctx context.Context, kind string, n int) error {
	switch kind {
	case kindCopy:
		return s.verifyCopies(ctx, n)
	case kindFold:
		return s.verifyEvents(ctx, n)
	}
	if err := s.verifyEvents(ctx, n); err != nil {
		return err
	}
	return s.verifyOutcomes(ctx, n)
}

// memoryFor is a little more than a command is remembered for.
const memoryFor = 12 * time.Minute

// benchCPU measures the processor's time per command while its command memory
// is full: the commands before the measured ones fill it, and log time goes on
// at the same pace, so that as much is forgotten as is added.
func benchCPU(ctx context.Context, r *runner) (report, error) {
	n, keys := pick(r, 1_000_000, 40_000), pick(r, 100_000, 1_000) // many transactions, each of up to 16,000
	var micros, peaks []float64
	for i := range pick(r, r.pairs, 1) {
		r.begin("run %d", i+1)
		from, to, err := r.fullMemory(ctx, n, keys)
		if err != nil {
			return report{}, err
		}
		micros = append(micros, from.microsPerCommand(to))
		peaks = append(peaks, to.PeakBytes/(1<<20))
		r.say("  %.2f µs per command, %.0f commands/s, %.0f MiB at most", from.microsPerCommand(to), from.rate(to), to.PeakBytes/(1<<20))
	}
	return report{
		claims: []claim{
			atMost("processor time per command, command memory full", "%.1f µs", 12, median(micros)),
			figure("peak memory of that process", "%.0f MiB", median(peaks)),
		},
		notes: []string{fmt.Sprintf("User and system time (getrusage) of a process with nothing but the aggregate processor, over %d commands that wait in the topic of kfake, "+
			"after %d that fill the command memory: its %v of log time hold as many at any moment. %d keys, real decide, evolve and Avro, on-disk store. Medians of %d runs, each verified.",
			n, n, memoryFor, keys, len(micros))},
	}, nil
}

func (r *runner) fullMemory(ctx context.Context, n, keys int) (from, to snapshot, err error) {
	s, err := r.openStack(ctx, "kfake", benchTopology(false), map[string]string{"message.timestamp.type": "CreateTime"})
	if err != nil {
		return from, to, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	began := time.Now().Add(-2 * memoryFor)
	step := memoryFor / time.Duration(n)
	at := func(i int) time.Time { return began.Add(time.Duration(i) * step) }
	if err := s.produce(ctx, commands{n: 2 * n, key: roundRobin("sku", keys), at: at}); err != nil {
		return from, to, err
	}
	c, err := r.startSubjectProcess(ctx, s, kindEngine, false)
	if err != nil {
		return from, to, err
	}
	from, err = c.until(n)
	if err == nil {
		to, err = c.until(2 * n)
	}
	if err = errors.Join(err, c.stop()); err != nil {
		return from, to, err
	}
	return from, to, s.verify(ctx, kindEngine, 2*n)
}
