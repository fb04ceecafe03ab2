package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// openTxnDir leaves a transaction open with one record and returns the folder as a kill leaves it.
func openTxnDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	b.createTopic(t, "out", 1, nil)
	cl := b.client(t, kgo.TransactionalID("engine"))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, record("out", 0, "k", "open"))
	return copyDir(t, dir)
}

func TestGap_IndexEntryMissing(t *testing.T) {
	dir := openTxnDir(t)
	part, seg := lastSegment(t, dir, tp{"out", 0})
	truncate(t, seg.idx(part), 0)
	alone := copyDir(t, dir)
	_, opts := rawCluster(t, alone)
	if got := kfakeView(t, opts, "out"); got != "0:open" {
		t.Errorf("kfake alone shows %q: the gap is not what this test closes", got)
	}
	b := openBroker(t, Config{Dir: dir})
	if got := values(readAll(t, b.ClientOpts(), "out")); got != "" {
		t.Errorf("an uncommitted record is shown: %q", got)
	}
	if r := b.Report(); r.IndexesRebuilt != 1 || r.AbortMarkers != 1 {
		t.Errorf("%+v", r)
	}
}

func TestGap_TornBatch(t *testing.T) {
	dir := committed(t)
	part, seg := lastSegment(t, dir, tp{"in", 0})
	raw, err := os.ReadFile(seg.dat(part))
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 20, batchHeaderBytes, len(raw) - 1} {
		torn := copyDir(t, dir)
		at := filepath.Join(torn, "partitions", "in-0", "0.dat")
		if err := appendFile(at, raw[:cut], false); err != nil {
			t.Fatal(err)
		}
		b := openBroker(t, Config{Dir: torn})
		if r := b.Report(); r.CutBytes != int64(cut) {
			t.Errorf("%d torn bytes, report %+v", cut, r)
		}
		if got := values(readAll(t, b.ClientOpts(), "in")); got != "0:1,2" {
			t.Errorf("read %q", got)
		}
	}
}

// An aborted transaction of a fixed id must not come back: kfake forgets at the second kill what it aborted at the
// first, because it aborts in memory alone, and takes the next commit of the same producer for both.
func TestGap_AbortNotDurable(t *testing.T) {
	dir := openTxnDir(t)
	next := func(opts []kgo.Opt) {
		cl := newClient(t, append(opts[:len(opts):len(opts)], kgo.TransactionalID("engine"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, cl, record("out", 0, "k", "second"))
		if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	first := copyDir(t, dir)
	_, opts := rawCluster(t, first)
	next(opts)
	_, opts = rawCluster(t, copyDir(t, first))
	if got := kfakeView(t, opts, "out"); got != "0:open,second" {
		t.Errorf("kfake alone shows %q: the gap is not what this test closes", got)
	}
	b := openBroker(t, Config{Dir: dir})
	next(b.ClientOpts())
	b = openBroker(t, Config{Dir: copyDir(t, dir)})
	if got := values(readAll(t, b.ClientOpts(), "out")); got != "0:second" {
		t.Errorf("read %q", got)
	}
}

func TestGap_TornGroupLog(t *testing.T) {
	dir := committed(t)
	if err := appendFile(filepath.Join(dir, "groups.log"), []byte{90, 0, 0, 0, 1, 2, 3}, false); err != nil {
		t.Fatal(err)
	}
	commit := func(opts []kgo.Opt) {
		t.Helper()
		o := kadm.Offsets{}
		o.Add(kadm.Offset{Topic: "in", Partition: 0, At: 1, LeaderEpoch: -1})
		if err := kadm.NewClient(newClient(t, opts...)).CommitAllOffsets(t.Context(), "g", o); err != nil {
			t.Fatal(err)
		}
	}
	alone := copyDir(t, dir)
	_, opts := rawCluster(t, alone)
	commit(opts)
	_, opts = rawCluster(t, copyDir(t, alone))
	if at := groupOffsetAt(t, opts); at != 2 {
		t.Errorf("kfake alone remembers %d: the gap is not what this test closes", at)
	}
	b := openBroker(t, Config{Dir: dir})
	commit(b.ClientOpts())
	b = openBroker(t, Config{Dir: copyDir(t, dir)})
	if at := groupOffsetAt(t, b.ClientOpts()); at != 1 {
		t.Errorf("offset %d", at)
	}
}

// kfake tells of no aborted transaction in the partition at which an answer was full.
func TestGap_AbortedWhereAFetchIsFull(t *testing.T) {
	const batches, size = 8, 100 << 10
	fill := func(opts []kgo.Opt) {
		t.Helper()
		cl := newClient(t, append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("engine"),
			kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(size+1024))...)
		for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			for part := range int32(2) {
				for range batches {
					produce(t, cl, record("out", part, fmt.Sprint(end == kgo.TryCommit), strings.Repeat("x", size-200)))
				}
			}
			if err := cl.EndTransaction(t.Context(), end); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(opts []kgo.Opt) (committed, aborted int) {
		t.Helper()
		cl := newClient(t, append(opts, kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(3*size+size/2))...)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for committed < 2*batches && ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				if string(r.Key) == "true" {
					committed++
				} else {
					aborted++
				}
			})
		}
		return committed, aborted
	}
	c, opts := rawCluster(t, t.TempDir())
	if err := c.CreateTopic("out", 2, nil); err != nil {
		t.Fatal(err)
	}
	fill(opts)
	if _, aborted := read(opts); aborted == 0 {
		t.Error("kfake alone hides what was aborted: the gap is not what this test closes")
	}
	b := openBroker(t, Config{Dir: t.TempDir()})
	b.createTopic(t, "out", 2, nil)
	fill(b.ClientOpts())
	if committed, aborted := read(b.ClientOpts()); committed != 2*batches || aborted != 0 {
		t.Errorf("%d committed records, want %d, and %d aborted ones", committed, 2*batches, aborted)
	}
}

func TestGap_EmptiedPartition(t *testing.T) {
	purge := func(opts []kgo.Opt) {
		t.Helper()
		adm := kadm.NewClient(newClient(t, opts...))
		ends, err := adm.ListEndOffsets(t.Context(), "in")
		if err != nil {
			t.Fatal(err)
		}
		rs, err := adm.DeleteRecords(t.Context(), ends.Offsets())
		if err == nil {
			err = rs.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	end := func(opts []kgo.Opt) int64 {
		t.Helper()
		ends, err := kadm.NewClient(newClient(t, opts...)).ListEndOffsets(t.Context(), "in")
		if err != nil {
			t.Fatal(err)
		}
		o, _ := ends.Lookup("in", 0)
		return o.Offset
	}
	dir := committed(t)
	alone := copyDir(t, dir)
	c, opts := rawCluster(t, alone)
	purge(opts)
	c.Close()
	_, opts = rawCluster(t, alone)
	if at := end(opts); at != 0 {
		t.Errorf("kfake alone goes on at %d: the gap is not what this test closes", at)
	}
	b := openBroker(t, Config{Dir: dir})
	purge(b.ClientOpts())
	b = openBroker(t, Config{Dir: copyDir(t, dir)})
	if at := end(b.ClientOpts()); at != 2 {
		t.Errorf("the log goes on at %d, want 2", at)
	}
}

func TestGap_PurgeFreesDisk(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	b.createTopic(t, "loop", 1, nil)
	cl := b.client(t, kgo.ProducerBatchMaxBytes(1<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 24 {
		produce(t, cl, record("loop", 0, "k", strings.Repeat("v", 900<<10)))
	}
	before, err := b.Stats()
	if err != nil {
		t.Fatal(err)
	}
	adm := kadm.NewClient(cl)
	to := kadm.Offsets{}
	to.Add(kadm.Offset{Topic: "loop", Partition: 0, At: 24})
	if _, err := adm.DeleteRecords(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	after, err := b.Stats()
	if err != nil || before.LogBytes < 20<<20 || after.LogBytes > 2*segmentBytes {
		t.Errorf("%d bytes before, %d after, %v", before.LogBytes, after.LogBytes, err)
	}
}

func TestGap_ExpiredCommit(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	b := openBroker(t, Config{Dir: t.TempDir(), Now: clock})
	b.createTopic(t, "out", 1, nil)
	cl := b.client(t, kgo.TransactionalID("engine"), kgo.TransactionTimeout(5*time.Second))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, record("out", 0, "k", "late"))
	now = now.Add(5 * time.Second)
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); !errors.Is(err, kerr.ProducerFenced) {
		t.Errorf("a commit after its timeout: %v", err)
	}
	if b.slot.full {
		t.Error("a decision was written")
	}
}

// kfake had timed the transaction out, in one partition before the kill: the decision after it does not count.
func TestGap_DecisionAfterTimeout(t *testing.T) {
	dir := committed(t)
	dropCommits(t, dir)
	d := decodeDecision(readFile(t, filepath.Join(dir, "txn-decision")))
	for p := range int32(2) {
		dropLastBatch(t, dir, tp{"out", p})
	}
	part, seg := lastSegment(t, dir, tp{"out", 0})
	abort := marker(1, d.Producer, d.Epoch+1, 0, false, time.Now())
	if err := appendFile(seg.dat(part), abort, false); err != nil {
		t.Fatal(err)
	}
	dropLastBatch(t, dir, tp{"out", 2})
	b := openBroker(t, Config{Dir: dir})
	if got, at := values(readAll(t, b.ClientOpts(), "out")), groupOffsetAt(t, b.ClientOpts()); got != "" || at != -1 {
		t.Errorf("read %q at %d", got, at)
	}
	if r := b.Report(); r.Decision != DecisionVoid || r.AbortMarkers != 2 || r.CommitMarkers != 0 {
		t.Errorf("%+v", r)
	}
}

func TestGap_StopWithOpenTransaction(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir, Listen: "127.0.0.1:0"})
	b.createTopic(t, "out", 2, nil)
	addr := b.Addr()
	platform := b.cfg.Platform
	cl := b.client(t, kgo.TransactionalID("engine"), kgo.RecordDeliveryTimeout(5*time.Second))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, record("out", 0, "k", "before"))
	closeBroker(t, b)
	b = openBroker(t, Config{Dir: dir, Listen: addr, Platform: platform})
	// The client has outlived the stop and must not commit the half of its transaction that is left.
	err := cl.ProduceSync(t.Context(), record("out", 1, "k", "after")).FirstErr()
	if err == nil {
		err = cl.EndTransaction(t.Context(), kgo.TryCommit)
	}
	if err == nil {
		t.Error("half a transaction was committed")
	}
	if got := values(readAll(t, b.ClientOpts(), "out")); got != "" {
		t.Errorf("read %q", got)
	}
}

func TestGap_CleanerAndRetention(t *testing.T) {
	b := openBroker(t, Config{Dir: t.TempDir()})
	b.createTopic(t, "table", 1, map[string]string{"cleanup.policy": "compact"})
	for name, want := range map[string]string{"log.cleaner.backoff.ms": "9223372036854", "log.retention.ms": "-1", "log.retention.bytes": "-1", "offsets.retention.minutes": "35791394"} {
		rs, err := kadm.NewClient(b.client(t)).DescribeBrokerConfigs(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range rs[0].Configs {
			if c.Key == name {
				got = *c.Value
			}
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	old := record("table", 0, "k", "of last year")
	old.Timestamp = time.Now().Add(-400 * 24 * time.Hour)
	produce(t, b.client(t), old)
	b.cluster.ApplyRetention()
	if got := values(readAll(t, b.ClientOpts(), "table")); got != "0:of last year" {
		t.Errorf("read %q", got)
	}
	c, opts := rawCluster(t, t.TempDir())
	if err := c.CreateTopic("table", 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	produce(t, newClient(t, opts...), old)
	c.ApplyRetention()
	if got := kfakeView(t, opts, "table"); got != "" {
		t.Errorf("kfake alone keeps %q: the gap is not what this test closes", got)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
