package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

// eventBytes is the size of an event's value on its topic, framing included; a
// command's is the same.
const eventBytes = 200

// flatStock is the shop's stock without its list of references: its state does
// not grow with its history.
var flatStock = domain.NewAggregate("stock", 1, func(s retail.Stock, e domain.Event) retail.Stock {
	if a, ok := e.(*retail.StockAdjusted); ok {
		s.OnHand += int64(a.Quantity)
	}
	return s
},
	domain.Handle(func(c *retail.AdjustStock) string { return c.Sku }, validateAdjust, adjustFlat),
	domain.Records[retail.Stock, retail.StockAdjusted](),
)

func validateAdjust(c *retail.AdjustStock) []domain.Fault {
	if c.Quantity == 0 {
		return []domain.Fault{domain.Faultf("/quantity", "zero", "an adjustment of 0 units adjusts nothing")}
	}
	return nil
}

func adjustFlat(_ retail.Stock, c *retail.AdjustStock) ([]domain.Event, *domain.Rejection) {
	return []domain.Event{&retail.StockAdjusted{Sku: c.Sku, Description: c.Description, Quantity: c.Quantity, Reference: c.Reference}}, nil
}

// benchTopology is a context with one aggregate: the shop's own stock, or flat.
func benchTopology(flat bool) *topology.Topology {
	stock := shop.Stock
	if flat {
		stock = flatStock
	}
	return &topology.Topology{
		Context: "bench", Owner: "benchmarks", Schemas: avro.Sets{platform.Schemas, retail.Schemas},
		Aggregates: []topology.Aggregate{{Aggregate: stock, Owner: "benchmarks", Table: "shop.stock.StockTable"}},
	}
}

// commands describes AdjustStock commands first..first+n-1 of a run.
type commands struct {
	first, n int
	key      func(i int) string
	at       func(i int) time.Time // of logging; nil: the broker's own time
}

// roundRobin spreads commands over keys of one name.
func roundRobin(name string, keys int) func(int) string {
	return func(i int) string { return fmt.Sprintf("%s-%06d", name, i%keys) }
}

// adjustOf is the i-th command, as large as asked for.
func adjustOf(i int, key string) *retail.AdjustStock {
	c := &retail.AdjustStock{Sku: key, Quantity: int32(1 + i%50), Reference: fmt.Sprintf("r%09d", i)}
	fixed := 5 + 1 + len(c.Sku) + 2 + 1 + 1 + len(c.Reference)
	c.Description = strings.Repeat("PINK REGENCY TEACUP AND SAUCER ", 8)[:eventBytes-fixed]
	return c
}

// commandID is a UUIDv7 of a time that holds the command's number where others
// are random.
func commandID(at time.Time, i int) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|7<<12)
	binary.BigEndian.PutUint64(id[8:], 1<<63|uint64(i))
	return id.String()
}

// numberOf is the number in a command id.
func numberOf(id string) (int, error) {
	u, err := uuid.Parse(id)
	return int(binary.BigEndian.Uint64(u[8:]) &^ (1 << 63)), err
}

// produce logs the commands.
func (s *stack) produce(ctx context.Context, cs commands) error {
	cl, err := kgo.NewClient(s.opts(kgo.RecordPartitioner(engine.Partitioner()), kgo.MaxBufferedRecords(100_000))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for i := cs.first; i < cs.first+cs.n && ctx.Err() == nil; i++ {
		rec, err := s.command(i, cs)
		if err != nil {
			return err
		}
		cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("producing commands: %w", err))
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return context.Cause(ctx)
	}
	return context.Cause(ctx)
}

func (s *stack) command(i int, cs commands) (*kgo.Record, error) {
	at, key := time.Now(), cs.key(i)
	rec := &kgo.Record{Topic: s.topology.Commands(s.topology.Aggregates[0]), Key: []byte(key)}
	if cs.at != nil {
		at = cs.at(i)
		rec.Timestamp = at
	}
	id := commandID(at, i)
	meta := &platform.CommandMetadata{CommandID: id, CorrelationID: id, CausationID: id}
	header, err := s.serde.Append(nil, meta)
	if err != nil {
		return nil, err
	}
	rec.Headers = []kgo.RecordHeader{{Key: serde.MetaHeader, Value: header}}
	rec.Value, err = s.serde.Append(make([]byte, 0, eventBytes), adjustOf(i, key))
	if err == nil && len(rec.Value) != eventBytes {
		err = fmt.Errorf("command %d has %d bytes", i, len(rec.Value))
	}
	return rec, err
}
