package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// BenchmarkMove measures how long partitions of a large table stand still, and what
// copies of them cost, with goka's ways to have them ahead of time. Two processes share
// the partitions; the second one starts, dies for good, starts again, and dies and
// starts at once. Run it with -benchtime=1x.
func BenchmarkMove(b *testing.B) {
	const keys, pad, parts = 200_000, 234, 8
	for _, c := range []struct {
		name           string
		ahead, standby bool
	}{{"as it is", false, false}, {"recover ahead", true, false}, {"standby", false, true}, {"standby and recover ahead", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			br := kafkatest.Kafka(b)
			n := namesOf(br.Prefix)
			n.create(b, br, parts)
			n.produce(b, br, 1, keys, keys, 0)
			dir := b.TempDir()
			begin := func(id string) *process {
				return spawn(b, br, childConfig{
					Names: n, ID: id, Dir: filepath.Join(dir, id), Pad: pad, Static: true, Plain: true, Ahead: c.ahead, Standby: c.standby,
					Session: 9 * time.Second, TxnTO: 8 * time.Second,
				})
			}
			first := begin("a")
			n.drained(b, br, 2*time.Minute)
			l := newMoveLoad(b, br, n, keys)
			f := &moveFleet{b: b, br: br, n: n, load: l, parts: parts}

			var second *process
			f.step("start with an empty store", 2, func() { second = begin("b") })
			l.settle(6 * time.Second) // what is committed goes down
			f.cost("after it, of the new one", second, filepath.Join(dir, "b"))
			f.cost("after it, of the first", first, filepath.Join(dir, "a"))
			f.step("kill -9 and nothing else", 1, func() { second.kill() })
			f.step("start with a store", 2, func() { second = begin("b") })
			for range 3 {
				l.settle(6 * time.Second)
				f.step("kill -9 and the same name again", 2, func() { second.kill(); second = begin("b") })
			}
			l.stop()
			b.ReportMetric(0, "ns/op")
		})
	}
}

// moveLoad sends commands all the time and notes the longest wait of an event in each
// partition, from its command's sending to a read-committed reader.
type moveLoad struct {
	b    *testing.B
	stop func()

	mu    sync.Mutex
	sent  map[uint64]time.Time // not yet seen
	worst map[int32]time.Duration
}

func newMoveLoad(b *testing.B, br *kafkatest.Broker, n names, keys uint64) *moveLoad {
	b.Helper()
	l := &moveLoad{b: b, sent: map[uint64]time.Time{}, worst: map[int32]time.Duration{}}
	ends, err := kadm.NewClient(br.Client(b)).ListEndOffsets(b.Context(), n.Events)
	must(b, err)
	from := map[string]map[int32]kgo.Offset{n.Events: {}}
	ends.Each(func(o kadm.ListedOffset) { from[n.Events][o.Partition] = kgo.NewOffset().At(o.Offset) })
	reader := br.Client(b, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumePartitions(from))
	writer := br.Client(b, kgo.RecordPartitioner(engine.Partitioner()))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for id := keys; ctx.Err() == nil; <-tick.C {
			for range 5 {
				id++
				l.mu.Lock()
				l.sent[id] = time.Now()
				l.mu.Unlock()
				writer.Produce(ctx, command(n.Commands, id, int(keys)), nil)
			}
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				id := binary.BigEndian.Uint64(r.Value[8:])
				l.mu.Lock()
				l.worst[r.Partition] = max(l.worst[r.Partition], time.Since(l.sent[id]))
				delete(l.sent, id)
				l.mu.Unlock()
			})
		}
	})
	l.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	b.Cleanup(l.stop)
	return l
}

// caughtUp says that no command waits for longer than a commit takes.
func (l *moveLoad) caughtUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.sent {
		if time.Since(at) > 300*time.Millisecond {
			return false
		}
	}
	return true
}

func (l *moveLoad) settle(d time.Duration) {
	<-time.After(d)
	kafkatest.Eventually(l.b, time.Minute, "the load is caught up", l.caughtUp)
}

func (l *moveLoad) take() (worst time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.worst {
		worst = max(worst, d)
	}
	clear(l.worst)
	return worst
}

type moveFleet struct {
	b     *testing.B
	br    *kafkatest.Broker
	n     names
	load  *moveLoad
	parts int
}

// step changes the group and prints how long the slowest partition stood still.
func (f *moveFleet) step(name string, members int, change func()) {
	f.b.Helper()
	kafkatest.Eventually(f.b, time.Minute, "the load is caught up", f.load.caughtUp)
	f.load.take()
	began := time.Now()
	change()
	adm := kadm.NewClient(f.br.Client(f.b))
	var settled time.Duration
	kafkatest.Eventually(f.b, 2*time.Minute, name, func() bool {
		groups, err := adm.DescribeGroups(context.Background(), f.n.Group)
		held := 0
		for _, m := range groups[f.n.Group].Members {
			if a, ok := m.Assigned.AsConsumer(); ok && len(a.Topics) == 1 {
				held += len(a.Topics[0].Partitions)
			}
		}
		return err == nil && groups[f.n.Group].State == "Stable" && len(groups[f.n.Group].Members) == members && held == f.parts
	})
	settled = time.Since(began)
	f.load.settle(time.Second)
	fmt.Fprintf(os.Stderr, "%-32s group settled after %5.2f s, longest pause %5.2f s\n", name, settled.Seconds(), f.load.take().Seconds())
}

// cost prints what a process holds and has read.
func (f *moveFleet) cost(name string, p *process, dir string) {
	f.b.Helper()
	read := func(file, field string) (n int64) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, field+":"); ok {
				_, _ = fmt.Sscan(rest, &n)
			}
		}
		return n
	}
	var disk int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				disk += info.Size()
			}
		}
		return nil
	})
	before := read("io", "rchar")
	<-time.After(5 * time.Second)
	fmt.Fprintf(os.Stderr, "%-32s %d MiB resident, %d MiB on disk, %d MiB read in all, %.1f MiB/s now\n", name,
		read("status", "VmRSS")>>10, disk>>20, before>>20, float64(read("io", "rchar")-before)/5/(1<<20))
}
