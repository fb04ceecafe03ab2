package broker

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkStart measures starts on a long history that came in as small as it gets: 1 M commands of 200 bytes over 100
// k keys, ten to a commit, each commit with a batch and a marker in every partition of events, table and outcomes that
// it touches. Each start is a process of its own, on a folder in the page cache. Run it with -benchtime=1x.
func BenchmarkStart(b *testing.B) {
	const commands = 1_000_000
	base, last := b.TempDir(), ""
	batches, bytes := writeHistory(b, base, commands)
	b.Logf("%d commands, %d batches, %d MiB", commands, batches, bytes>>20)
	for _, c := range []struct{ name, mode string }{
		{"after a kill", "open-kill"},
		{"again after a kill", "open-kill"},
		{"after a clean stop", "open-stop"},
		{"again after a clean stop", "open-stop"},
	} {
		dir := base
		if !strings.HasPrefix(c.name, "again") { // the second start of a kind finds what the first has made of it
			dir = filepath.Join(b.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
				b.Fatal(err)
			}
			if c.mode == "open-stop" {
				if err := writeFile(filepath.Join(dir, "CLEAN"), nil, false); err != nil {
					b.Fatal(err)
				}
			}
			last = dir
		} else {
			dir = last
		}
		b.Run(c.name, func(b *testing.B) { measureOpen(b, order{Dir: dir, Mode: c.mode}) })
	}
	b.Run("kfake alone", func(b *testing.B) { measureOpen(b, order{Dir: base, Mode: "open-raw"}) })
}

func measureOpen(b *testing.B, o order) {
	b.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		cmd := exec.CommandContext(b.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "BROKER_TEST_CHILD="+string(raw))
		out, err := cmd.Output()
		line, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "opened ")
		if !ok {
			b.Fatalf("%s, %v", out, err)
		}
		var m opened
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(m.Took.Seconds(), "s/start")
		b.ReportMetric(m.CPU.Seconds(), "cpu-s/start")
		b.ReportMetric(float64(m.PeakKB>>10), "peak-MiB")
		b.ReportMetric(float64(m.HeapBytes>>20), "heap-MiB")
		b.Logf("repair %v, compaction %v, kfake %v; %+v", m.Report.RepairTime.Round(time.Millisecond), m.Report.CompactTime.Round(time.Millisecond),
			m.Report.OpenTime.Round(time.Millisecond), m.Report.Compacted)
	}
}

// writeHistory writes the segments of the history straight into a folder.
func writeHistory(b *testing.B, dir string, commands int) (batches int, bytes int64) {
	b.Helper()
	const parts = 8
	br := openBroker(b, Config{Dir: dir})
	for _, name := range []string{"commands", "events", "outcomes"} {
		br.createTopic(b, name, parts, nil)
	}
	br.createTopic(b, "table", parts, map[string]string{"cleanup.policy": "compact"})
	closeBroker(b, br)
	rng := rand.New(rand.NewPCG(1, 1))
	files := map[tp]*partFile{}
	add := func(topic string, p int32, raw func(offset int64) []byte, records int64) {
		at := tp{topic, p}
		f := files[at]
		if f == nil {
			f = &partFile{dir: filepath.Join(dir, "partitions", at.dirName())}
			files[at] = f
		}
		f.append(b, raw(f.end), records)
		batches++
	}
	now := time.Now()
	for n := 0; n < commands; n += 10 {
		touched := map[int32][]string{}
		for range 10 {
			key := fmt.Sprintf("order-%06d", rng.IntN(100_000))
			p := rng.Int32N(parts)
			touched[p] = append(touched[p], key)
			add("commands", p, dataBatch(rng, now, -1, 200, key), 1)
		}
		for p, keys := range touched {
			for _, topic := range []string{"events", "table", "outcomes"} {
				size := map[string]int{"events": 200, "table": 200, "outcomes": 60}[topic]
				add(topic, p, dataBatch(rng, now, 7, size, keys...), int64(len(keys)))
				add(topic, p, func(offset int64) []byte { return marker(offset, 7, 0, 0, true, now) }, 1)
			}
		}
	}
	for _, f := range files {
		bytes += f.close(b)
	}
	return batches, bytes
}

// dataBatch makes values that are half text and half noise.
func dataBatch(rng *rand.Rand, now time.Time, producer int64, size int, keys ...string) func(offset int64) []byte {
	return func(offset int64) []byte {
		var records []byte
		for i, key := range keys {
			value := []byte(strings.Repeat("order line ", size/11+1)[:size])
			for j := 0; j < size/2; j += 8 {
				binary.LittleEndian.PutUint64(value[j:], rng.Uint64())
			}
			r := kmsg.Record{OffsetDelta: int32(i), Key: []byte(key), Value: value}
			r.Length = int32(len(r.AppendTo(nil)) - 1)
			r.Length = int32(len(r.AppendTo(nil)) - len(binary.AppendVarint(nil, int64(r.Length))))
			records = r.AppendTo(records)
		}
		q := kmsg.RecordBatch{
			FirstOffset: offset, LastOffsetDelta: int32(len(keys) - 1), FirstTimestamp: now.UnixMilli(), MaxTimestamp: now.UnixMilli(),
			ProducerID: producer, NumRecords: int32(len(keys)), Records: records,
		}
		if producer >= 0 {
			q.Attributes = attrTxn
		}
		return sealBatch(q)
	}
}

type partFile struct {
	dir      string
	end      int64
	dat, idx *bufio.Writer
	files    []*os.File
	size     int64
	total    int64
}

func (f *partFile) append(b *testing.B, raw []byte, records int64) {
	b.Helper()
	if f.dat == nil || f.size >= segmentBytes {
		f.flush(b)
		seg := segment{base: f.end}
		if err := os.MkdirAll(f.dir, 0o700); err != nil {
			b.Fatal(err)
		}
		for _, w := range []struct {
			path string
			to   **bufio.Writer
		}{{seg.dat(f.dir), &f.dat}, {seg.idx(f.dir), &f.idx}} {
			file, err := os.Create(w.path)
			if err != nil {
				b.Fatal(err)
			}
			f.files = append(f.files, file)
			*w.to = bufio.NewWriterSize(file, 64<<10)
		}
		f.size = 0
	}
	h := readHeader(raw)
	e := indexEntry(0, h.maxTime, h.inTxn())
	_, _ = f.dat.Write(raw)
	_, _ = f.idx.Write(e[:])
	f.size += int64(len(raw))
	f.total += int64(len(raw))
	f.end += records
}

func (f *partFile) flush(b *testing.B) {
	b.Helper()
	if f.dat == nil {
		return
	}
	for _, w := range []*bufio.Writer{f.dat, f.idx} {
		if err := w.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	for _, file := range f.files {
		file.Close()
	}
	f.files = nil
}

func (f *partFile) close(b *testing.B) int64 {
	b.Helper()
	f.flush(b)
	return f.total
}

// BenchmarkCommit is the price of the decision and of durability: sync, in transactions per second.
func BenchmarkCommit(b *testing.B) {
	for _, parts := range []int32{1, 24} {
		for _, mode := range []string{"kfake alone", "broker", "kfake alone, sync", "broker, sync"} {
			b.Run(fmt.Sprintf("%d partitions/%s", parts, mode), func(b *testing.B) {
				var opts []kgo.Opt
				if strings.HasPrefix(mode, "kfake") {
					var with []kfake.Opt
					if strings.HasSuffix(mode, "sync") {
						with = append(with, kfake.SyncWrites())
					}
					c, o := rawCluster(b, b.TempDir(), with...)
					if err := c.CreateTopic("out", parts, nil); err != nil {
						b.Fatal(err)
					}
					opts = o
				} else {
					br := openBroker(b, Config{Dir: b.TempDir(), Sync: strings.HasSuffix(mode, "sync")})
					br.createTopic(b, "out", parts, nil)
					opts = br.ClientOpts()
				}
				commitLoop(b, opts, parts)
			})
		}
	}
}

func commitLoop(b *testing.B, opts []kgo.Opt, parts int32) {
	b.Helper()
	tx := newClient(b, append(opts[:len(opts):len(opts)], kgo.TransactionalID("engine"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))...)
	for b.Loop() {
		if err := tx.BeginTransaction(); err != nil {
			b.Fatal(err)
		}
		rs := make([]*kgo.Record, parts)
		for p := range rs {
			rs[p] = record("out", int32(p), "k", "v")
		}
		produce(b, tx, rs...)
		if err := tx.EndTransaction(b.Context(), kgo.TryCommit); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "txn/s")
}
