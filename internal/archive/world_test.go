package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/eventid"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

func textOf(rec avro.Record) string { return shop.Topology().Schemas.Find(rec.AvroName()).Text }

// stockHeader is that of a system whose schemas never changed.
func stockHeader() Header {
	return Header{
		Context: "shop", Aggregate: "stock", Metadata: []string{textOf(&platform.Metadata{})},
		Events: []string{textOf(&retail.StockReceived{}), textOf(&retail.StockAdjusted{})},
	}
}

// history makes the events of some products, as the platform would.
func history(skus, each int) (events []Event) {
	for s := range skus {
		var previous platform.Sha256
		for v := range each {
			sku := fmt.Sprint("sku", s)
			meta := &platform.Metadata{
				EventID: eventid.Of("stock", sku, fmt.Sprint("c", v), 0), AggregateType: "stock", AggregateID: sku, Version: int64(v) + 1,
				CommandID: fmt.Sprint("c", v), At: avro.MillisOf(time.UnixMilli(1_300_000_000_000 + int64(v))), PreviousHash: previous,
			}
			e := Event{Number: int64(len(events)) + 1, Metadata: meta.AppendAvro(nil)}
			if v%3 == 2 {
				e.PayloadSchema = 1
				e.Payload = (&retail.StockAdjusted{Sku: sku, Quantity: -1, Reference: fmt.Sprint("r", v)}).AppendAvro(nil)
			} else {
				e.Payload = (&retail.StockReceived{Sku: sku, Description: "MUG ☕", Quantity: 5, Reference: fmt.Sprint("r", v)}).AppendAvro(nil)
			}
			previous = hashOf(e)
			events = append(events, e)
		}
	}
	return events
}

// remeta changes an event's metadata, and nothing of the chain.
func remeta(t *testing.T, e *Event, change func(*platform.Metadata)) {
	t.Helper()
	var m platform.Metadata
	if err := m.DecodeAvro(e.Metadata); err != nil {
		t.Fatal(err)
	}
	change(&m)
	e.Metadata = m.AppendAvro(nil)
}

// memory is a File.
type memory struct{ bytes.Buffer }

func (m *memory) WriteAt(p []byte, at int64) (int, error) { return copy(m.Bytes()[at:], p), nil }

func written(t testing.TB, h Header, events []Event) []byte {
	t.Helper()
	var m memory
	w, err := NewWriter(&m, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if err := w.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return m.Bytes()
}

func readAll(raw []byte) (h Header, events []Event, err error) {
	r, err := NewReader(bytes.NewReader(raw), "stock.avro")
	if err != nil {
		return h, nil, err
	}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Header(), events, nil
		}
		if err != nil {
			return r.Header(), events, err
		}
		events = append(events, e)
	}
}

// open puts a file into a folder and opens it as an archive.
func open(t *testing.T, top *topology.Topology, files map[string][]byte) (*Archive, error) {
	t.Helper()
	dir := t.TempDir()
	for name, raw := range files {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Open(context.Background(), top, []string{dir})
}
