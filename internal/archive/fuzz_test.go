package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/shop"
)

// Whatever a file holds, reading it ends without a panic and without asking for
// more memory than the file is worth. What is accepted
//   - is written again as the same events, and as the same bytes,
//   - and, if the chain takes it, has the versions 1..n of each aggregate.
//
// It fuzzes whole files, and the records of a file whose header is right.
func FuzzImport(f *testing.F) {
	small := Header{
		Metadata: []string{`{"type":"record","name":"M","fields":[{"name":"v","type":"long"}]}`},
		Events:   []string{`{"type":"record","name":"E","fields":[]}`, `{"type":"record","name":"F","fields":[{"name":"m","type":{"type":"map","values":["null","F"]}}]}`},
	}
	whole := written(f, small, []Event{{Metadata: []byte{2}}, {Metadata: []byte{4}, PayloadSchema: 1, Payload: []byte{2, 2, 'k', 2, 0, 0}}})
	events := history(1, 3)
	var block []byte
	for _, e := range events {
		block = append(append(append(block, e.Metadata...), byte(2*e.PayloadSchema)), e.Payload...)
	}
	f.Add(whole, block, int64(len(events)))
	f.Add(whole[:len(whole)-20], block[:40], int64(1))
	f.Add([]byte("Obj\x01\x00"), []byte{}, int64(0))
	f.Add(append([]byte("Obj\x01\x02\x16avro.schema"), 0xfe, 0xff, 0xff, 0xff, 0x0f), bytes.Repeat([]byte{0xff}, 200), int64(1<<40))

	fuzzed, err := NewReader(bytes.NewReader(written(f, stockHeader(), nil)), "stock.avro")
	if err != nil {
		f.Fatal(err)
	}
	judge, err := newChains(shop.Topology()).begin("stock.avro", fuzzed.Header())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw, block []byte, n int64) {
		aFile(t, raw)
		someRecords(t, *fuzzed, *judge, block, n)
	})
}

// aFile reads any bytes as a file.
func aFile(t *testing.T, raw []byte) {
	t.Helper()
	h, events, err := readAll(raw)
	if err != nil {
		return
	}
	again, same, err := readAll(written(t, h, events))
	if err != nil || !reflect.DeepEqual(h, again) || len(events) != len(same) || len(events) > 0 && !reflect.DeepEqual(events, same) {
		t.Fatalf("what was accepted comes back otherwise, error %v", err)
	}
}

// someRecords reads any bytes as the n records of a complete file.
func someRecords(t *testing.T, r Reader, judge chain, block []byte, n int64) {
	t.Helper()
	judge.chains, judge.heads = newChains(judge.topology), map[string]head{}
	sum := sha256.Sum256(block)
	r.hash, r.count, r.digest, r.packed = sha256.New(), n, hex.EncodeToString(sum[:]), false
	in := avro.AppendBytes(avro.AppendLong(nil, n), block)
	r.c = &container{in: bufio.NewReader(io.MultiReader(bytes.NewReader(in), bytes.NewReader(r.c.sync[:]))), sync: r.c.sync}
	versions, again, chained := map[string]int64{}, []byte{}, true
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return
		}
		again = append(avro.AppendLong(append(again, e.Metadata...), int64(e.PayloadSchema)), e.Payload...)
		if chained {
			chained = link(t, &judge, versions, e)
		}
	}
	if len(again) != len(block) { // numbers may be encoded longer than need be
		return
	}
	if !bytes.Equal(again, block) {
		t.Fatalf("%x was read as %x", block, again)
	}
}

// link adds an event to the chain and says whether the chain took it.
func link(t *testing.T, judge *chain, versions map[string]int64, e Event) bool {
	t.Helper()
	m, err := judge.add(e)
	if err != nil {
		return false
	}
	var typed platform.Metadata
	if err := typed.DecodeAvro(e.Metadata); err != nil || typed.Version != m.version || typed.AggregateID != m.aggregateID || typed.EventID != m.eventID {
		t.Fatalf("%+v was read as %+v, error %v", typed, m, err)
	}
	if versions[m.aggregateID]++; m.version != versions[m.aggregateID] {
		t.Fatalf("version %d of %q is accepted as number %d", m.version, m.aggregateID, versions[m.aggregateID])
	}
	return true
}
