package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/processors/engine"
)

func TestMain(m *testing.M) { runMain(m) }

// setup creates the counter's topics.
func setup(t *testing.T, b *kafkatest.Broker) names {
	t.Helper()
	n := namesOf(b.Prefix)
	n.create(t, b, partitions)
	return n
}

// stored is a store and the local store that it is a part of.
type stored struct {
	*engine.Store
	ls *localstore.Store
}

func (s stored) Close() error { return s.ls.Close() }

// reopen opens what may have been used before; that it was thrown away as damaged fails the test.
func reopen(t testing.TB, dir string, opts ...engine.StoreOption) stored {
	t.Helper()
	ls, err := localstore.Open(dir, localstore.Options{Logger: slog.New(slog.NewTextHandler(complaint{t}, nil))})
	must(t, err)
	s, err := engine.NewStore(ls, opts...)
	must(t, err)
	return stored{s, ls}
}

type complaint struct{ t testing.TB }

func (c complaint) Write(line []byte) (int, error) {
	c.t.Errorf("local store: %s", line)
	return len(line), nil
}

func openStore(t testing.TB, dir string) *engine.Store {
	t.Helper()
	s := reopen(t, dir)
	t.Cleanup(func() { must(t, s.Close()) })
	return s.Store
}

func newEngine(t testing.TB, b *kafkatest.Broker, group string, change ...func(*engine.Config)) *engine.Engine {
	t.Helper()
	c := engine.Config{Brokers: b.Addrs, Group: group, InstanceID: "a", SessionTimeout: 6 * time.Second, TxnTimeout: 6 * time.Second}
	for _, f := range change {
		f(&c)
	}
	e, err := engine.New(c)
	must(t, err)
	t.Cleanup(e.Close)
	return e
}

func withStore(s *engine.Store) func(*engine.Config) { return func(c *engine.Config) { c.Store = s } }

func withID(id string) func(*engine.Config) { return func(c *engine.Config) { c.InstanceID = id } }

// running is a processor that was started.
type running struct {
	*goka.Processor
	t      testing.TB
	cancel context.CancelFunc
	ended  chan error
}

func start(t testing.TB, b *kafkatest.Broker, e *engine.Engine, g *goka.GroupGraph, more ...goka.ProcessorOption) *running {
	t.Helper()
	p, err := goka.NewProcessor(b.Addrs, g, append(more, e.Options()...)...)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Processor: p, t: t, cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- p.Run(ctx) }()
	t.Cleanup(cancel)
	return r
}

func (r *running) ready() *running {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	must(r.t, r.WaitForReadyContext(ctx))
	return r
}

// end waits until Run returns.
func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(40 * time.Second):
		r.t.Fatal("the processor does not end")
		return nil
	}
}

func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	must(r.t, r.end())
}

func committed(t testing.TB, e *engine.Engine, key string) state {
	t.Helper()
	v, err := e.Committed(engine.PartitionOf(key, partitions), key)
	must(t, err)
	if v == nil {
		return state{}
	}
	st, err := decodeState(v)
	must(t, err)
	return st
}

func TestEngine_CountsEachCommandOnce(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		n.produce(t, b, 1, 5000, 100, 7)
		stores := map[string]*engine.Store{"a": openStore(t, t.TempDir()), "b": openStore(t, t.TempDir())}
		// A second start on the same store is warm, one on an empty store is cold: both
		// know the same table.
		for i, id := range []string{"a", "a", "b"} {
			e := newEngine(t, b, n.Group, withID(id), withStore(stores[id]))
			r := start(t, b, e, n.graph(0))
			n.produce(t, b, uint64(5001+i*1000), uint64(6000+i*1000), 100, 7)
			n.drained(t, b, 20*time.Second)
			r.ready()
			want := uint64(50 + 10*(i+1))
			kafkatest.Eventually(t, 5*time.Second, "the local commit", func() bool { return committed(t, e, "key-000001").Version == want })
			r.stop()
		}
		n.verify(t, b, 8000, 100)
	})
}

func TestEngine_WarmRestartReadsNoTable(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		dir := t.TempDir()
		n.produce(t, b, 1, 5000, 1000, 0)
		for _, want := range []struct {
			name     string
			restored func(int64) bool
		}{
			{"cold", func(r int64) bool { return r == 0 }},
			{"warm", func(r int64) bool { return r <= 2*partitions }}, // the markers after the last record
		} {
			s := reopen(t, dir)
			e := newEngine(t, b, n.Group, withStore(s.Store))
			r := start(t, b, e, n.graph(0))
			n.drained(t, b, 20*time.Second)
			r.ready()
			if got := e.Stats().Restored; !want.restored(got) {
				t.Errorf("%s start restored %d offsets", want.name, got)
			}
			if got := committed(t, e, "key-000001").Version; got != 5 {
				t.Errorf("%s start: version %d", want.name, got)
			}
			r.stop()
			must(t, s.Close())
		}
	})
}

func TestEngine_HotKeyCostsOneTableRecordPerCommit(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		n.produce(t, b, 1, 3000, 1, 0)
		e := newEngine(t, b, n.Group)
		r := start(t, b, e, n.graph(0))
		n.drained(t, b, 20*time.Second)
		r.stop()
		n.verify(t, b, 3000, 1)
		records := 0
		readAll(t, b, n.Table, kgo.ReadUncommitted(), func(*kgo.Record) { records++ })
		if st := e.Stats(); int64(records) != st.Commits || st.TableRecords != st.Commits || st.Records != 3000 {
			t.Errorf("%d records in the table topic after %+v", records, st)
		}
	})
}

// What waits for a slow processor is more than one transaction has time for: the broker
// would abort it, and the same records would come again.
func TestEngine_SlowCallbacksWithABacklog(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		n.produce(t, b, 1, 1_000, 1, 0)
		e := newEngine(t, b, n.Group, func(c *engine.Config) { c.TxnTimeout = 3 * time.Second })
		r := start(t, b, e, n.graphWith(func(ctx goka.Context, m any) {
			time.Sleep(4 * time.Millisecond)
			n.count(ctx, m)
		}))
		n.drained(t, b, 30*time.Second)
		r.stop()
		n.verify(t, b, 1_000, 1)
		if st := e.Stats(); st.Aborts > 0 || st.Sessions != 1 {
			t.Errorf("%d transactions were aborted in %d sessions", st.Aborts, st.Sessions)
		}
	})
}

// A callback that fails or panics ends the processor with its error, and nothing of
// its transaction is visible: neither the good callbacks' events nor their table
// records, neither in Kafka nor in the local store.
func TestEngine_FailedCallback(t *testing.T) {
	for _, how := range []struct {
		name string
		fail func(goka.Context)
	}{
		{"fails", func(ctx goka.Context) { ctx.Fail(errors.New("as ordered")) }},
		{"panics", func(goka.Context) { panic("as ordered") }},
	} {
		t.Run(how.name, func(t *testing.T) {
			kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
				n := setup(t, b)
				var fail atomic.Bool
				fail.Store(true)
				g := goka.DefineGroup(goka.Group(n.Group),
					goka.Input(goka.Stream(n.Commands), new(codec.String), func(ctx goka.Context, m any) {
						c, _ := ctx.Value().(int64)
						ctx.SetValue(c + 1)
						ctx.Emit(goka.Stream(n.Events), ctx.Key(), m.(string))
						if m.(string) == "bad" && fail.Load() {
							how.fail(ctx)
						}
					}),
					goka.Output(goka.Stream(n.Events), new(codec.String)), goka.Persist(new(codec.Int64)))
				cl := b.Client(t, kgo.RecordPartitioner(engine.Partitioner()))
				for _, v := range []string{"good", "good", "bad"} {
					must(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: n.Commands, Key: []byte("k"), Value: []byte(v)}).FirstErr())
				}
				s := openStore(t, t.TempDir())
				e := newEngine(t, b, n.Group, withStore(s), func(c *engine.Config) { c.CommitMin, c.CommitMax = time.Second, time.Second })
				if err := start(t, b, e, g).end(); err == nil || !strings.Contains(err.Error(), "as ordered") {
					t.Fatalf("Run returned %v", err)
				}
				if err := e.Err(); err == nil || !strings.Contains(err.Error(), "as ordered") || errors.Is(err, engine.ErrFenced) {
					t.Errorf("Err returned %v", err)
				}
				if c := n.countEvents(t, b); c != 0 {
					t.Fatalf("%d events are visible", c)
				}
				fail.Store(false)
				e = newEngine(t, b, n.Group, withStore(s))
				r := start(t, b, e, g)
				n.drained(t, b, 20*time.Second)
				r.ready()
				if v, err := r.Get("k"); err != nil || v.(int64) != 3 {
					t.Fatalf("counted %v %v", v, err)
				}
				r.stop()
			})
		})
	}
}

// A key on a foreign partition must not scatter the table: the callers make dead
// letters of such records, and the engine refuses the write.
func TestEngine_RefusesForeignKey(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		cl := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		r := command(n.Commands, 1, 10)
		r.Partition = (engine.PartitionOf(r.Key, partitions) + 1) % partitions
		must(t, cl.ProduceSync(t.Context(), r).FirstErr())
		err := start(t, b, newEngine(t, b, n.Group), n.graph(0)).end()
		if err == nil || !strings.Contains(err.Error(), "belongs to partition") {
			t.Fatalf("Run returned %v", err)
		}
		if got := n.tableNow(t, b); len(got) != 0 {
			t.Errorf("table holds %v", got)
		}
	})
}

func TestEngine_OversizedRecord(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		size := 7 << 20
		g := goka.DefineGroup(goka.Group(n.Group),
			goka.Input(goka.Stream(n.Commands), new(codec.String), func(ctx goka.Context, m any) {
				v := make([]byte, size)
				for i := range v { // hard to compress
					v[i] = byte(i * i >> 7)
				}
				ctx.SetValue(v)
				ctx.Emit(goka.Stream(n.Events), ctx.Key(), "event")
			}),
			goka.Output(goka.Stream(n.Events), new(codec.String)), goka.Persist(new(codec.Bytes)))
		cl := b.Client(t, kgo.RecordPartitioner(engine.Partitioner()))
		send := func() {
			must(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: n.Commands, Key: []byte("big"), Value: []byte("x")}).FirstErr())
		}
		send()
		e := newEngine(t, b, n.Group)
		r := start(t, b, e, g)
		n.drained(t, b, 30*time.Second)
		r.stop()
		if c := n.countEvents(t, b); c != 1 {
			t.Fatalf("%d events of a state that fits", c)
		}
		size = 9 << 20
		send()
		e = newEngine(t, b, n.Group)
		var large *engine.TooLargeError
		if err := e.CheckState("big", size); !errors.As(err, &large) || large.Topic != n.Table {
			t.Errorf("CheckState returned %v", err)
		}
		if err := e.CheckState("big", 7<<20); err != nil {
			t.Errorf("CheckState returned %v", err)
		}
		if err := start(t, b, e, g).end(); err == nil || !errors.As(e.Err(), &large) {
			t.Fatalf("Run returned %v, Err %v", err, e.Err())
		}
		if large.Topic != n.Table || large.Key != "big" || large.Bytes != size+3 {
			t.Errorf("error names %+v", large)
		}
		if c := n.countEvents(t, b); c != 1 {
			t.Errorf("%d events are visible", c)
		}
	})
}

func newProcessor(b *kafkatest.Broker, e *engine.Engine, g *goka.GroupGraph) (*goka.Processor, error) {
	return goka.NewProcessor(b.Addrs, g, e.Options()...)
}

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }
