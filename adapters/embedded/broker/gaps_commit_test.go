package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
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
			t.Helper()
			dropLastBatch(t, dir, tp{"out", 1})
			dropCommits(t, dir)
		}, "0:done 2:done", 1},
		{"no marker was written yet", func(t *testing.T, dir string) {
			t.Helper()
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
