package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// What other languages' producers choose, from Kafka's own test vectors.
func TestPartitionOf(t *testing.T) {
	for key, hash := range map[string]int32{ // org.apache.kafka.common.utils.UtilsTest.testMurmur2
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string":                       -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		for n := int32(1); n < 40; n++ {
			want := int32(uint32(hash)&0x7fffffff) % n
			if got := engine.PartitionOf(key, n); got != want {
				t.Errorf("PartitionOf(%q, %d) = %d, want %d", key, n, got, want)
			}
			if got := engine.PartitionOf([]byte(key), n); got != want {
				t.Errorf("PartitionOf([]byte(%q), %d) = %d, want %d", key, n, got, want)
			}
			if got := engine.Partitioner().ForTopic("t").Partition(&kgo.Record{Key: []byte(key)}, int(n)); got != int(want) {
				t.Errorf("Partitioner gives %q %d of %d, want %d", key, got, n, want)
			}
		}
		h := engine.Hasher()()
		_, _ = h.Write([]byte(key[:1]))
		_, _ = h.Write([]byte(key[1:]))
		if got := int32(h.Sum32()); got != int32(uint32(hash)&0x7fffffff) {
			t.Errorf("Hasher gives %q %d, want %d with the sign bit masked", key, got, hash)
		}
	}
}

// Emit may force a record onto a partition; headers reach the broker; table records
// carry their headers.
func TestEmit_HeadersAndPartition(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		e := newEngine(t, b, n.Group)
		meta := func(ctx goka.Context) goka.Headers { return goka.Headers{"nexus-meta": []byte(ctx.Key())} }
		g := goka.DefineGroup(goka.Group(n.Group),
			goka.Input(goka.Stream(n.Commands), new(codec.Bytes), func(ctx goka.Context, _ any) {
				if got := string(ctx.Headers()["in"]); got != "h"+ctx.Key() {
					ctx.Fail(fmt.Errorf("header is %q", got))
				}
				ctx.SetValue([]byte("1"))
				ctx.SetValue([]byte("2"), goka.WithCtxEmitHeaders(meta(ctx)))
				e.Emit(ctx, engine.Record{
					Topic: n.Events, Key: "outcome of " + ctx.Key(), Value: []byte(ctx.Key()), Partition: ctx.Partition(),
					Header: kgo.RecordHeader{Key: "nexus-meta", Value: []byte(ctx.Key())},
				})
				ctx.Emit(goka.Stream(n.Events), "free "+ctx.Key(), []byte(ctx.Key()), goka.WithCtxEmitHeaders(goka.Headers{"b": nil, "a": []byte("x")}))
			}),
			goka.Output(goka.Stream(n.Events), new(codec.Bytes)), goka.Persist(new(codec.Bytes)))
		cl := b.Client(t, kgo.RecordPartitioner(engine.Partitioner()))
		for i := range 50 {
			r := command(n.Commands, uint64(i), 50)
			r.Headers = []kgo.RecordHeader{{Key: "in", Value: append([]byte("h"), r.Key...)}}
			must(t, cl.ProduceSync(t.Context(), r).FirstErr())
		}
		r := start(t, b, e, g)
		n.drained(t, b, 20*time.Second)
		r.stop()
		outcomes, free, table := 0, 0, 0
		readAll(t, b, n.Events, kgo.ReadCommitted(), func(r *kgo.Record) {
			switch key := string(r.Value); string(r.Key) {
			case "outcome of " + key:
				outcomes++
				if r.Partition != engine.PartitionOf(key, partitions) || len(r.Headers) != 1 || string(r.Headers[0].Value) != key {
					t.Errorf("outcome of %s on partition %d with headers %v", key, r.Partition, r.Headers)
				}
			case "free " + key:
				free++
				if r.Partition != engine.PartitionOf(r.Key, partitions) || len(r.Headers) != 2 || r.Headers[0].Key != "a" {
					t.Errorf("%s on partition %d with headers %v", r.Key, r.Partition, r.Headers)
				}
			}
		})
		readAll(t, b, n.Table, kgo.ReadCommitted(), func(r *kgo.Record) {
			table++
			if string(r.Value) != "2" || len(r.Headers) != 1 || string(r.Headers[0].Value) != string(r.Key) {
				t.Errorf("table record %s = %s with headers %v", r.Key, r.Value, r.Headers)
			}
		})
		if outcomes != 50 || free != 50 || table != 50 {
			t.Errorf("%d outcomes, %d others, %d table records", outcomes, free, table)
		}
	})
}
