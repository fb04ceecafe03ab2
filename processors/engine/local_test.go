package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// summing is a Local that keeps, per partition, the number of events written, which
// is the sum of the versions in the table.
type summing struct {
	events  string
	brokers []string // where Open catches up from; nil: it does not

	mu    sync.Mutex
	parts map[int32]*partitionSum
	calls []string // Open, Rollback, Close
}

type partitionSum struct {
	committed, pending uint64
	produced           int64 // offset of the last event
}

func newSumming(events string) *summing {
	return &summing{events: events, parts: map[int32]*partitionSum{}}
}

func decodeSum(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// count is called by callbacks that made an event.
func (s *summing) count(partition int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[partition].pending++
}

func (s *summing) called(what string, p int32) { s.calls = append(s.calls, fmt.Sprint(what, p)) }

func (s *summing) Open(ctx context.Context, p int32, kv engine.KV) error {
	ps, err := s.restore(ctx, p, kv)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called("open", p)
	s.parts[p] = ps
	return nil
}

// restore does what the contract of Local asks of Open: it goes on from the offset
// kept beside the sum, over the events that were committed since.
func (s *summing) restore(ctx context.Context, p int32, kv engine.KV) (*partitionSum, error) {
	sum, err := kv.Get([]byte("sum"))
	if err != nil {
		return nil, err
	}
	at, err := kv.Get([]byte("at"))
	if err != nil {
		return nil, err
	}
	ps := &partitionSum{committed: decodeSum(sum), produced: -1}
	if len(at) == 8 {
		ps.produced = int64(decodeSum(at))
	}
	if s.brokers == nil {
		return ps, nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.events: {p: kgo.NewOffset().At(ps.produced + 1)}}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, s.events)
	if err != nil {
		return nil, err
	}
	end, _ := ends.Lookup(s.events, p)
	for next := ps.produced + 1; next < end.Offset; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return nil, err
		}
		fs.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				ps.committed++
				ps.produced = r.Offset
			}
		})
	}
	return ps, kv.Update(func(b engine.Batch) error { s.write(b, ps); return nil })
}

func (s *summing) write(b engine.Batch, ps *partitionSum) {
	b.Set([]byte("sum"), binary.BigEndian.AppendUint64(nil, ps.committed))
	b.Set([]byte("at"), binary.BigEndian.AppendUint64(nil, uint64(ps.produced)))
}

func (s *summing) Commit(p int32, b engine.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ps := s.parts[p]
	if ps.pending == 0 {
		return nil
	}
	ps.committed, ps.pending = ps.committed+ps.pending, 0
	ps.produced = b.Produced(s.events)
	s.write(b, ps)
	return nil
}

func (s *summing) Rollback(p int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called("rollback", p)
	s.parts[p].pending = 0
}

func (s *summing) Close(p int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called("close", p)
}

// wrap makes the counter tell the Local of each event.
func (s *summing) wrap(n names, next func(goka.Context, any)) func(goka.Context, any) {
	return func(ctx goka.Context, m any) {
		next(counting{ctx, s}, m)
	}
}

type gokaContext = goka.Context // its own method is named Context

type counting struct {
	gokaContext
	s *summing
}

func (c counting) Emit(topic goka.Stream, key string, v any, o ...goka.ContextOption) {
	c.s.count(c.Partition())
	c.gokaContext.Emit(topic, key, v, o...)
}

// The Local changes in the batch that changes the table, or not at all.
func TestLocal_CommitsWithTheTable(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		dir := t.TempDir()
		s := reopen(t, dir)
		l := newSumming(n.Events)
		e := newEngine(t, b, n.Group, withStore(s.Store), func(c *engine.Config) { c.Local = l })
		n.produce(t, b, 1, 1000, 50, 5)
		r := start(t, b, e, n.graphWith(l.wrap(n, n.count)))
		n.drained(t, b, 20*time.Second)
		r.stop()
		must(t, s.Close())
		last := map[int32]int64{}
		readAll(t, b, n.Events, kgo.ReadCommitted(), func(r *kgo.Record) { last[r.Partition] = r.Offset })
		s = reopen(t, dir)
		defer func() { must(t, s.Close()) }()
		total := uint64(0)
		for p := range int32(partitions) {
			d := s.Dump(t, n.Table, p)
			sum := decodeSum(d.Local["sum"])
			total += sum
			if l.parts[p].produced != last[p] {
				t.Errorf("partition %d: Produced said %d, the last event is at %d", p, l.parts[p].produced, last[p])
			}
			for _, v := range d.Table {
				st, err := decodeState(v)
				must(t, err)
				sum -= st.Version
			}
			if sum != 0 {
				t.Errorf("partition %d: local state and table differ by %d", p, int64(sum))
			}
		}
		if total != 1000 {
			t.Errorf("the local states sum up to %d", total)
		}
	})
}

func TestLocal_RollsBackWithTheTransaction(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		s := openStore(t, t.TempDir())
		l := newSumming(n.Events)
		var fail atomic.Bool
		fail.Store(true)
		g := n.graphWith(l.wrap(n, func(ctx goka.Context, m any) {
			n.count(ctx, m)
			if fail.Load() {
				ctx.Fail(errors.New("as ordered"))
			}
		}))
		n.produce(t, b, 1, 1, 1, 0)
		e := newEngine(t, b, n.Group, withStore(s), func(c *engine.Config) { c.Local = l })
		if err := start(t, b, e, g).end(); err == nil || !strings.Contains(err.Error(), "as ordered") {
			t.Fatalf("Run returned %v", err)
		}
		p := engine.PartitionOf(keyOf(1, 1), partitions)
		calls := strings.Join(l.calls, " ")
		if want := fmt.Sprintf("rollback%d close%d", p, p); !strings.Contains(calls, want) {
			t.Errorf("calls were %s", calls)
		}
		if d := s.Dump(t, n.Table, p); len(d.Local) != 0 || len(d.Table) != 0 || d.Offset != -1 {
			t.Errorf("the failed transaction left %+v", d)
		}
		fail.Store(false)
		e = newEngine(t, b, n.Group, withStore(s), func(c *engine.Config) { c.Local = l })
		r := start(t, b, e, g)
		n.drained(t, b, 20*time.Second)
		r.stop()
		if d := s.Dump(t, n.Table, p); decodeSum(d.Local["sum"]) != 1 || len(d.Table) != 1 {
			t.Errorf("the transaction left %+v", d)
		}
	})
}

// A Local without a table, that updates itself in Open, ranges and deletes ranges.
func TestLocal_KeyValueStore(t *testing.T) {
	b := kafkatest.Kfake(t)
	n := setup(t, b)
	l := &scripted{t: t}
	g := goka.DefineGroup(goka.Group(n.Group), goka.Input(goka.Stream(n.Commands), rawCodec{}, func(goka.Context, any) {}))
	e := newEngine(t, b, n.Group, func(c *engine.Config) { c.Local = l })
	n.produce(t, b, 1, 100, 100, 0)
	r := start(t, b, e, g)
	n.drained(t, b, 20*time.Second)
	r.stop()
	if l.commits.Load() == 0 {
		t.Error("Commit was not called")
	}
}

type scripted struct {
	t       *testing.T
	commits atomic.Int64
}

func (s *scripted) keys(kv engine.KV, start, end string) (keys string) {
	var e []byte
	if end != "" {
		e = []byte(end)
	}
	if err := kv.Iterate([]byte(start), e, func(k, _ []byte) error { keys += string(k) + " "; return nil }); err != nil {
		s.t.Error(err)
	}
	return keys
}

func (s *scripted) Open(_ context.Context, _ int32, kv engine.KV) error {
	err := kv.Update(func(b engine.Batch) error {
		for _, k := range []string{"a1", "a2", "a3", "b1", "c"} {
			b.Set([]byte(k), []byte("v"+k))
		}
		b.DeleteRange([]byte("a2"), []byte("b"))
		b.Delete([]byte("c"))
		if b.Produced("x") != -1 {
			s.t.Error("Produced in Update")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := kv.Update(func(engine.Batch) error { return errors.New("no") }); err == nil {
		s.t.Error("Update hides its function's error")
	}
	if v, err := kv.Get([]byte("a1")); err != nil || string(v) != "va1" {
		s.t.Errorf("Get returned %s %v", v, err)
	}
	if v, err := kv.Get([]byte("c")); err != nil || v != nil {
		s.t.Errorf("Get of a deleted key returned %s %v", v, err)
	}
	if got := s.keys(kv, "", ""); got != "a1 b1 " {
		s.t.Errorf("keys are %s", got)
	}
	if got := s.keys(kv, "a", string(engine.PrefixEnd([]byte("a")))); got != "a1 " {
		s.t.Errorf("keys with prefix a are %s", got)
	}
	return nil
}
func (s *scripted) Commit(int32, engine.Batch) error { s.commits.Add(1); return nil }
func (s *scripted) Rollback(int32)                   {}
func (s *scripted) Close(int32)                      {}

type rawCodec struct{}

func (rawCodec) Encode(v any) ([]byte, error) { return v.([]byte), nil }
func (rawCodec) Decode(b []byte) (any, error) { return b, nil }
