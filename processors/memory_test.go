package processors

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// mapKV is a partition's local state in a map.
type mapKV map[string][]byte

func (m mapKV) Get(key []byte) ([]byte, error) { return m[string(key)], nil }

func (m mapKV) Iterate(begin, end []byte, fn func(key, value []byte) error) error {
	var keys []string
	for k := range m {
		if k >= string(begin) && (end == nil || k < string(end)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := fn([]byte(k), m[k]); err != nil {
			return err
		}
	}
	return nil
}

func (m mapKV) Update(fn func(engine.Batch) error) error { return fn(mapBatch{m, -1}) }

// mapBatch writes through: a test that aborts makes no batch.
type mapBatch struct {
	m        mapKV
	produced int64
}

func (b mapBatch) Set(key, value []byte) { b.m[string(key)] = bytes.Clone(value) }
func (b mapBatch) Delete(key []byte)     { delete(b.m, string(key)) }
func (b mapBatch) DeleteRange(begin, end []byte) {
	for k := range b.m {
		if k >= string(begin) && (end == nil || k < string(end)) {
			delete(b.m, k)
		}
	}
}
func (b mapBatch) Produced(string) int64 { return b.produced }

// outcomeSlice is an outcomes topic of one partition.
type outcomeSlice []*platform.Outcome

func (l outcomeSlice) Read(_ context.Context, _ int32, offset int64, from avro.Millis, f func(*platform.Outcome) error) (int64, error) {
	for i, out := range l {
		if int64(i) >= offset && out.At >= from {
			if err := f(out); err != nil {
				return 0, err
			}
		}
	}
	return int64(len(l)), nil
}

type memoryBench struct {
	t   *testing.T
	m   *memory
	kv  mapKV
	log outcomeSlice
	now time.Time
}

func newMemoryBench(t *testing.T) *memoryBench {
	t.Helper()
	b := &memoryBench{t: t, kv: mapKV{}, now: time.UnixMilli(int64(start))}
	b.open()
	return b
}

// open starts the memory anew on the same store, as a restart does.
func (b *memoryBench) open() {
	b.t.Helper()
	b.m = newMemory(clock.Func(func() time.Time { return b.now }), "outcomes", b.log)
	if err := b.m.Open(b.t.Context(), 0, b.kv); err != nil {
		b.t.Fatal(err)
	}
}

func (b *memoryBench) remember(ids ...string) {
	for _, id := range ids {
		out := &platform.Outcome{CommandID: id, Version: int64(len(id)), At: avro.MillisOf(b.now)}
		b.m.remember(0, out, out.AppendAvro(nil))
	}
}

func (b *memoryBench) commit() {
	b.t.Helper()
	if err := b.m.Commit(0, mapBatch{b.kv, int64(len(b.log)) - 1}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *memoryBench) want(known bool, ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		out, err := b.m.lookup(0, id)
		if err != nil {
			b.t.Fatal(err)
		}
		if (out != nil) != known {
			b.t.Errorf("%s is remembered: %v, want %v", id, out != nil, known)
		}
		if out != nil && out.CommandID != id {
			b.t.Errorf("asked for %s, got %s", id, out.CommandID)
		}
	}
}

func TestMemory_an_open_transaction_is_seen_and_an_aborted_one_forgotten(t *testing.T) {
	b := newMemoryBench(t)
	b.remember("a")
	b.want(true, "a")
	b.m.Rollback(0)
	b.want(false, "a")
	b.remember("b")
	b.commit()
	b.remember("c")
	b.m.Rollback(0)
	b.want(true, "b")
	b.want(false, "a", "c")
}

func TestMemory_survives_a_restart_as_of_the_last_commit(t *testing.T) {
	b := newMemoryBench(t)
	var ids []string
	for i := range 300 {
		ids = append(ids, fmt.Sprint("id", i))
	}
	for chunk := range slices.Chunk(ids, 7) {
		b.remember(chunk...)
		b.commit()
	}
	b.remember("open")
	b.open()
	b.want(true, ids...)
	b.want(false, "open")
}

func TestMemory_forgets_after_ten_minutes_of_log_time(t *testing.T) {
	b := newMemoryBench(t)
	b.remember("old")
	b.commit()
	for range 10 {
		b.now = b.now.Add(time.Minute)
		b.remember(fmt.Sprint("at ", b.now))
		b.commit()
		b.want(true, "old")
	}
	for range 5 { // a span is forgotten as a whole
		b.now = b.now.Add(time.Minute)
		b.remember(fmt.Sprint("at ", b.now))
		b.commit()
	}
	b.want(false, "old")
	if len(b.kv) > 15+2 {
		t.Errorf("%d values are on disk", len(b.kv))
	}
}

func TestMemory_is_refilled_from_the_log(t *testing.T) {
	for name, stored := range map[string]bool{"an empty disk": false, "a disk that is behind": true} {
		t.Run(name, func(t *testing.T) {
			b := newMemoryBench(t)
			at := avro.MillisOf(b.now)
			if stored {
				b.remember("mine")
				b.log = append(b.log, &platform.Outcome{CommandID: "mine", At: at})
				b.commit()
			}
			b.log = append(b.log,
				&platform.Outcome{CommandID: "too old", At: at - 3*spanMillis},
				&platform.Outcome{CommandID: "elsewhere", At: at},
				&platform.Outcome{CommandID: "repetition", At: at, Repeated: true},
			)
			b.open()
			b.want(true, "elsewhere")
			b.want(stored, "mine")
			b.want(false, "too old", "repetition")

			b.remember("next")
			b.m.Rollback(0) // an abort takes nothing back that came from the log
			b.want(true, "elsewhere")
			b.open()
			b.want(true, "elsewhere")
		})
	}
}

func TestMemory_a_partition_that_went_away_is_not_answered_for(t *testing.T) {
	b := newMemoryBench(t)
	b.m.Close(0)
	if _, err := b.m.lookup(0, "a"); err == nil {
		t.Error("answered for a partition that is not open")
	}
}
