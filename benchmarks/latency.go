package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// benchLatency measures the way of a command at 1,000 a second: from when it
// was due to its event before a read-committed reader.
func benchLatency(ctx context.Context, r *runner) (report, error) {
	intervals := pick(r, []string{"5", "10", "20", "50", "100"}, []string{"10"})
	best, bestAt := "", 0.0
	for _, ms := range intervals {
		r.begin("sweep, Kafka Streams, commit.interval.ms=%s", ms)
		d, err := r.latencyOf(ctx, kindExactly, ms)
		if err != nil {
			return report{}, err
		}
		r.say("  p50 %.1f ms, p99 %.1f ms", median(d), quantile(d, 0.99))
		if best == "" || median(d) < bestAt {
			best, bestAt = ms, median(d)
		}
	}
	p50, p99 := map[string][]float64{}, map[string][]float64{}
	kinds := []string{kindEngine, kindExactly}
	err := alternate(kinds, pick(r, r.pairs, 1), func(kind string, pair int) error {
		r.begin("pair %d, %s", pair+1, kind)
		d, err := r.latencyOf(ctx, kind, best)
		if err != nil {
			return err
		}
		r.say("  p50 %.1f ms, p99 %.1f ms, worst %.1f ms", median(d), quantile(d, 0.99), quantile(d, 1))
		p50[kind], p99[kind] = append(p50[kind], median(d)), append(p99[kind], quantile(d, 0.99))
		return nil
	})
	if err != nil {
		return report{}, err
	}
	rep := report{claims: []claim{
		atMost("engine against Kafka Streams exactly_once_v2 at its best setting, p50", "%.2f ×", 1.0/3, median(ratios(p50[kindEngine], p50[kindExactly]))),
		figure("the same, p99", "%.2f ×", median(ratios(p99[kindEngine], p99[kindExactly]))),
	}}
	for _, kind := range kinds {
		rep.claims = append(rep.claims, figure(kind+": p50, p99", "%.1f ms, %.1f ms", median(p50[kind]), median(p99[kind])))
	}
	rep.notes = []string{fmt.Sprintf("%d commands/s, an open loop over %v after %d commands at full speed and %v at that rate, which warm the process up. From when a command was due to its event before a read-committed reader; "+
		"producer and reader are one process on the same cores, without linger. Kafka as in `streams`. Kafka Streams has commit.interval.ms=%s, the best p50 of %v. Medians of %d alternating runs, each verified as in `streams`.",
		latencyRate, pick(r, latencyTime, latencyShort), pick(r, latencyWarm, latencyWarmShort), pick(r, latencySettle, latencyShort/2), best, intervals, len(p50[kindEngine]))}
	return rep, nil
}

const (
	latencyRate                   = 1_000 // commands a second
	latencyTime, latencyShort     = 20 * time.Second, 2 * time.Second
	latencySettle                 = 5 * time.Second
	latencyWarm, latencyWarmShort = 200_000, 2_000 // commands at full speed
)

// latencyOf returns the milliseconds of each command.
func (r *runner) latencyOf(ctx context.Context, kind, commitMillis string) (millis []float64, err error) {
	s, err := r.openStack(ctx, "kafka", benchTopology(false), nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	dir, err := r.temp("contender")
	if err != nil {
		return nil, err
	}
	c, err := r.startContender(ctx, s, kind, "", dir, map[string]string{"commit.interval.ms": commitMillis, "producer.linger.ms": "0"})
	if err != nil {
		return nil, err
	}
	defer c.kill()
	warm, keys := pick(r, latencyWarm, latencyWarmShort), roundRobin("sku", pick(r, 100_000, 1_000))
	if err := s.produce(ctx, commands{n: warm, key: keys}); err != nil {
		return nil, err
	}
	if _, err := c.reach(ctx, warm); err != nil {
		return nil, err
	}
	settle := pick(r, latencySettle, latencyShort/2)
	start := time.Now().Add(100 * time.Millisecond)
	n := int((settle + pick(r, latencyTime, latencyShort)).Seconds() * latencyRate)
	l := &commandLoad{stack: s, first: warm, key: keys, schedule: schedule{start: start, every: time.Second / latencyRate, n: n, workers: 1}}
	seen := delays{from: start.Add(settle)}
	err = l.through(ctx, func(i int, _ int32) { seen.add(l.due(i)) }, func(ctx context.Context) error { return l.drive(ctx) })
	if err != nil {
		return nil, err
	}
	if err := c.stop(); err != nil {
		return nil, err
	}
	return seen.all, s.verifyContender(ctx, kind, warm+n)
}

// commandLoad is an open loop of commands, and the reader that sees what becomes
// of them.
type commandLoad struct {
	*stack
	schedule
	first int // number of the first command
	key   func(int) string

	mu   sync.Mutex
	sent int
	seen int
	more chan struct{} // something was seen
}

// drive logs each command when it is due.
func (l *commandLoad) drive(ctx context.Context) error {
	cl, err := kgo.NewClient(l.opts(kgo.RecordPartitioner(engine.Partitioner()), kgo.ProducerLinger(0))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	failed := make(chan error, 1)
	err = l.run(ctx, func(ctx context.Context, i int) error {
		rec, err := l.command(l.first+i, commands{key: l.key})
		if err != nil {
			return err
		}
		cl.Produce(context.WithoutCancel(ctx), rec, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- fmt.Errorf("logging a command: %w", err):
				default:
				}
			}
		})
		l.mu.Lock()
		l.sent = i + 1
		l.mu.Unlock()
		return nil
	})
	if flushed := cl.Flush(context.WithoutCancel(ctx)); flushed != nil {
		return flushed
	}
	select {
	case err := <-failed:
		return err
	default:
		return err
	}
}

// through reads events while f runs, and then until those of all commands that
// were sent have come. note is called for each, with its command's place in the
// schedule.
func (l *commandLoad) through(ctx context.Context, note func(i int, partition int32), f func(context.Context) error) error {
	l.more = make(chan struct{}, 1)
	reader, err := kgo.NewClient(l.opts(kgo.ConsumeTopics(l.topology.Events(l.topology.Aggregates[0])),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return err
	}
	defer reader.Close()
	reading, cancel := context.WithCancelCause(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := l.read(reading, reader, note); err != nil {
			cancel(err)
		}
	})
	err = f(reading)
	if err == nil {
		err = l.caughtUp(reading)
	}
	cancel(nil)
	wait.Wait()
	return err
}

func (l *commandLoad) read(ctx context.Context, reader *kgo.Client, note func(int, int32)) error {
	var meta platform.Metadata
	for {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading events: %w", err)
		}
		n := 0
		for it := fetches.RecordIter(); !it.Done(); {
			rec := it.Next()
			if err := l.serde.Decode(serde.Metadata(rec), &meta); err != nil { //nolint:contextcheck // asks for a schema at most once
				return err
			}
			i, err := numberOf(meta.CommandID)
			if err != nil {
				return err
			}
			if i >= l.first {
				note(i-l.first, rec.Partition)
				n++
			}
		}
		l.mu.Lock()
		l.seen += n
		l.mu.Unlock()
		select {
		case l.more <- struct{}{}:
		default:
		}
	}
}

// catchUpPatience bounds the wait for events of commands that were logged.
const catchUpPatience = 2 * time.Minute

// caughtUp returns when the events of all commands sent before it have been seen.
func (l *commandLoad) caughtUp(ctx context.Context) error {
	l.mu.Lock()
	want := l.sent
	l.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, catchUpPatience, errors.New("the events of the commands that were sent did not all come"))
	defer cancel()
	for {
		l.mu.Lock()
		seen := l.seen
		l.mu.Unlock()
		if seen >= want {
			return nil
		}
		select {
		case <-l.more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
