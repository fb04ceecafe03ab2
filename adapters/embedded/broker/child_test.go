package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// killParts is the number of partitions that one transaction of the kill test spans, in each of two topics.
const killParts = 12

// narrow keeps batches small, so that every fetch and thus every transaction spans all partitions.
var narrow = tuning{smallBatches: 2, dirtyBytes: 1, rewriteBytes: 1 << 30, batchBytes: 30, workers: 2}

// order is what the parent asks of a child process.
type order struct {
	Dir   string
	Mode  string // where the child kills itself: a request's name, or "start"
	Seed  uint64
	TxnID string
}

// child is a process that works on a broker until it kills itself at a seeded random moment.
func child(raw string) {
	var o order
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		fatal(err)
	}
	if strings.HasPrefix(o.Mode, "open-") {
		openAndReport(o)
		return
	}
	rng := rand.New(rand.NewPCG(o.Seed, 1))
	runtime.GOMAXPROCS(4) // one spins
	cfg := Config{Dir: o.Dir, tune: narrow, Logger: slog.New(mortal{slog.DiscardHandler})}
	if o.Mode == "start" {
		left := 1 + rng.IntN(90)
		cfg.step = func(string) {
			if left--; left == 0 {
				killSelf()
			}
		}
	}
	b, err := Open(context.Background(), cfg)
	if err != nil {
		fatal(err)
	}
	report, err := json.Marshal(b.Report())
	if err != nil {
		fatal(err)
	}
	fmt.Printf("report %s\n", report)
	armKill(b, o.Mode, rng)
	if err := consumeAndProduce(b, o.TxnID, rng); err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Println("FAIL", err)
	os.Exit(3)
}

func killSelf() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		fatal(err)
	}
	select {}
}

// opened is what a process that only opens a folder tells of it.
type opened struct {
	Report    Report
	Took      time.Duration
	CPU       time.Duration
	PeakKB    int64 // resident memory at most
	HeapBytes uint64
}

func openAndReport(o order) {
	began := time.Now()
	var m opened
	if o.Mode == "open-raw" {
		if _, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(o.Dir)); err != nil {
			fatal(err)
		}
	} else {
		b, err := Open(context.Background(), Config{Dir: o.Dir})
		if err != nil {
			fatal(err)
		}
		m.Report = b.Report()
	}
	m.Took = time.Since(began)
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		fatal(err)
	}
	m.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &m.PeakKB)
	}
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	m.HeapBytes = ms.HeapAlloc
	raw, err := json.Marshal(m)
	if err != nil {
		fatal(err)
	}
	fmt.Printf("opened %s\n", raw)
	killSelf()
}

// mortal kills the process when the broker logs an error: it does in the very step in which a write fails.
type mortal struct{ slog.Handler }

func (mortal) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (mortal) Handle(context.Context, slog.Record) error {
	killSelf()
	return nil
}

// armKill kills the process in the middle of one of the next requests of a kind: as soon as a file that it writes, or
// may write, has grown, or after a random time below 600 µs.
func armKill(b *Broker, mode string, rng *rand.Rand) {
	if mode == "limit" {
		armLimit(b, rng)
		return
	}
	key := map[string]kmsg.Key{"produce": kmsg.Produce, "endtxn": kmsg.EndTxn, "start": kmsg.EndTxn}[mode]
	left := 2 + rng.IntN(25)
	wait := time.Duration(rng.IntN(600)) * time.Microsecond
	target := rng.IntN(8)
	at := tp{[]string{"a", "b", "table"}[rng.IntN(3)], rng.Int32N(killParts)}
	var file atomic.Pointer[string]
	var size int64
	b.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		switch left--; left {
		case 1: // a timer, or a thread that is still to start, would come too late for the middle of a commit
			go spinAndKill(&file, &size, wait)
		case 0:
			path := killTarget(b.cfg.Dir, target, at)
			size = sizeOf(path)
			file.Store(&path)
		}
		return nil, nil, false
	})
}

// armLimit makes the write of a marker fail by the system's limit of file sizes, at a random byte in one of the next
// commits; mortal then kills the process in the middle of the commit. Unlike a kill by the clock it always hits.
func armLimit(b *Broker, rng *rand.Rand) {
	left := 2 + rng.IntN(15)
	at := tp{[]string{"a", "b", "table"}[rng.IntN(3)], rng.Int32N(killParts)}
	cut := rng.IntN(100)
	b.cluster.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		if left--; left == 0 {
			limit := uint64(sizeOf(killTarget(b.cfg.Dir, -1, at)) + int64(cut))
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
				fatal(err)
			}
		}
		return nil, nil, false
	})
}

func spinAndKill(file *atomic.Pointer[string], size *int64, wait time.Duration) {
	runtime.LockOSThread()
	for file.Load() == nil {
	}
	path, seen := *file.Load(), time.Now()
	limit := 3 * time.Millisecond
	if path == "" {
		limit = wait
	}
	for time.Since(seen) < limit && sizeOf(path) == *size {
	}
	killSelf()
}

// killTarget names the file to watch: mostly a partition, sometimes the offsets or the producer ids, sometimes none.
func killTarget(dir string, target int, at tp) string {
	switch target {
	case 0:
		return ""
	case 1:
		return filepath.Join(dir, "pids.log")
	case 2, 3:
		return filepath.Join(dir, "groups.log")
	}
	part := filepath.Join(dir, "partitions", at.dirName())
	segs, err := listSegments(part)
	if err != nil || len(segs) == 0 {
		return ""
	}
	return segs[len(segs)-1].dat(part)
}

func sizeOf(path string) int64 {
	var st syscall.Stat_t
	if path == "" || syscall.Stat(path, &st) != nil {
		return -1
	}
	return st.Size
}

// consumeAndProduce copies topic in to topics a and b, and the latest value per key to the compacted topic table, in
// transactions with the group's offsets, until the process is killed or the input ends.
func consumeAndProduce(b *Broker, txnID string, rng *rand.Rand) error {
	ctx := context.Background()
	s, err := kgo.NewGroupTransactSession(append(b.ClientOpts(), kgo.TransactionalID(txnID), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxPartitionBytes(100), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))...)
	if err != nil {
		return err
	}
	for {
		fs := s.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return err
		}
		if err := s.Begin(); err != nil {
			return err
		}
		failed := make(chan error, 1)
		fs.EachRecord(func(r *kgo.Record) {
			for _, topic := range []string{"a", "b", "table"} {
				s.Produce(ctx, &kgo.Record{Topic: topic, Partition: r.Partition, Key: []byte(strconv.Itoa(int(r.Offset % 5))), Value: r.Value}, func(_ *kgo.Record, err error) {
					if err != nil {
						select {
						case failed <- err:
						default:
						}
					}
				})
			}
		})
		if err := s.Client().Flush(ctx); err != nil {
			return err
		}
		if rng.IntN(8) == 0 { // some transactions are aborted
			if _, err := s.End(ctx, kgo.TryAbort); err != nil {
				return err
			}
			continue
		}
		if _, err := s.End(ctx, kgo.TryCommit); err != nil {
			return err
		}
		select {
		case err := <-failed:
			return err
		default:
		}
	}
}
