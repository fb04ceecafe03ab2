package broker

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/soak"
)

// eager compacts at the slightest reason, so that small tests reach what large logs do.
var eager = tuning{smallBatches: 2, dirtyBytes: 1, rewriteBytes: 1 << 30, batchBytes: 64 << 10, workers: 1}

// flat renders records with all that must outlive a rewrite.
func flat(read map[int32][]*kgo.Record) []string {
	var out []string
	for _, rs := range read {
		for _, r := range rs {
			out = append(out, fmt.Sprintf("%d/%d %d %q=%q nil:%v %v", r.Partition, r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value, r.Value == nil, r.Headers))
		}
	}
	slices.Sort(out)
	return out
}

// history writes plain, committed and aborted records of several sizes, keys and headers, seeded.
func history(t *testing.T, b *Broker, rng *rand.Rand, topic string, partitions int32, rounds int) {
	t.Helper()
	cl := b.client(t, kgo.ProducerLinger(0))
	tx := b.client(t, kgo.TransactionalID(fmt.Sprint("tx", rng.Uint64())), kgo.ProducerLinger(0))
	one := func() *kgo.Record {
		r := record(topic, rng.Int32N(partitions), fmt.Sprint("key", rng.IntN(20)), fmt.Sprint(rng.Uint64(), string(make([]byte, rng.IntN(300)))))
		r.Headers = []kgo.RecordHeader{{Key: "nexus-meta", Value: []byte{byte(rng.IntN(256))}}}
		r.Timestamp = time.UnixMilli(time.Now().UnixMilli() - int64(rng.IntN(1000)))
		if rng.IntN(10) == 0 {
			r.Value = nil
		}
		return r
	}
	for range rounds {
		if rng.IntN(3) == 0 {
			produce(t, cl, one())
			continue
		}
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for range 1 + rng.IntN(4) {
			produce(t, tx, one())
		}
		if err := tx.EndTransaction(t.Context(), kgo.TransactionEndTry(rng.IntN(4) > 0)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCompact_MergesBatches(t *testing.T) {
	rng := soak.Seeded(t)
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	b.createTopic(t, "events", 3, nil)
	for round := range 3 {
		history(t, b, rng, "events", 3, 150)
		want := flat(readAll(t, b.ClientOpts(), "events"))
		if round < 2 {
			closeBroker(t, b)
		} else {
			dir = copyDir(t, dir) // as a kill leaves it
		}
		b = openBroker(t, Config{Dir: dir, tune: eager})
		r := b.Report().Compacted
		if round != 1 && (r.Partitions != 3 || r.BatchesAfter*5 > r.BatchesBefore || r.BytesAfter >= r.BytesBefore) {
			t.Errorf("round %d: %+v", round, r)
		}
		if round == 1 && r.Partitions != 0 { // opened eagerly before, so that the stop has done it
			t.Errorf("the stop left something to do: %+v", r)
		}
		if n := countBatches(t, dir, "events", 3); n > 12 {
			t.Errorf("round %d: %d batches on disk", round, n)
		}
		if got := flat(readAll(t, b.ClientOpts(), "events")); !slices.Equal(got, want) {
			t.Fatalf("round %d: %d records before, %d after, or they differ", round, len(want), len(got))
		}
	}
}

func countBatches(t *testing.T, dir, topic string, partitions int32) (n int64) {
	t.Helper()
	for p := range partitions {
		segs, err := listSegments(filepath.Join(dir, "partitions", tp{topic, p}.dirName()))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segs {
			n += s.idxSize / indexEntryBytes
		}
	}
	return n
}

func TestCompact_KeepsTheLatestOfEachKey(t *testing.T) {
	rng := soak.Seeded(t)
	dir := t.TempDir()
	now := time.Now()
	clock := func() time.Time { return now }
	b := openBroker(t, Config{Dir: dir, Now: clock})
	b.createTopic(t, "table", 2, map[string]string{"cleanup.policy": "compact"})
	for round := range 3 {
		history(t, b, rng, "table", 2, 150)
		before := readAll(t, b.ClientOpts(), "table")
		closeBroker(t, b)
		if round == 2 { // deletions are kept for a day
			now = now.Add(25 * time.Hour)
		}
		b = openBroker(t, Config{Dir: dir, tune: eager, Now: clock})
		got := readAll(t, b.ClientOpts(), "table")
		for p := range int32(2) {
			want, last := latest(before[p], round == 2), map[string]string{}
			for _, r := range got[p] {
				last[string(r.Key)] = flat(map[int32][]*kgo.Record{p: {r}})[0]
			}
			for key, w := range want {
				if last[key] != w {
					t.Errorf("round %d, partition %d, key %s: want %s, got %s", round, p, key, w, last[key])
				}
			}
			// One more per partition: the last batch stays as it is.
			if n := len(got[p]); n > 20+4 {
				t.Errorf("round %d, partition %d: %d records of 20 keys", round, p, n)
			}
		}
	}
}

func latest(rs []*kgo.Record, dropDeleted bool) map[string]string {
	out := map[string]string{}
	for _, r := range rs {
		out[string(r.Key)] = flat(map[int32][]*kgo.Record{r.Partition: {r}})[0]
		if r.Value == nil && dropDeleted {
			delete(out, string(r.Key))
		}
	}
	return out
}

// A kill may come at any step of a repair or compaction: each leaves the old or the new, and the next start finishes.
func TestCompact_KilledAtEveryStep(t *testing.T) {
	rng := soak.Seeded(t)
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	b.createTopic(t, "events", 2, nil)
	b.createTopic(t, "table", 2, map[string]string{"cleanup.policy": "compact"})
	history(t, b, rng, "events", 2, 60)
	history(t, b, rng, "table", 2, 60)
	tx := b.client(t, kgo.TransactionalID("open"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, tx, record("events", 0, "k", "never committed"))
	events, table := flat(readCommitted(t, b, "events")), readCommitted(t, b, "table")
	killed := copyDir(t, dir)

	var copies []string
	var names []string
	step := func(name string) { copies, names = append(copies, copyDir(t, killed)), append(names, name) }
	again := openBroker(t, Config{Dir: killed, tune: eager, step: step})
	if again.Report().Compacted.Partitions != 4 || len(copies) < 15 {
		t.Fatalf("%d steps, %+v", len(copies), again.Report())
	}
	for i, c := range copies {
		b := openBroker(t, Config{Dir: c, tune: eager})
		if got := flat(readAll(t, b.ClientOpts(), "events")); !slices.Equal(got, events) {
			t.Errorf("killed after step %d, %s: %d events, want %d", i, names[i], len(got), len(events))
		}
		got := readAll(t, b.ClientOpts(), "table")
		for p := range int32(2) {
			for key, want := range latest(table[p], false) {
				if have := latest(got[p], false)[key]; have != want {
					t.Errorf("killed after step %d, %s: key %s: %s, want %s", i, names[i], key, have, want)
				}
			}
		}
		closeBroker(t, b)
	}
}

// readCommitted reads what is committed while a transaction is open: up to the last stable offset.
func readCommitted(t *testing.T, b *Broker, topic string) map[int32][]*kgo.Record {
	t.Helper()
	dir := copyDir(t, b.cfg.Dir)
	return readAll(t, openBroker(t, Config{Dir: dir}).ClientOpts(), topic)
}

func TestCompact_Retention(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	clock := func() time.Time { return now }
	b := openBroker(t, Config{Dir: dir, Now: clock})
	for name, retention := range map[string]string{"commands": "604800000", "events": "-1"} {
		b.createTopic(t, name, 1, map[string]string{"retention.ms": retention})
		cl := b.client(t, kgo.ProducerBatchMaxBytes(1<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
		for range 12 {
			produce(t, cl, record(name, 0, "k", string(make([]byte, 900<<10))))
		}
	}
	closeBroker(t, b)
	now = now.Add(8 * 24 * time.Hour)
	b = openBroker(t, Config{Dir: dir, Now: clock})
	if n := len(readAll(t, b.ClientOpts(), "events")[0]); n != 12 {
		t.Errorf("%d of 12 events are left", n)
	}
	if n := len(readAll(t, b.ClientOpts(), "commands")[0]); n >= 6 || n == 0 {
		t.Errorf("%d of 12 commands are left after their retention: want those of the last segment", n)
	}
	if r := b.Report().Compacted; r.Expired != 2 {
		t.Errorf("%+v", r)
	}
}

func TestCompact_LeavesTheDiskItsReserve(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	b.createTopic(t, "events", 1, nil)
	rng := soak.Seeded(t)
	history(t, b, rng, "events", 1, 20)
	closeBroker(t, b)
	b = openBroker(t, Config{Dir: dir, tune: eager, MinFreeBytes: 1 << 20, freeBytes: func(string) (int64, error) { return 1<<20 + 100, nil }})
	if r := b.Report().Compacted; r.Partitions != 0 {
		t.Errorf("%+v", r)
	}
}

// TestCompact_KeepsSegments shows that segments which need nothing are taken over by name, not copied.
func TestCompact_KeepsSegments(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	b.createTopic(t, "events", 1, nil)
	cl := b.client(t, kgo.ProducerBatchMaxBytes(1<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 6 {
		produce(t, cl, record("events", 0, "k", string(make([]byte, 900<<10))))
	}
	for range 50 {
		produce(t, cl, record("events", 0, "k", "small"))
	}
	want := flat(readAll(t, b.ClientOpts(), "events"))
	closeBroker(t, b)
	first := filepath.Join(dir, "partitions", "events-0", "0.dat")
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	// The second segment begins with a large batch; only its average decides.
	b = openBroker(t, Config{Dir: dir, tune: eager})
	after, err := os.Stat(first)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the first segment was written anew: %v", err)
	}
	if got := flat(readAll(t, b.ClientOpts(), "events")); !slices.Equal(got, want) {
		t.Error("records differ")
	}
	for range 3 { // and goes on behind it
		produce(t, b.client(t), record("events", 0, "k", "more"))
	}
	if n := len(readAll(t, b.ClientOpts(), "events")[0]); n != len(want)+3 {
		t.Errorf("%d records", n)
	}
}
