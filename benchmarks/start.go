package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/shop"
)

// history describes two images of one data folder: as a clean stop left it, and
// as a kill in the middle of commits would have.
type history struct {
	Commands       int       // in the clean image
	KilledLeast    int64     // commands answered when the other was taken
	PerTransaction float64   // events of one transaction in one partition
	Made           time.Time // when the clean image was stopped
	Bytes          int64     // of the clean image
}

// benchStart measures how long a start takes that finds a long history.
func benchStart(ctx context.Context, r *runner) (rep report, err error) {
	n := pick(r, 1_000_000, 2_000)
	cache := filepath.Join(r.cache, fmt.Sprintf("bench-history-%d", n))
	if r.short {
		cache = filepath.Join(r.dir, "history")
	}
	h, err := r.historyIn(ctx, cache, n)
	if err != nil {
		return rep, err
	}
	seconds, peaks := map[string][]float64{}, map[string][]float64{}
	for i := range pick(r, 3, 1) {
		for _, image := range []string{"clean", "killed"} {
			r.begin("run %d after %s", i+1, stopOf[image])
			s, peak, err := r.startOn(ctx, filepath.Join(cache, image), h, image, i == 0)
			if err != nil {
				return rep, fmt.Errorf("starting after %s: %w", stopOf[image], err)
			}
			r.say("  ready in %.2f s, %.0f MiB at most until then", s, peak)
			seconds[image], peaks[image] = append(seconds[image], s), append(peaks[image], peak)
		}
	}
	rep.claims = []claim{
		atMost("start to ready after a clean stop", "%.1f s", 3, median(seconds["clean"])),
		atMost("start to ready after `kill -9`", "%.1f s", 6, median(seconds["killed"])),
		figure("peak memory of that start, clean / killed", "%.0f MiB / %.0f MiB", median(peaks["clean"]), median(peaks["killed"])),
	}
	rep.notes = []string{fmt.Sprintf("%d commands (AdjustStock, 10,000 stock codes) entered in batches of %d, %.1f events in a transaction of a partition at the mean; the folder has %d MiB. "+
		"Killed: the folder as it was on disk at one moment in the middle of the load, which is what kill -9 leaves. Each start has a fresh copy of the folder (page cache warm), %s after its last command. "+
		"Verified by the read model's count, and `nexus check` after the kill.", h.Commands, historyBatch, h.PerTransaction, h.Bytes>>20, time.Since(h.Made).Round(time.Minute))}
	return rep, nil
}

var stopOf = map[string]string{"clean": "a clean stop", "killed": "kill -9"}

// startOn starts on a copy of an image and returns seconds and MiB.
func (r *runner) startOn(ctx context.Context, image string, h history, name string, check bool) (seconds, peak float64, err error) {
	folder, err := r.temp("start")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := copyFolder(ctx, image, folder); err != nil {
		return 0, 0, err
	}
	d, err := r.startDev(ctx, folder)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	bytes, err := statusBytes(d.pid(), "VmHWM")
	if err != nil {
		return 0, 0, err
	}
	least := int64(h.Commands)
	if name == "killed" {
		least = h.KilledLeast
	}
	t, err := d.awaitTotals(ctx, "the history", func(t totals) bool { return t.StockAdjustments >= least })
	if err == nil && t.StockAdjustments > int64(h.Commands) {
		err = fmt.Errorf("%d commands were sent, the read model counts %d", h.Commands, t.StockAdjustments)
	}
	if err == nil && check && name == "killed" {
		err = r.nexus(ctx, "check", "--server", d.url)
	}
	return d.ready.Seconds(), bytes / (1 << 20), err
}

const (
	historyRate  = 2_500 // commands a second: few enough that transactions stay small
	historyBatch = 5
)

// historyIn returns the history in a folder, entering it first if there is none.
func (r *runner) historyIn(ctx context.Context, cache string, n int) (h history, err error) {
	file := filepath.Join(cache, "history.json")
	text, err := os.ReadFile(file)
	if err == nil {
		return h, json.Unmarshal(text, &h)
	}
	if err := os.RemoveAll(cache); err != nil {
		return h, err
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return h, err
	}
	r.progress("entering %d commands at %d/s, once; they stay in %s", n, historyRate, cache)
	if h, err = r.enter(ctx, cache, n); err != nil {
		return h, fmt.Errorf("entering the history: %w", err)
	}
	if text, err = json.MarshalIndent(h, "", "  "); err != nil {
		return h, err
	}
	return h, os.WriteFile(file, text, 0o600)
}

// enter fills a system, takes the image of a kill near the end, and stops it.
func (r *runner) enter(ctx context.Context, cache string, n int) (h history, err error) {
	work := filepath.Join(cache, "clean")
	d, err := r.startDev(ctx, work)
	if err != nil {
		return h, err
	}
	stopped := false
	defer func() {
		if !stopped {
			d.kill()
		}
	}()
	l := &stockLoad{size: historyBatch, skus: 10_000, schedule: schedule{
		start: time.Now(), every: time.Second * historyBatch / historyRate, n: n / historyBatch, workers: 32,
	}}
	loading := make(chan error, 1)
	go func() { loading <- l.drive(ctx, d) }()
	if err := poll(ctx, 10*time.Millisecond, func() (bool, error) { return l.accepted.Load() > int64(n*98/100), nil }); err != nil {
		return h, err
	}
	if h.KilledLeast, err = freeze(ctx, d, l, work, filepath.Join(cache, "killed")); err != nil {
		return h, err
	}
	if err := <-loading; err != nil {
		return h, err
	}
	if got := l.accepted.Load(); got != int64(n) {
		return h, fmt.Errorf("%d of %d commands were accepted (%d shed)", got, n, l.shed.Load())
	}
	if _, err := d.awaitTotals(ctx, "all commands", func(t totals) bool { return t.StockAdjustments == int64(n) }); err != nil {
		return h, err
	}
	if h.PerTransaction, err = perTransaction(ctx, work); err != nil {
		return h, err
	}
	stopped = true
	if err := d.stop(); err != nil {
		return h, err
	}
	h.Commands, h.Made = n, time.Now()
	h.Bytes, err = folderBytes(work)
	return h, err
}

// freeze copies the folder of a running system as it is at one moment. It
// returns how many commands had their answer by then, at least.
func freeze(ctx context.Context, d *dev, l *stockLoad, from, to string) (int64, error) {
	answered := l.accepted.Load()
	if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return 0, err
	}
	err := copyFolder(ctx, from, to)
	return answered, errors.Join(err, d.cmd.Process.Signal(syscall.SIGCONT))
}

func copyFolder(ctx context.Context, from, to string) error {
	//nolint:gosec // folders of this program
	if out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", from+"/.", to).CombinedOutput(); err != nil {
		return fmt.Errorf("copying %s: %w: %s", from, err, out)
	}
	return nil
}

func folderBytes(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// perTransaction is how many events a transaction wrote to a partition: every
// offset that is no record is a marker.
func perTransaction(ctx context.Context, folder string) (float64, error) {
	text, err := os.ReadFile(filepath.Join(folder, system.EndpointsFile))
	if err != nil {
		return 0, err
	}
	var at system.Endpoints
	if err := json.Unmarshal(text, &at); err != nil {
		return 0, err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(at.Bus))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	t := shop.Topology()
	stock, _ := t.Aggregate("stock")
	s := &stack{addr: at.Bus, topology: t, client: cl}
	records, offsets := 0, int64(0)
	if err := s.each(ctx, t.Events(stock), func(*kgo.Record) error { records++; return nil }); err != nil {
		return 0, err
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, t.Events(stock))
	if err != nil {
		return 0, err
	}
	ends.Each(func(end kadm.ListedOffset) { offsets += end.Offset })
	return float64(records) / max(1, float64(offsets)-float64(records)), nil
}
