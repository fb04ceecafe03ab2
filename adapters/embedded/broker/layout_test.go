package broker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLayout pins what this package knows of kfake's private files. If an upgrade of kfake breaks it, read its persist.go
// before anything is shipped: repair, compaction and the refusal on failed writes stand on it.
func TestLayout(t *testing.T) {
	dir := t.TempDir()
	c, opts := rawCluster(t, dir)
	if err := c.CreateTopic("a/topic", 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, newClient(t, opts...), record("a/topic", 0, "k", "v"))
	if _, err := os.Stat(filepath.Join(dir, "partitions", tp{"a/topic", 0}.dirName(), "0.dat")); err != nil {
		t.Errorf("folders are not named by url.PathEscape: %v", err)
	}
	const topic = "shop.order-table"
	if err := c.CreateTopic(topic, 2, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	cl := newClient(t, append(opts, kgo.TransactionalID("engine"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, cl, record(topic, 1, "k", "v"))
		if err := cl.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	o := kadm.Offsets{}
	o.Add(kadm.Offset{Topic: topic, Partition: 1, At: 3, LeaderEpoch: -1})
	if err := kadm.NewClient(cl).CommitAllOffsets(t.Context(), "g", o); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(dir, "partitions", "shop.order-table-1")

	t.Run("a segment is record batches end to end, an index entry 15 bytes", func(t *testing.T) {
		raw := readFile(t, filepath.Join(part, "0.dat"))
		var index []byte
		var kinds []string
		end, err := eachBatch(raw, func(_ int64, b *batch) error {
			e := indexEntry(b.leaderEpoch, b.maxTime, b.inTxn())
			index = append(index, e[:]...)
			kinds = append(kinds, map[bool]string{true: "marker", false: "data"}[b.control()])
			return nil
		})
		if err != nil || end != int64(len(raw)) || !slices.Equal(kinds, []string{"data", "marker", "data", "marker"}) {
			t.Fatalf("%d of %d bytes, %v, %v", end, len(raw), kinds, err)
		}
		got := readFile(t, filepath.Join(part, "0.idx"))
		if len(got) != len(index) {
			t.Fatalf("index of %d bytes, want %d", len(got), len(index))
		}
		for i := 0; i < len(got); i += indexEntryBytes {
			// The running maximum of times may be a later one than the batch's own.
			if got[i] != index[i] || !slices.Equal(got[i+2:i+6], index[i+2:i+6]) || got[i+14] != index[i+14] {
				t.Errorf("entry %d: %v, want %v", i/indexEntryBytes, got[i:i+15], index[i:i+15])
			}
		}
	})
	t.Run("a marker is what kfake writes", func(t *testing.T) {
		raw := readFile(t, filepath.Join(part, "0.dat"))
		_, _ = eachBatch(raw, func(_ int64, b *batch) error {
			if b.control() {
				own := marker(b.offset, b.producer, b.epoch, b.leaderEpoch, b.commits(), time.UnixMilli(b.firstTime))
				if !slices.Equal(own, b.raw) {
					t.Errorf("marker at %d:\n%x, want\n%x", b.offset, own, b.raw)
				}
			}
			return nil
		})
	})
	t.Run("the logs of groups and producers are framed entries", func(t *testing.T) {
		types := map[string]string{}
		for name, want := range map[string][]string{"groups.log": {"commit"}, "pids.log": {"init", "endtx"}} {
			raw := readFile(t, filepath.Join(dir, name))
			n, err := eachLogEntry(raw, func(body []byte) error {
				var e struct {
					Type string `json:"type"`
				}
				types[name] += e.Type
				err := json.Unmarshal(body, &e)
				types[name] += " " + e.Type
				return err
			})
			if err != nil || n != len(raw) {
				t.Errorf("%s: %d of %d bytes, %v", name, n, len(raw), err)
			}
			for _, w := range want {
				if !strings.Contains(types[name], w) {
					t.Errorf("%s holds%s, no %s", name, types[name], w)
				}
			}
		}
	})

	killed := copyDir(t, dir)
	c.Close()
	t.Run("a clean stop writes a snapshot like the one a start rebuilds", func(t *testing.T) {
		want, err := readSnapshot(part)
		if err != nil || want == nil {
			t.Fatalf("%v, %v", want, err)
		}
		s, err := scanPartition(dir, tp{topic, 1}, nil)
		if err != nil || !s.fits {
			t.Errorf("want %+v, got %+v, %v", *want, s.snap, err)
		}
		s, err = scanPartition(killed, tp{topic, 1}, nil)
		if err != nil || s.snap.HighWatermark != want.HighWatermark || !slices.Equal(s.snap.AbortedTxns, want.AbortedTxns) || len(s.snap.AbortedTxns) != 1 {
			t.Errorf("without a snapshot: want %+v, got %+v, %v", *want, s.snap, err)
		}
	})
	t.Run("topics.json names topics, partitions and settings", func(t *testing.T) {
		topics, err := readTopics(dir)
		if err != nil || len(topics) != 2 || topics[1].Name != topic || topics[1].Partitions != 2 || !topics[1].compacted() {
			t.Errorf("%+v, %v", topics, err)
		}
	})
	t.Run("what a start throws away has the names that kfake gives it", func(t *testing.T) {
		for _, name := range []string{"sasl.json", "acls.json", "broker_configs.json", "seq_windows.json", "meta.json"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("kfake opens what a start has rebuilt without replaying it", func(t *testing.T) {
		b := openBroker(t, Config{Dir: killed, tune: eager})
		if got := values(readAll(t, b.ClientOpts(), topic)); got != "1:v" {
			t.Errorf("read %q", got)
		}
		if info := b.cluster.PartitionInfo(topic, 1); info.HighWatermark != 4 || info.LastStableOffset != 4 {
			t.Errorf("%+v", info)
		}
	})
}

// TestLayout_FailedWrites pins the messages by which kfake alone tells that a write has failed.
func TestLayout_FailedWrites(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	b.createTopic(t, "out", 1, nil)
	// A file where the partition's folder would be.
	write(t, filepath.Join(dir, "partitions", "out-0"), "")
	if err := b.client(t).ProduceSync(t.Context(), record("out", 0, "k", "v")).FirstErr(); err == nil {
		t.Error("a produce without a folder succeeded")
	}
	if b.hooks.broken.Load() == nil {
		t.Error("the failed write went unnoticed")
	}
}
