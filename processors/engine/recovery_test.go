package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// A hot standby keeps the partitions of the other instance up to date.
func TestEngine_HotStandby(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		ea, eb := newEngine(t, b, n.Group), newEngine(t, b, n.Group, withID("b"))
		ra := start(t, b, ea, n.graph(0), goka.WithHotStandby()).ready()
		rb := start(t, b, eb, n.graph(0), goka.WithHotStandby()).ready()
		n.produce(t, b, 1, 4000, 100, 0)
		n.drained(t, b, 30*time.Second)
		knowsAll := func(r *running) {
			for id := uint64(1); id <= 100; id++ {
				kafkatest.Eventually(t, 20*time.Second, fmt.Sprint("key ", id), func() bool {
					v, err := r.Get(string(keyOf(id, 100)))
					return err == nil && v != nil && v.(state).Version == 40
				})
			}
		}
		knowsAll(ra)
		knowsAll(rb)
		here, elsewhere := 0, 0
		for p := range int32(partitions) {
			switch _, err := ea.Committed(p, "x"); {
			case err == nil:
				here++
			case errors.Is(err, engine.ErrNotHere):
				elsewhere++
			default:
				t.Error(err)
			}
		}
		if here != partitions/2 || elsewhere != partitions/2 {
			t.Errorf("%d partitions here, %d elsewhere", here, elsewhere)
		}
		rc := start(t, b, newEngine(t, b, n.Group, withID("c")), n.graph(0), goka.WithHotStandby()).ready()
		knowsAll(rc) // from a cold store
		rc.stop()
		rb.stop()
		ra.stop()
		n.verify(t, b, 4000, 100)
	})
}

// An open transaction of somebody else on the table's partition holds recovery up
// until it ends.
func TestEngine_RecoveryWaitsForForeignTransaction(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		foreign := b.Client(t, kgo.TransactionalID(b.Prefix+"foreign"), kgo.RecordPartitioner(engine.Partitioner()))
		must(t, foreign.BeginTransaction())
		v, _ := stateCodec{}.Encode(state{77, 77})
		must(t, foreign.ProduceSync(t.Context(), &kgo.Record{Topic: n.Table, Key: []byte("z"), Value: v}).FirstErr())
		e := newEngine(t, b, n.Group)
		r := start(t, b, e, n.graph(0))
		short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := r.WaitForReadyContext(short); err == nil {
			t.Fatal("recovered over an open transaction")
		}
		if _, err := e.Committed(engine.PartitionOf("z", partitions), "z"); !errors.Is(err, engine.ErrCatchingUp) {
			t.Errorf("Committed returned %v", err)
		}
		must(t, foreign.EndTransaction(t.Context(), kgo.TryCommit))
		r.ready()
		if got := committed(t, e, "z"); got.Version != 77 {
			t.Fatalf("table has %v", got)
		}
		r.stop()
	})
}

// Everything in the table topic was deleted: it begins where it ends, after our
// offset. The local copy must not outlive it.
func TestEngine_EmptiedTable(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		s := openStore(t, t.TempDir())
		n.produce(t, b, 1, 400, 100, 0)
		r := start(t, b, newEngine(t, b, n.Group, withStore(s)), n.graph(0))
		n.drained(t, b, 20*time.Second)
		r.stop()
		adm := kadm.NewClient(b.Client(t))
		ends, err := adm.ListEndOffsets(t.Context(), n.Table)
		must(t, err)
		policy := func(v string) { // Kafka deletes no records of a topic that is only compacted
			rs, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &v}}, n.Table)
			must(t, err)
			must(t, rs[0].Err)
		}
		policy("delete")
		kafkatest.Eventually(t, 10*time.Second, "the table is empty", func() bool {
			ds, err := adm.DeleteRecords(t.Context(), ends.Offsets())
			must(t, err)
			return ds.Error() == nil
		})
		policy("compact")
		for _, change := range []func(*engine.Config){withStore(s), withID("b")} {
			e := newEngine(t, b, n.Group, change)
			r = start(t, b, e, n.graph(0)).ready()
			kafkatest.Eventually(t, 5*time.Second, "running", func() bool {
				_, err := e.Committed(0, "x")
				return !errors.Is(err, engine.ErrCatchingUp)
			})
			if got := committed(t, e, "key-000001"); got.Version != 0 {
				t.Errorf("an emptied table holds %v", got)
			}
			r.stop()
		}
	})
}
