package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// The test subject: a processor that counts commands per key, emits one event per
// command and ignores repeated command ids; and the check that all of it happened
// exactly once.

// state of a key and payload of an event.
type state struct{ Version, ID uint64 }

// pad makes states as large as real ones in benchmarks.
type stateCodec struct{ pad int }

func (c stateCodec) Encode(v any) ([]byte, error) {
	s := v.(state)
	b := make([]byte, 16+c.pad)
	binary.BigEndian.PutUint64(b, s.Version)
	binary.BigEndian.PutUint64(b[8:], s.ID)
	return b, nil
}

func (stateCodec) Decode(b []byte) (any, error) { return decodeState(b) }

func decodeState(b []byte) (state, error) {
	if len(b) < 16 {
		return state{}, fmt.Errorf("bad state of %d bytes", len(b))
	}
	return state{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, nil
}

// names of the topics of one test.
type names struct{ Commands, Events, Table, Group string }

func namesOf(prefix string) names {
	return names{prefix + "commands", prefix + "events", prefix + "counter-table", prefix + "counter"}
}

const partitions = 4

func (n names) create(t testing.TB, b *kafkatest.Broker, partitions int) {
	t.Helper()
	b.Create(t,
		kafkatest.Topic{Name: n.Commands, Partitions: partitions},
		kafkatest.Topic{Name: n.Events, Partitions: partitions},
		kafkatest.Topic{Name: n.Table, Partitions: partitions, Config: map[string]string{"cleanup.policy": "compact", "max.message.bytes": "8388608"}})
}

// graph is the processor. A command is 8 bytes of id and any padding; ids grow per
// key, so the state need only hold the last one.
func (n names) graph(pad int, more ...goka.Edge) *goka.GroupGraph {
	return n.graphOf(pad, n.count, more...)
}

func (n names) graphWith(cb goka.ProcessCallback) *goka.GroupGraph { return n.graphOf(0, cb) }

func (n names) graphOf(pad int, cb goka.ProcessCallback, more ...goka.Edge) *goka.GroupGraph {
	return goka.DefineGroup(goka.Group(n.Group), append([]goka.Edge{
		goka.Input(goka.Stream(n.Commands), new(codec.Bytes), cb),
		goka.Output(goka.Stream(n.Events), stateCodec{pad}),
		goka.Persist(stateCodec{pad}),
	}, more...)...)
}

func (n names) count(ctx goka.Context, m any) {
	id := binary.BigEndian.Uint64(m.([]byte))
	var st state
	if v := ctx.Value(); v != nil {
		st = v.(state)
	}
	if id <= st.ID {
		return // a client sent it again
	}
	st.Version, st.ID = st.Version+1, id
	ctx.SetValue(st)
	ctx.Emit(goka.Stream(n.Events), ctx.Key(), st)
}

func command(topic string, id uint64, keys int) *kgo.Record {
	v := make([]byte, 100)
	binary.BigEndian.PutUint64(v, id)
	return &kgo.Record{Topic: topic, Key: keyOf(id, keys), Value: v}
}

func keyOf(id uint64, keys int) []byte { return fmt.Appendf(nil, "key-%06d", id%uint64(keys)) }

// produce sends commands from..to (inclusive), every dup-th one twice.
func (n names) produce(t testing.TB, b *kafkatest.Broker, from, to uint64, keys int, dup uint64) {
	t.Helper()
	cl := b.Client(t, kgo.RecordPartitioner(engine.Partitioner()))
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	failed := make(chan error, 1)
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	for id := from; id <= to; id++ {
		cl.Produce(ctx, command(n.Commands, id, keys), done)
		if dup > 0 && id%dup == 0 {
			cl.Produce(ctx, command(n.Commands, id, keys), done)
		}
	}
	must(t, cl.Flush(ctx))
	select {
	case err := <-failed:
		t.Fatalf("producing commands: %v", err)
	default:
	}
}

// readAll calls f for each record of a topic as of now.
func readAll(t testing.TB, b *kafkatest.Broker, topic string, level kgo.IsolationLevel, f func(*kgo.Record)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs...), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(t, err)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	// A commit becomes visible partition by partition, so not the last stable offsets.
	ends, err := adm.ListEndOffsets(ctx, topic)
	must(t, err)
	starts, err := adm.ListStartOffsets(ctx, topic)
	must(t, err)
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if s, _ := starts.Lookup(topic, o.Partition); o.Offset > s.Offset {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("reading %s: %v, left %v", topic, ctx.Err(), left)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				f(r)
			}
			if end, ok := left[r.Partition]; ok && r.Offset >= end-1 {
				delete(left, r.Partition)
			}
		})
	}
}

// countEvents reads them: offsets do not tell, because markers take offsets, too.
func (n names) countEvents(t testing.TB, b *kafkatest.Broker) (c int) {
	t.Helper()
	readAll(t, b, n.Events, kgo.ReadCommitted(), func(*kgo.Record) { c++ })
	return c
}

// aborted counts events that were written and never committed: proof that crashes
// hit open transactions.
func (n names) aborted(t testing.TB, b *kafkatest.Broker) int {
	t.Helper()
	all := 0
	readAll(t, b, n.Events, kgo.ReadUncommitted(), func(*kgo.Record) { all++ })
	return all - n.countEvents(t, b)
}

// tableNow reads the table topic.
func (n names) tableNow(t testing.TB, b *kafkatest.Broker) map[string]state {
	t.Helper()
	m := map[string]state{}
	readAll(t, b, n.Table, kgo.ReadCommitted(), func(r *kgo.Record) {
		if r.Value == nil {
			delete(m, string(r.Key))
			return
		}
		st, err := decodeState(r.Value)
		must(t, err)
		if p := engine.PartitionOf(r.Key, partitions); p != r.Partition {
			t.Errorf("table key %s lies on partition %d and belongs to %d", r.Key, r.Partition, p)
		}
		m[string(r.Key)] = st
	})
	return m
}

// verify checks commands 1..total: one event each, versions per key 1..n in order,
// table equal to the fold of the events.
func (n names) verify(t testing.TB, b *kafkatest.Broker, total uint64, keys int) {
	t.Helper()
	seen, fold := make([]bool, total+1), map[string]state{}
	faults := 0
	bad := func(f string, a ...any) {
		if faults++; faults <= 10 {
			t.Errorf(f, a...)
		}
	}
	readAll(t, b, n.Events, kgo.ReadCommitted(), func(r *kgo.Record) {
		st, err := decodeState(r.Value)
		must(t, err)
		if st.ID == 0 || st.ID > total || seen[st.ID] {
			bad("event of command %d at %d/%d is a duplicate or unknown", st.ID, r.Partition, r.Offset)
			return
		}
		seen[st.ID] = true
		if string(keyOf(st.ID, keys)) != string(r.Key) {
			bad("event of command %d has key %s", st.ID, r.Key)
		}
		if prev := fold[string(r.Key)]; st.Version != prev.Version+1 || st.ID <= prev.ID {
			bad("key %s: version %d id %d after version %d id %d", r.Key, st.Version, st.ID, prev.Version, prev.ID)
		}
		fold[string(r.Key)] = st
	})
	missing := 0
	for id := uint64(1); id <= total; id++ {
		if !seen[id] {
			missing++
		}
	}
	if missing > 0 {
		bad("%d of %d commands have no event", missing, total)
	}
	table := n.tableNow(t, b)
	if len(table) != len(fold) {
		bad("table has %d keys, events fold to %d", len(table), len(fold))
	}
	for k, st := range fold {
		if table[k] != st {
			bad("table of %s is %v, events fold to %v", k, table[k], st)
		}
	}
}

// drained waits until the group has committed the end of the commands topic.
func (n names) drained(t testing.TB, b *kafkatest.Broker, limit time.Duration) {
	t.Helper()
	adm := kadm.NewClient(b.Client(t))
	ctx, cancel := context.WithTimeout(context.Background(), limit+10*time.Second)
	defer cancel()
	ends, err := adm.ListEndOffsets(ctx, n.Commands)
	must(t, err)
	kafkatest.Eventually(t, limit, "all commands are processed", func() bool {
		os, err := adm.FetchOffsets(kadm.RequireStable(ctx), n.Group)
		if err != nil {
			return false
		}
		lag := false
		ends.Each(func(e kadm.ListedOffset) {
			if o, ok := os.Lookup(n.Commands, e.Partition); e.Offset > 0 && (!ok || o.At < e.Offset) {
				lag = true
			}
		})
		return !lag
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stableEnd sums up the last stable offsets of a topic's partitions.
func stableEnd(t testing.TB, cl *kgo.Client, topic string) int64 {
	t.Helper()
	return sumOf(t, topic, kadm.NewClient(cl).ListCommittedOffsets)
}

// highEnd sums up the high watermarks.
func highEnd(t testing.TB, cl *kgo.Client, topic string) int64 {
	t.Helper()
	return sumOf(t, topic, kadm.NewClient(cl).ListEndOffsets)
}

func sumOf(t testing.TB, topic string, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (sum int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var ends kadm.ListedOffsets
	kafkatest.Eventually(t, 20*time.Second, "offsets of "+topic, func() (ok bool) {
		var err error
		ends, err = list(ctx, topic)
		return err == nil && ends.Error() == nil
	})
	ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum
}
