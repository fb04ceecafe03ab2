package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/processors"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// benchGate measures by themselves the two steps that every command pays for
// safety.
func benchGate(ctx context.Context, r *runner) (rep report, err error) {
	s, err := r.openStack(ctx, "kfake", benchTopology(false), nil)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	a := adjustOf(1, "sku-000001")
	event := &retail.StockAdjusted{Sku: a.Sku, Description: a.Description, Quantity: a.Quantity, Reference: a.Reference}
	r.begin("one event framed, one id looked up")
	gate, bare := r.appendNanos(s.serde.Append, event)
	hits, misses, ids, err := r.lookups(ctx)
	if err != nil {
		return rep, err
	}
	r.say("  framing %.0f ns (%.0f ns of it Avro), lookup %.0f ns", gate, bare, misses)
	rep.claims = []claim{
		atMost("schema gate: framing an event whose schema is registered", "%.0f ns", 150, gate),
		figure("its Avro alone", "%.0f ns", bare),
		figure("command memory: looking up an id that was never seen", "%.0f ns", misses),
		figure("command memory: looking up an id that was (its outcome is read and decoded)", "%.0f ns", hits),
	}
	rep.notes = []string{fmt.Sprintf("In this process, one goroutine. Events of %d bytes; the memory holds %d ids over %v, each commit of 100.", eventBytes, ids, memoryTime)}
	return rep, nil
}

func (r *runner) appendNanos(frame func([]byte, avro.Record) ([]byte, error), event avro.Record) (gate, bare float64) {
	buf := make([]byte, 0, 2*eventBytes)
	gate = r.nanos(func() {
		if _, err := frame(buf[:0], event); err != nil {
			panic(err) // registered above
		}
	})
	return gate, r.nanos(func() { event.AppendAvro(buf[:0]) })
}

// nanos is the time of one call of f, over enough calls to fill a while.
func (r *runner) nanos(f func()) float64 {
	for n := 1000; ; n *= 2 {
		began := time.Now()
		for range n {
			f()
		}
		if took := time.Since(began); took > pick(r, time.Second, 20*time.Millisecond) {
			return float64(took.Nanoseconds()) / float64(n)
		}
	}
}

// memoryTime is how long every command is remembered.
const memoryTime = 10 * time.Minute

// lookups fills a command memory over its whole time and looks ids up.
func (r *runner) lookups(ctx context.Context) (hit, miss float64, ids int, err error) {
	const perCommit = 100
	ids = pick(r, 1_000_000, 20_000)
	now := time.Now()
	step := memoryTime / time.Duration(ids)
	at := func(i int) time.Time { return now.Add(-memoryTime + time.Duration(i)*step) }
	kv := mapKV{}
	m, err := processors.NewCommandMemory(ctx, clock.Func(func() time.Time { return now }), kv, noLog{})
	if err != nil {
		return 0, 0, 0, err
	}
	for i := range ids {
		m.Remember(outcomeOf(commandID(at(i), i), at(i)))
		if (i+1)%perCommit == 0 {
			if err := m.Commit(kv); err != nil {
				return 0, 0, 0, err
			}
		}
	}
	look := func(first int, found bool) float64 {
		i := 0
		return r.nanos(func() {
			i = (i + 7919) % ids
			out, lookErr := m.Lookup(commandID(at(i), first+i))
			if lookErr != nil || (out != nil) != found {
				err = cmp.Or(err, errors.Join(fmt.Errorf("looking up command %d found %v", first+i, out), lookErr))
			}
		})
	}
	made := r.nanos(func() { _ = commandID(now, ids) })
	hit, miss = look(0, true)-made, look(ids, false)-made
	return hit, miss, ids, err
}

func outcomeOf(id string, at time.Time) *platform.Outcome {
	return &platform.Outcome{
		CommandID: id, CommandType: "shop.stock.AdjustStock", AggregateType: "stock", AggregateID: "sku-000001",
		Kind: platform.OutcomeKindAccepted, Version: 1, At: avro.MillisOf(at),
		Events: []platform.OutcomeEvent{{Type: "shop.stock.StockAdjusted", Version: 1}},
	}
}

// noLog is a log of outcomes without any.
type noLog struct{}

func (noLog) Read(_ context.Context, _ int32, offset int64, _ avro.Millis, _ func(*platform.Outcome) error) (int64, error) {
	return offset, nil
}

// mapKV is a store in memory, so that what is measured is the memory itself.
type mapKV map[string][]byte

func (m mapKV) Get(key []byte) ([]byte, error) { return m[string(key)], nil }

func (m mapKV) Iterate(start, end []byte, fn func(key, value []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if bytes.Compare([]byte(k), start) < 0 || end != nil && bytes.Compare([]byte(k), end) >= 0 {
			continue
		}
		if err := fn([]byte(k), m[k]); err != nil {
			return err
		}
	}
	return nil
}

func (m mapKV) Update(fn func(engine.Batch) error) error { return fn(m) }
func (m mapKV) Set(key, value []byte)                    { m[string(key)] = bytes.Clone(value) } // the memory reuses it
func (m mapKV) Delete(key []byte)                        { delete(m, string(key)) }
func (m mapKV) Produced(string) int64                    { return -1 }

func (m mapKV) DeleteRange(start, end []byte) {
	maps.DeleteFunc(m, func(k string, _ []byte) bool {
		return bytes.Compare([]byte(k), start) >= 0 && (end == nil || bytes.Compare([]byte(k), end) < 0)
	})
}
