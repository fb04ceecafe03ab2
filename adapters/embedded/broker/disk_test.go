package broker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestFullDisk_RefusesBeforeItIsFull(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	var log logged
	b := openBroker(t, Config{Dir: t.TempDir(), Logger: slog.New(&log), freeBytes: func(string) (int64, error) { return free.Load(), nil }})
	b.createTopic(t, "orders", 1, nil)
	ctx := t.Context()
	tx := b.client(t, kgo.TransactionalID("engine"))
	begin := func() {
		t.Helper()
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
	}
	plain := b.client(t)
	produce(t, plain, record("orders", 0, "k", "before"))
	begin()
	produce(t, tx, record("orders", 0, "k", "never committed"))

	free.Store(255 << 20)
	began := time.Now()
	if err := plain.ProduceSync(ctx, record("orders", 0, "k", "refused")).FirstErr(); !errors.Is(err, kerr.PolicyViolation) {
		t.Errorf("a produce: %v", err)
	}
	if err := tx.ProduceSync(ctx, record("orders", 0, "k", "refused")).FirstErr(); !errors.Is(err, kerr.TransactionAbortable) {
		t.Errorf("a produce in a transaction: %v", err)
	}
	if err := tx.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Errorf("an abort: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the refusals took %v", took)
	}
	if got := values(readAll(t, b.ClientOpts(), "orders")); got != "0:before" {
		t.Errorf("reads go on, but show %q", got)
	}
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 1})
	if err := kadm.NewClient(plain).CommitAllOffsets(ctx, "reader", offsets); err != nil {
		t.Errorf("readers cannot commit: %v", err)
	}
	if s, err := b.Stats(); err != nil || s.RefusedWrites != 2 || s.FreeBytes != 255<<20 {
		t.Errorf("%+v, %v", s, err)
	}
	if why := b.Refusal(); why == nil || !strings.Contains(why.Error(), "free some space") {
		t.Errorf("the broker says of itself: %v", why)
	}

	free.Store(1 << 30)
	produce(t, plain, record("orders", 0, "k", "after"))
	begin()
	produce(t, tx, record("orders", 0, "k", "committed"))
	if err := tx.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Errorf("a commit with room again: %v", err)
	}
	if got := values(readAll(t, b.ClientOpts(), "orders")); got != "0:before,after,committed" {
		t.Errorf("read %q", got)
	}
	if why := b.Refusal(); why != nil {
		t.Errorf("the broker says of itself: %v", why)
	}
	if refused, taken := log.count("writes are refused"), log.count("writes are taken again"); refused != 1 || taken != 1 {
		t.Errorf("two refusals made %d lines of refusing and %d of taking again, want one of each", refused, taken)
	}
}

// logged keeps the messages of a log.
type logged struct {
	mu       sync.Mutex
	messages []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = append(l.messages, r.Message)
	return nil
}

func (l *logged) count(start string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		if strings.HasPrefix(m, start) {
			n++
		}
	}
	return n
}

func TestFullDisk_RefusesCommit(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	b := openBroker(t, Config{Dir: t.TempDir(), freeBytes: func(string) (int64, error) { return free.Load(), nil }})
	b.createTopic(t, "orders", 1, nil)
	tx := b.client(t, kgo.TransactionalID("engine"))
	for i, want := range []string{"", "0:again"} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, tx, record("orders", 0, "k", "again"))
		if i == 0 {
			free.Store(0)
			if err := tx.EndTransaction(t.Context(), kgo.TryCommit); !errors.Is(err, kerr.TransactionAbortable) {
				t.Errorf("a commit: %v", err)
			}
			if err := tx.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
				t.Errorf("an abort: %v", err)
			}
			free.Store(1 << 30)
			continue // franz-go tells the broker of this abort when it begins the next transaction
		}
		if err := tx.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Errorf("a commit with room again: %v", err)
		}
		if got := values(readAll(t, b.ClientOpts(), "orders")); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
}

func TestFullDisk_SaysWhyOverTheWire(t *testing.T) {
	b := openBroker(t, Config{Dir: t.TempDir(), freeBytes: func(string) (int64, error) { return 10 << 20, nil }})
	why := b.hooks.refuse()
	if why == nil || !strings.Contains(why.Error(), "10 MiB free, 256 MiB are needed") || !strings.Contains(why.Error(), b.cfg.Dir) {
		t.Errorf("%v", why)
	}
}

// A write that fails all the same (another program took the last bytes) is answered with success by kfake when it is a
// commit marker. The broker then takes nothing more, and the next start completes the decision.
func TestFullDisk_FailedMarker(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	b.createTopic(t, "out", 1, nil)
	tx := b.client(t, kgo.TransactionalID("engine"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, tx, record("out", 0, "k", "committed"))
	b.hooks.Logf(kfake.LogLevelWarn, "persist batch %s-%d: %v", "out", 0, syscall.ENOSPC)
	if s, err := b.Stats(); err != nil || !strings.Contains(s.Broken, "no space left") {
		t.Errorf("%+v, %v", s, err)
	}
	if err := b.client(t).ProduceSync(t.Context(), record("out", 0, "k", "x")).FirstErr(); !errors.Is(err, kerr.PolicyViolation) {
		t.Errorf("a produce after it: %v", err)
	}
	for _, try := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := tx.EndTransaction(t.Context(), try); err == nil && try == kgo.TryCommit {
			t.Error("a commit after it succeeded")
		}
	}
	closeBroker(t, b)
	if b = openBroker(t, Config{Dir: dir}); b.Report().Clean || b.Report().AbortMarkers != 1 {
		t.Errorf("%+v", b.Report())
	}
}

// TestFullDisk_Real fills a small file system for real. It needs the right to mount one; the injected tests above show
// the same without.
func TestFullDisk_Real(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: no file system to fill")
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Logf("mounting is not allowed here: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	t.Run("with a reserve every acknowledged record outlives it", func(t *testing.T) {
		data := dir + "/reserve"
		b := openBroker(t, Config{Dir: data, MinFreeBytes: 4 << 20})
		b.createTopic(t, "out", 4, nil)
		written := fillUp(t, b)
		if n := count(readAll(t, b.ClientOpts(), "out")); n != written || n == 0 {
			t.Errorf("%d acknowledged, %d shown before the restart", written, n)
		}
		closeBroker(t, b)
		b = openBroker(t, Config{Dir: data, MinFreeBytes: 1})
		if n := count(readAll(t, b.ClientOpts(), "out")); n != written {
			t.Errorf("%d acknowledged, %d shown after the restart", written, n)
		}
		closeBroker(t, b)
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("without one, the first failed write stops everything and the start completes what was decided", func(t *testing.T) {
		data := dir + "/none"
		b := openBroker(t, Config{Dir: data, MinFreeBytes: 1})
		b.createTopic(t, "out", 4, nil)
		written := fillUp(t, b)
		if s, err := b.Stats(); err != nil || s.Broken == "" {
			t.Errorf("%+v, %v", s, err)
		}
		closeBroker(t, b)
		saved := copyDir(t, data) // the user makes room
		b = openBroker(t, Config{Dir: saved})
		if n := count(readAll(t, b.ClientOpts(), "out")); n != written || n == 0 {
			t.Errorf("%d acknowledged, %d shown after the restart", written, n)
		}
	})
}

// fillUp commits transactions of one record per partition until one fails, and returns the records acknowledged.
func fillUp(t *testing.T, b *Broker) (written int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tx := b.client(t, kgo.TransactionalID("engine"), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordDeliveryTimeout(5*time.Second))
	value := string(make([]byte, 10_000))
	for ctx.Err() == nil {
		if err := tx.BeginTransaction(); err != nil {
			return written
		}
		rs := make([]*kgo.Record, 4)
		for p := range rs {
			rs[p] = record("out", int32(p), "k", value)
		}
		if err := tx.ProduceSync(ctx, rs...).FirstErr(); err != nil {
			if err := tx.EndTransaction(ctx, kgo.TryAbort); err != nil {
				t.Logf("abort: %v", err)
			}
			return written
		}
		if err := tx.EndTransaction(ctx, kgo.TryCommit); err != nil {
			_ = tx.EndTransaction(ctx, kgo.TryAbort)
			_ = tx.BeginTransaction() // franz-go tells the broker of the abort only now
			return written
		}
		written += len(rs)
	}
	t.Fatal("the disk did not fill up")
	return 0
}

func count(read map[int32][]*kgo.Record) (n int) {
	for _, rs := range read {
		n += len(rs)
	}
	return n
}
