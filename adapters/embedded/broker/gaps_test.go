package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Each gap of kfake is shown twice on the disk state that a kill leaves: kfake alone falls into it, the broker does not.

// committed writes one transaction over three partitions with an offset, and returns the folder as a kill right after
// the acknowledgement leaves it.
func committed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	b.createTopic(t, "in", 1, nil)
	b.createTopic(t, "out", 3, nil)
	produce(t, b.client(t), record("in", 0, "k", "1"), record("in", 0, "k", "2"))
	transact(t, b.ClientOpts(), "out")
	return copyDir(t, dir)
}

// transact consumes topic in in group g and writes one record to each of three partitions, committed.
func transact(t *testing.T, opts []kgo.Opt, out string) {
	t.Helper()
	opts = append(opts[:len(opts):len(opts)], kgo.TransactionalID("engine"), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets())
	s, err := kgo.NewGroupTransactSession(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if fs := s.PollFetches(t.Context()); fs.NumRecords() != 2 {
		t.Fatalf("polled %d records, %v", fs.NumRecords(), fs.Err())
	}
	if err := s.Begin(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(3) {
		s.Produce(t.Context(), record(out, p, "k", "done"), func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if ok, err := s.End(t.Context(), kgo.TryCommit); !ok || err != nil {
		t.Fatalf("commit: %v, %v", ok, err)
	}
}

// dropLastBatch undoes the last write to a partition.
func dropLastBatch(t *testing.T, dir string, at tp) {
	t.Helper()
	part, seg := lastSegment(t, dir, at)
	raw, err := os.ReadFile(seg.dat(part))
	if err != nil {
		t.Fatal(err)
	}
	last := int64(0)
	if _, err := eachBatch(raw, func(pos int64, _ *batch) error { last = pos; return nil }); err != nil {
		t.Fatal(err)
	}
	truncate(t, seg.dat(part), last)
	truncate(t, seg.idx(part), seg.idxSize-indexEntryBytes)
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func groupOffsetAt(t *testing.T, opts []kgo.Opt) int64 {
	t.Helper()
	offsets, err := kadm.NewClient(newClient(t, opts...)).FetchOffsets(t.Context(), "g")
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup("in", 0); ok {
		return o.At
	}
	return -1
}

// dropCommits undoes the offset commit.
func dropCommits(t *testing.T, dir string) {
	t.Helper()
	dropLogEntries(t, filepath.Join(dir, "groups.log"), func(body []byte) bool { return bytes.Contains(body, []byte(`"commit"`)) })
}

func dropLogEntries(t *testing.T, path string, drop func(body []byte) bool) {
	t.Helper()
	var kept []byte
	if _, err := eachLogEntry(readFile(t, path), func(body []byte) (err error) {
		if !drop(body) {
			kept, err = appendLogEntry(kept, json.RawMessage(body))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	write(t, path, string(kept))
}

func TestGap_CommitTornByKill(t *testing.T) {
	all := committed(t)
	const whole = "0:done 1:done 2:done"
	cases := []struct {
		name    string
		undo    func(t *testing.T, dir string)
		raw     string // what kfake alone then shows
		markers int
	}{
		{"one marker is missing", func(t *testing.T, dir string) {
			dropLastBatch(t, dir, tp{"out", 1})
			dropCommits(t, dir)
		}, "0:done 2:done", 1},
		{"no marker was written yet", func(t *testing.T, dir string) {
			for p := range int32(3) {
				dropLastBatch(t, dir, tp{"out", p})
			}
			dropCommits(t, dir)
		}, "", 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := copyDir(t, all)
			c.undo(t, dir)
			alone := copyDir(t, dir)
			_, opts := rawCluster(t, alone)
			if got, at := kfakeView(t, opts, "out"), groupOffsetAt(t, opts); got != c.raw || at != -1 {
				t.Errorf("kfake alone shows %q at offset %d: the gap is not what this test closes", got, at)
			}
			b := openBroker(t, Config{Dir: dir})
			if got := values(readAll(t, b.ClientOpts(), "out")); got != whole {
				t.Errorf("read %q", got)
			}
			if at := groupOffsetAt(t, b.ClientOpts()); at != 2 {
				t.Errorf("offset %d", at)
			}
			if r := b.Report(); r.Decision != DecisionCompleted || r.CommitMarkers != c.markers || r.AbortMarkers != 0 || r.OffsetsMoved != 1 || r.Clean {
				t.Errorf("%+v", r)
			}
		})
	}
	t.Run("all markers are there, the offsets are not", func(t *testing.T) {
		dir := copyDir(t, all)
		dropCommits(t, dir)
		b := openBroker(t, Config{Dir: dir})
		if r := b.Report(); r.Decision != DecisionDone || r.CommitMarkers != 0 || r.OffsetsMoved != 1 {
			t.Errorf("%+v", r)
		}
		if at := groupOffsetAt(t, b.ClientOpts()); at != 2 {
			t.Errorf("offset %d", at)
		}
	})
	t.Run("the decision itself is torn: aborted", func(t *testing.T) {
		dir := copyDir(t, all)
		cases[1].undo(t, dir)
		slot := filepath.Join(dir, "txn-decision")
		truncate(t, slot, 40)
		b := openBroker(t, Config{Dir: dir})
		if got, at := values(readAll(t, b.ClientOpts(), "out")), groupOffsetAt(t, b.ClientOpts()); got != "" || at != -1 {
			t.Errorf("read %q at %d", got, at)
		}
		if r := b.Report(); r.Decision != NoDecision || r.AbortMarkers != 3 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a client that outlived the broker hears that its commit is done", func(t *testing.T) {
		dir := copyDir(t, all)
		cases[1].undo(t, dir)
		d := decodeDecision(readFile(t, filepath.Join(dir, "txn-decision")))
		// As of before kfake wrote anything: the epoch is still the transaction's.
		dropLogEntries(t, filepath.Join(dir, "pids.log"), func(body []byte) bool {
			var e producerEntry
			return json.Unmarshal(body, &e) != nil || e.ID == d.Producer && (e.Type != "init" || e.Epoch > d.Epoch)
		})
		b := openBroker(t, Config{Dir: dir})
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = d.TxnID, d.Producer, d.Epoch, true
		resp, err := req.RequestWith(t.Context(), b.client(t))
		if err != nil || resp.ErrorCode != 0 || resp.ProducerEpoch != d.Epoch+1 {
			t.Errorf("%+v, %v", resp, err)
		}
	})
}

// kfakeView reads with a bound: alone, kfake may never show the end of a partition.
func kfakeView(t *testing.T, opts []kgo.Opt, topic string) string {
	t.Helper()
	cl := newClient(t, append(opts[:len(opts):len(opts)], kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(50*time.Millisecond))...)
	out := map[int32][]*kgo.Record{}
	for quiet := false; !quiet; {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		fs := cl.PollFetches(ctx)
		cancel()
		quiet = fs.NumRecords() == 0
		fs.EachRecord(func(r *kgo.Record) { out[r.Partition] = append(out[r.Partition], r) })
	}
	return values(out)
}

// openTxn leaves a transaction open with one record and returns the folder as a kill leaves it.
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
