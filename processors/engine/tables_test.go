package engine_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// A view, a join and a lookup read a table that transactions write. goka's own
// consumer never finishes such a recovery.
func TestTables_ViewJoinAndLookup(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		s := openStore(t, t.TempDir())
		n.produce(t, b, 1, 1000, 100, 0)
		e := newEngine(t, b, n.Group, withStore(s))
		r := start(t, b, e, n.graph(0))
		n.drained(t, b, 20*time.Second)

		t.Run("view", func(t *testing.T) { // beside the processor, in one store
			v := startView(t, b, n, newEngine(t, b, n.Group+"-view", withStore(s)))
			if got, err := v.Get("key-000001"); err != nil || got.(state).Version != 10 {
				t.Fatalf("view has %v %v", got, err)
			}
			n.produce(t, b, 1001, 1100, 100, 0)
			kafkatest.Eventually(t, 10*time.Second, "the view follows", func() bool {
				got, err := v.Get("key-000001")
				return err == nil && got.(state).Version == 11
			})
			it, err := v.Iterator()
			must(t, err)
			defer it.Release()
			keys := 0
			for it.Next() {
				keys++
			}
			if keys != 100 {
				t.Errorf("iterated over %d keys", keys)
			}
		})
		n.drained(t, b, 20*time.Second)
		r.stop()

		for _, c := range []struct {
			name string
			edge goka.Edge
			get  func(goka.Context) any
		}{
			{"join", goka.Join(goka.Table(n.Table), stateCodec{}), func(ctx goka.Context) any { return ctx.Join(goka.Table(n.Table)) }},
			{"lookup", goka.Lookup(goka.Table(n.Table), stateCodec{}), func(ctx goka.Context) any { return ctx.Lookup(goka.Table(n.Table), "key-000007") }},
		} {
			t.Run(c.name, func(t *testing.T) {
				n2 := namesOf(b.Prefix + c.name + ".")
				n2.create(t, b, partitions)
				g := goka.DefineGroup(goka.Group(n2.Group), c.edge, goka.Persist(new(codec.Int64)),
					goka.Input(goka.Stream(n2.Commands), new(codec.Bytes), func(ctx goka.Context, _ any) {
						ctx.SetValue(int64(c.get(ctx).(state).Version))
					}))
				r := start(t, b, newEngine(t, b, n2.Group, withStore(s)), g)
				n2.produce(t, b, 1, 100, 100, 0)
				n2.drained(t, b, 20*time.Second)
				r.ready()
				if got, err := r.Get("key-000001"); err != nil || got.(int64) != 11 {
					t.Fatalf("got %v %v", got, err)
				}
				r.stop()
			})
		}
	})
}

func startView(t *testing.T, b *kafkatest.Broker, n names, e *engine.Engine) *goka.View {
	t.Helper()
	v, err := goka.NewView(b.Addrs, goka.Table(n.Table), stateCodec{}, e.ViewOptions()...)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the view ended with %v", err)
		}
	})
	select {
	case <-v.WaitRunning():
	case <-time.After(20 * time.Second):
		t.Fatal("the view does not recover")
	}
	return v
}

// The end of a table may hold nothing that a consumer is ever given. Here: a broker
// died with a transaction open and aborted it at its next start without writing a
// marker. Recovery must end all the same, and at once.
func TestTables_RecoveryEndsWhereNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	b := kafkatest.Kfake(t, kfake.DataDir(dir))
	n := setup(t, b)
	n.produce(t, b, 1, 400, 100, 0)
	r := start(t, b, newEngine(t, b, n.Group), n.graph(0))
	n.drained(t, b, 20*time.Second)
	r.stop()
	open := b.Client(t, kgo.TransactionalID(b.Prefix+"dead"), kgo.TransactionTimeout(time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, open.BeginTransaction())
	for p := range int32(partitions) {
		must(t, open.ProduceSync(t.Context(), &kgo.Record{Topic: n.Table, Partition: p, Key: []byte("dead"), Value: []byte("dead")}).FirstErr())
	}
	image := t.TempDir() // what a kill now would leave
	must(t, os.CopyFS(image, os.DirFS(dir)))
	after := kafkatest.Kfake(t, kfake.DataDir(image))

	cl := after.Client(t)
	if stable, high := stableEnd(t, cl, n.Table), highEnd(t, cl, n.Table); stable != high {
		t.Fatalf("a transaction is open: the last stable offsets are %d, the high watermarks %d", stable, high)
	}
	e := newEngine(t, after, n.Group)
	began := time.Now()
	r = start(t, after, e, n.graph(0)).ready()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("recovery took %v", took)
	}
	for k := range 100 {
		key := fmt.Sprintf("key-%06d", k)
		kafkatest.Eventually(t, 5*time.Second, "running", func() bool {
			_, err := e.Committed(engine.PartitionOf(key, partitions), key)
			return err == nil
		})
		if got := committed(t, e, key); got.Version != 4 {
			t.Fatalf("%s is %v", key, got)
		}
	}
	if st := e.Stats(); st.Restored != st.RestoreTotal || st.Restored != highEnd(t, cl, n.Table) {
		t.Errorf("restored %d of %d", st.Restored, st.RestoreTotal)
	}
	r.stop()
}
