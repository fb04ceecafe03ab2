package archive

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/shop"
)

// sealed is a complete file whose one block holds any bytes as n records.
func sealed(t *testing.T, h Header, block []byte, n int64) []byte {
	t.Helper()
	var m memory
	w, err := NewWriter(&m, h)
	if err != nil {
		t.Fatal(err)
	}
	w.block, w.inBlock, w.events = bytes.Clone(block), n, n
	w.hash.Write(block)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return m.Bytes()
}

// Whatever a file holds, reading it ends without a panic and without asking for
// more memory than the file is worth. What is accepted
//   - is written again as the same events,
//   - and, if the chain takes it, has the versions 1..n of each aggregate.
func FuzzImport(f *testing.F) {
	events := history(1, 3)
	whole := writtenSeed(f, events)
	var block []byte
	for _, e := range events {
		block = append(append(append(block, e.Metadata...), byte(2*e.PayloadSchema)), e.Payload...)
	}
	f.Add(whole, block, int64(len(events)))
	f.Add(whole[:len(whole)-20], block[:40], int64(1))
	f.Add([]byte("Obj\x01\x00"), []byte{}, int64(0))
	f.Add(append([]byte("Obj\x01\x02\x16avro.schema"), 0xfe, 0xff, 0xff, 0xff, 0x0f), bytes.Repeat([]byte{0xff}, 200), int64(1<<40))
	f.Fuzz(func(t *testing.T, raw, block []byte, n int64) {
		holds(t, raw)
		if n > 0 && len(block) > 0 {
			holds(t, sealed(t, stockHeader(), block, n))
		}
	})
}

func writtenSeed(f *testing.F, events []Event) []byte {
	f.Helper()
	return written(f, stockHeader(), events)
}

var fuzzTopology = shop.Topology()

func holds(t *testing.T, raw []byte) {
	t.Helper()
	h, events, err := readAll(raw)
	if err != nil {
		return
	}
	again, same, err := readAll(written(t, h, events))
	if err != nil || !reflect.DeepEqual(h, again) || len(events) != len(same) || len(events) > 0 && !reflect.DeepEqual(events, same) {
		t.Fatalf("what was accepted comes back otherwise, error %v", err)
	}
	judge, err := newChains(fuzzTopology).begin("stock.avro", h)
	if err != nil {
		return
	}
	versions := map[string]int64{}
	for _, e := range events {
		m, err := judge.add(e)
		if err != nil {
			return
		}
		var typed platform.Metadata
		if err := typed.DecodeAvro(e.Metadata); err == nil && (typed.Version != m.version || typed.AggregateID != m.aggregateID || typed.EventID != m.eventID) {
			t.Fatalf("%+v was read as %+v", typed, m)
		}
		if versions[m.aggregateID]++; m.version != versions[m.aggregateID] {
			t.Fatalf("version %d of %q is accepted as number %d", m.version, m.aggregateID, versions[m.aggregateID])
		}
	}
}
