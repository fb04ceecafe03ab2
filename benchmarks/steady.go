package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// stockBatch writes n AdjustStock commands as lines of a batch, from the
// first-th on, over skus stock codes.
func stockBatch(first, n, skus int) []byte {
	lines := make([]byte, 0, n*160)
	for i := first; i < first+n; i++ {
		lines = fmt.Appendf(lines, `{"type":"AdjustStock","command":{"sku":"sku-%05d","description":"PINK REGENCY TEACUP AND SAUCER","quantity":%d,"reference":"r%09d"}}`+"\n",
			i%skus, 1+i%50, i)
	}
	return lines
}

// stockLoad is an open loop of batches.
type stockLoad struct {
	schedule
	size, skus  int
	answers     delays
	accepted    atomic.Int64
	shed, other atomic.Int64
}

func (l *stockLoad) drive(ctx context.Context, d *dev) error {
	return l.run(ctx, func(ctx context.Context, i int) error {
		accepted, shed, other, err := d.batch(ctx, stockBatch(i*l.size, l.size, l.skus))
		l.accepted.Add(int64(accepted))
		l.shed.Add(int64(shed))
		l.other.Add(int64(other))
		l.answers.add(l.due(i))
		return err
	})
}

// benchSteady keeps 10,000 commands a second coming for a minute.
func benchSteady(ctx context.Context, r *runner) (rep report, err error) {
	folder, err := r.temp("data")
	if err != nil {
		return rep, err
	}
	d, err := r.startDev(ctx, folder)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	run, err := r.steadyRun(ctx, d, pick(r, 10_000, 1_000), 0)
	if err != nil {
		return rep, err
	}
	rep.claims = run.claims()
	rep.notes = []string{run.conditions() + " One `nexus dev`, the load generator on the same cores."}
	return rep, nil
}

// steadyRun is what a load at one rate showed.
type steadyRun struct {
	load          *stockLoad
	rate, seconds int
	seen          sightings
	cpu           time.Duration // of the process of the platform
}

// steadyRun keeps commands coming for a minute, after a warm-up at the same rate, and verifies what became of them.
func (r *runner) steadyRun(ctx context.Context, d *dev, rate int, warm time.Duration) (*steadyRun, error) {
	seconds, size := pick(r, 60, 2), pick(r, 100, 20)
	run := &steadyRun{rate: rate, seconds: seconds}
	r.begin("%d commands/s for %d s", rate, seconds)
	start := time.Now().Add(100 * time.Millisecond)
	l := &stockLoad{size: size, skus: pick(r, 10_000, 500), answers: delays{from: start.Add(warm)}, schedule: schedule{
		start: start, every: time.Second * time.Duration(size) / time.Duration(rate), n: rate * (seconds + int(warm.Seconds())) / size, workers: 48,
	}}
	run.load = l
	watch := l.watch(ctx, d)
	before, err := cpuOf(d.pid())
	if err != nil {
		return nil, err
	}
	if err := l.drive(ctx, d); err != nil {
		return nil, err
	}
	r.say("  %d accepted, %d shed, %d otherwise; the last answer %v after the last was due", l.accepted.Load(), l.shed.Load(), l.other.Load(), time.Since(l.due(l.n)).Round(time.Millisecond))
	if _, err := d.awaitTotals(ctx, "all commands", func(t totals) bool { return t.StockAdjustments >= l.accepted.Load() }); err != nil {
		return nil, err
	}
	if run.seen, err = watch(); err != nil {
		return nil, err
	}
	after, err := cpuOf(d.pid())
	run.cpu = after - before
	if err != nil {
		return nil, err
	}
	r.say("  due time to visible p50 %.2f s, p99 %.2f s; lag of keyed documents p99 %.2f s", median(run.seen.visible), quantile(run.seen.visible, 0.99), quantile(run.seen.keyedLag, 0.99))
	return run, r.verifySteady(ctx, d, l)
}

func (s *steadyRun) lost() float64 {
	return float64(int64(s.load.n*s.load.size) - s.load.accepted.Load())
}

func (s *steadyRun) claims() []claim {
	return []claim{
		atMost("commands shed or not accepted", "%.0f", 0, s.lost()),
		atMost("due time to visible in a query, hot document, p99", "%.2f s", 2, quantile(s.seen.visible, 0.99)),
		atMost("search lag as the platform says, hot document, p99", "%.2f s", 2, quantile(s.seen.hotLag, 0.99)),
		atMost("search lag as the platform says, keyed documents, p99", "%.2f s", 2, quantile(s.seen.keyedLag, 0.99)),
		figure("due time to visible, p50 / worst", "%.2f s / %.2f s", median(s.seen.visible), quantile(s.seen.visible, 1)),
		figure("due time to a batch's last answer, p50 / p99", "%.0f ms / %.0f ms", median(s.load.answers.all), quantile(s.load.answers.all, 0.99)),
		figure("processor time of the platform's process per command, all of it", "%.0f µs", s.cpu.Seconds()*1e6/float64(s.load.n*s.load.size)),
	}
}

func (s *steadyRun) conditions() string {
	return fmt.Sprintf("AdjustStock over %d stock codes, %d/s for %d s in batches of %d, each sent when it is due, all projections running. "+
		"Visible: %d samples of the hot document's count, each compared with the schedule when the answer came. Counts verified, then `nexus check`.",
		s.load.skus, s.rate, s.seconds, s.load.size, len(s.seen.visible))
}

// verifySteady checks counts, documents and invariants.
func (r *runner) verifySteady(ctx context.Context, d *dev, l *stockLoad) error {
	t, _, err := d.askTotals(ctx)
	if err != nil {
		return err
	}
	accepted, sent := l.accepted.Load(), int64(l.n*l.size)
	// What had no answer in time may have been done all the same.
	if t.StockAdjustments < accepted || t.StockAdjustments > sent {
		return fmt.Errorf("%d of %d commands were accepted, the read model counts %d", accepted, sent, t.StockAdjustments)
	}
	if accepted < sent {
		return nil // the claims say so; what is there cannot be complete
	}
	want := min(int64(l.skus), sent)
	ctx, cancel := context.WithTimeoutCause(ctx, visiblePatience, fmt.Errorf("there never were %d products", want))
	defer cancel()
	err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		products, err := ask[struct{}](ctx, d, "/api/queries/products?limit=1")
		return products.Total == want && products.LagRecords == 0, err
	})
	if err != nil {
		return err
	}
	return r.nexus(ctx, "check", "--server", d.url)
}

// sightings are samples of what queries show, in seconds.
type sightings struct{ visible, hotLag, keyedLag []float64 }

const sightingEvery = 100 * time.Millisecond

// watch samples the read models until the function that it returns is called.
func (l *stockLoad) watch(ctx context.Context, d *dev) func() (sightings, error) {
	ctx, cancel := context.WithCancel(ctx)
	var s sightings
	var watching sync.WaitGroup
	var failed error
	watching.Go(func() {
		failed = poll(ctx, sightingEvery, func() (bool, error) { return false, s.sample(ctx, d, l) })
	})
	return func() (sightings, error) {
		cancel()
		watching.Wait()
		if errors.Is(failed, context.Canceled) {
			failed = nil
		}
		return s, failed
	}
}

// sample notes how long the oldest command that a query does not show has been
// due. What is due before the warm-up is over, or shown already, is no sample.
func (s *sightings) sample(ctx context.Context, d *dev, l *stockLoad) error {
	t, lag, err := d.askTotals(ctx)
	at := time.Now()
	if err != nil {
		return err
	}
	products, err := ask[struct{}](ctx, d, "/api/queries/products?limit=1")
	if err != nil {
		return err
	}
	batch := int(t.StockAdjustments) / l.size // the first that is not shown whole
	if batch >= l.n || at.Before(l.answers.from) {
		return nil
	}
	s.visible = append(s.visible, max(0, at.Sub(l.due(batch)).Seconds()))
	s.hotLag = append(s.hotLag, lag)
	s.keyedLag = append(s.keyedLag, products.Lag)
	return nil
}
