package main

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// benchHistory compares commands to aggregates with short and with long
// histories, in one process, in turn.
func benchHistory(ctx context.Context, r *runner) (rep report, err error) {
	flat, err := r.compareHistories(ctx, historySizes{
		flat: true, keys: pick(r, 200, 10), long: pick(r, 10_000, 200), short: 100, measured: pick(r, 40_000, 500), pairs: pick(r, 2*r.pairs, 2),
	})
	if err != nil {
		return rep, err
	}
	stock, err := r.compareHistories(ctx, historySizes{
		keys: pick(r, 50, 10), long: pick(r, 1_000, 200), short: 100, measured: pick(r, 2_500, 500), pairs: pick(r, 2*r.pairs, 2),
	})
	if err != nil {
		return rep, err
	}
	ratio := median(ratios(flat.long, flat.short))
	rep.claims = []claim{
		{
			"per-command processor time, 10,000 events against 100, state of constant size", "within 5 %",
			fmt.Sprintf("%+.1f %%", 100*(ratio-1)), math.Abs(ratio-1) <= 0.05,
		},
		figure("100 events / 10,000 events", "%.1f µs / %.1f µs", median(flat.short), median(flat.long)),
		figure("the shop's stock, whose state keeps every reference: 100 events / 1,000 events", "%.1f µs / %.1f µs", median(stock.short), median(stock.long)),
	}
	rep.notes = []string{fmt.Sprintf("One process with nothing but the aggregate processor, kfake beside it. It has %d aggregates with 10,000 events and, for each measurement, as many fresh ones with 100; "+
		"the same number of commands goes to either in turn, %d times, and the median of the ratios counts. Commands never replay events: the state is read from the group table. "+
		"So the time follows the size of the state, not the length of the history; the shop's stock grows because it must know what it has booked. Every event verified.", 200, len(flat.long))}
	return rep, nil
}

type historySizes struct {
	flat                               bool
	keys, long, short, measured, pairs int
}

// histories are microseconds per command.
type histories struct{ short, long []float64 }

func (r *runner) compareHistories(ctx context.Context, z historySizes) (found histories, err error) {
	s, err := r.openStack(ctx, "kfake", benchTopology(z.flat), nil)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c, err := r.startSubjectProcess(ctx, s, kindEngine, z.flat)
	if err != nil {
		return found, err
	}
	f := &feeder{stack: s, child: c}
	r.begin("%d aggregates get %d events each", z.keys, z.long)
	if _, err := f.feed(ctx, "old", z.keys, z.keys*z.long); err != nil {
		return found, err
	}
	for pair := range z.pairs {
		young := fmt.Sprintf("y%02d", pair)
		if _, err := f.feed(ctx, young, z.keys, z.keys*z.short); err != nil {
			return found, err
		}
		err := alternate([]string{young, "old"}, 1, func(name string, _ int) error {
			micros, err := f.feed(ctx, name, z.keys, z.measured)
			if name == "old" {
				found.long = append(found.long, micros)
			} else {
				found.short = append(found.short, micros)
			}
			return err
		})
		if err != nil {
			return found, err
		}
		r.say("  pair %d: %.2f µs with %d events, %.2f µs with %d", pair+1, found.short[pair], z.short, found.long[pair], z.long)
	}
	if err := c.stop(); err != nil {
		return found, err
	}
	return found, s.verifyEvents(ctx, f.sent)
}

// feeder sends commands to a subject at work and waits for them.
type feeder struct {
	*stack
	*child
	sent int
}

// feed returns the subject's microseconds per command.
func (f *feeder) feed(ctx context.Context, name string, keys, n int) (float64, error) {
	before, err := f.until(f.sent)
	if err != nil {
		return 0, err
	}
	if err := f.produce(ctx, commands{first: f.sent, n: n, key: roundRobin(name, keys)}); err != nil {
		return 0, err
	}
	f.sent += n
	after, err := f.until(f.sent)
	return before.microsPerCommand(after), err
}
