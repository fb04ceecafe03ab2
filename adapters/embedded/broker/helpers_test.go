package broker

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("BROKER_TEST_CHILD"); role != "" {
		child(role)
		return
	}
	os.Exit(m.Run())
}

// openBroker opens a broker for a test and closes it at its end.
func openBroker(tb testing.TB, cfg Config) *Broker {
	tb.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(testWriter{tb}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	b, err := Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeBroker(tb, b) })
	return b
}

func closeBroker(tb testing.TB, b *Broker) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		tb.Error(err)
	}
}

// testWriter shows the broker's log with the test.
type testWriter struct{ tb testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.tb.Logf("%s", p)
	return len(p), nil
}

func newClient(tb testing.TB, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(cl.Close)
	return cl
}

func (b *Broker) client(tb testing.TB, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	return newClient(tb, append(b.ClientOpts(), append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)...)
}

func (b *Broker) createTopic(tb testing.TB, name string, partitions int32, configs map[string]string) {
	tb.Helper()
	if err := b.cluster.CreateTopic(name, partitions, configs); err != nil {
		tb.Fatal(err)
	}
}

func produce(tb testing.TB, cl *kgo.Client, records ...*kgo.Record) {
	tb.Helper()
	if err := cl.ProduceSync(tb.Context(), records...).FirstErr(); err != nil {
		tb.Fatal(err)
	}
}

func record(topic string, part int32, key, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: part, Key: []byte(key), Value: []byte(value)}
}

// readAll reads a topic to its end, committed records only, and returns them by partition. A partition whose end is
// never reached (its last records belong to a transaction without a marker) fails the test.
func readAll(tb testing.TB, opts []kgo.Opt, topic string) map[int32][]*kgo.Record {
	tb.Helper()
	out, err := readTopic(tb.Context(), opts, topic)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func readTopic(ctx context.Context, opts []kgo.Opt, topic string) (map[int32][]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	opts = append(opts[:len(opts):len(opts)], kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if s, _ := starts.Lookup(topic, o.Partition); o.Offset > s.Offset {
			left[o.Partition] = o.Offset
		}
	})
	out := map[int32][]*kgo.Record{}
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return nil, fmt.Errorf("reading %s, ends not reached %v: %w", topic, left, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				out[r.Partition] = append(out[r.Partition], r)
			}
		})
	}
	return out, nil
}

// rawCluster opens kfake itself on a folder, as it would be without this package.
func rawCluster(tb testing.TB, dir string, opts ...kfake.Opt) (*kfake.Cluster, []kgo.Opt) {
	tb.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.DataDir(dir)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c, []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}
}

// copyDir copies a data folder as it lies on disk at this moment: what a kill would leave.
func copyDir(tb testing.TB, from string) string {
	tb.Helper()
	to := tb.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		tb.Fatal(err)
	}
	return to
}

// lastSegment is the newest segment of a partition, without its suffix.
func lastSegment(tb testing.TB, dir string, t tp) (string, segment) {
	tb.Helper()
	part := filepath.Join(dir, "partitions", t.dirName())
	segs, err := listSegments(part)
	if err != nil || len(segs) == 0 {
		tb.Fatalf("no segments in %s: %v", part, err)
	}
	return part, segs[len(segs)-1]
}

// values renders what was read as "partition:value,value ...".
func values(read map[int32][]*kgo.Record) string {
	var parts []string
	for p, rs := range read {
		var vs []string
		for _, r := range rs {
			vs = append(vs, string(r.Value))
		}
		parts = append(parts, fmt.Sprintf("%d:%s", p, strings.Join(vs, ",")))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func write(tb testing.TB, path, content string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// listing names all files of a folder with their sizes, the lock aside.
func listing(tb testing.TB, dir string) string {
	tb.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		info, err := d.Info()
		out = append(out, fmt.Sprintf("%s %d", strings.TrimPrefix(path, dir), info.Size()))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
