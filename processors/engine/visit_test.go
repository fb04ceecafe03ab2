package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

func TestEngine_Visits(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		e := newEngine(t, b, n.Group, withStore(openStore(t, t.TempDir())))
		g := n.graph(0, goka.Visitor("add", e.Visitor(func(ctx goka.Context, _ any) {
			st := ctx.Value().(state)
			st.Version += 41
			ctx.SetValue(st)
			ctx.Emit(goka.Stream(n.Events), ctx.Key(), st)
		})))
		r := start(t, b, e, g).ready()
		n.produce(t, b, 1, 200, 100, 0)
		n.drained(t, b, 20*time.Second)
		var visited int64
		kafkatest.Eventually(t, 10*time.Second, "a visit of all keys", func() bool {
			var err error
			visited, err = e.VisitAll(t.Context(), r.Processor, "add", "x")
			must(t, err)
			return visited > 0
		})
		kafkatest.Eventually(t, 10*time.Second, "the events of the visit", func() bool { return int64(n.countEvents(t, b)) == 200+visited })
		kafkatest.Eventually(t, 5*time.Second, "the visit's state", func() bool { return committed(t, e, "key-000001").Version >= 43 })
		r.stop()
	})
}

// A visit that fails leaves nothing, though it has left the gate before goka knows.
func TestEngine_FailedVisit(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		e := newEngine(t, b, n.Group)
		g := n.graph(0, goka.Visitor("fail", e.Visitor(func(ctx goka.Context, _ any) {
			ctx.SetValue(state{666, 666})
			ctx.Fail(errors.New("as ordered"))
		})))
		r := start(t, b, e, g).ready()
		n.produce(t, b, 1, 1, 1, 0) // one key: goka counts aborted visits of other partitions in a race
		n.drained(t, b, 20*time.Second)
		kafkatest.Eventually(t, 5*time.Second, "the local commit", func() bool { return committed(t, e, string(keyOf(1, 1))).Version == 1 })
		if _, err := e.VisitAll(t.Context(), r.Processor, "fail", nil); !errors.Is(err, goka.ErrVisitAborted) {
			t.Errorf("VisitAll returned %v", err)
		}
		if err := r.end(); err == nil || !contains(err, "as ordered") {
			t.Fatalf("Run returned %v", err)
		}
		n.verify(t, b, 1, 1)
	})
}

// Engine.Emit does what ctx.Emit does, and refuses what goka would.
func TestEngine_Emit(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		e := newEngine(t, b, n.Group)
		topic := n.Events
		g := goka.DefineGroup(goka.Group(n.Group),
			goka.Input(goka.Stream(n.Commands), new(codec.Bytes), func(ctx goka.Context, _ any) {
				h := kgo.RecordHeader{Key: "nexus-meta", Value: []byte(ctx.Key())}
				e.Emit(ctx, engine.Record{Topic: topic, Key: "x" + ctx.Key(), Value: []byte(ctx.Key()), Partition: ctx.Partition(), Header: h})
				e.Emit(ctx, engine.Record{Topic: topic, Key: ctx.Key(), Value: []byte(ctx.Key()), Partition: -1, Header: h})
			}),
			goka.Output(goka.Stream(n.Events), new(codec.Bytes)))
		n.produce(t, b, 1, 50, 50, 0)
		r := start(t, b, e, g)
		n.drained(t, b, 20*time.Second)
		r.stop()
		got := 0
		readAll(t, b, n.Events, kgo.ReadCommitted(), func(r *kgo.Record) {
			got++
			if r.Partition != engine.PartitionOf(r.Value, partitions) || len(r.Headers) != 1 || string(r.Headers[0].Value) != string(r.Value) {
				t.Errorf("%s on partition %d with headers %v", r.Key, r.Partition, r.Headers)
			}
		})
		if got != 100 {
			t.Errorf("%d records", got)
		}
		topic = n.Commands
		n.produce(t, b, 51, 51, 50, 0)
		if err := start(t, b, e, g).end(); err == nil || !contains(err, "is no output") {
			t.Errorf("Run returned %v", err)
		}
	})
}
