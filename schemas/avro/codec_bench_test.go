//go:build unix

package avro_test

import (
	"syscall"
	"testing"

	"github.com/linkedin/goavro/v2"
	lib "github.com/twmb/avro"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// taggedOrder is retail.PlaceOrder as libraries that reflect want it.
type taggedOrder struct {
	OrderID    string       `avro:"orderId"`
	CustomerID *string      `avro:"customerId"`
	Country    string       `avro:"country"`
	PlacedAt   int64        `avro:"placedAt"`
	Lines      []taggedLine `avro:"lines"`
}

type taggedLine struct {
	Sku         string `avro:"sku"`
	Description string `avro:"description"`
	Quantity    int32  `avro:"quantity"`
	UnitPrice   int64  `avro:"unitPrice"`
}

// BenchmarkCodec compares the candidates of docs/adr/0002-avro-codec.md on one record. Besides the time of the wall
// it reports the processor time, which a busy machine disturbs less.
func BenchmarkCodec(b *testing.B) {
	schema := schemaOf(b, "shop.order.PlaceOrder").Canonical() // without logical types: plain values for all
	twmb, err := lib.Parse(schema)
	if err != nil {
		b.Fatal(err)
	}
	generic, err := goavro.NewCodec(schema)
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []struct {
		name        string
		first, last int
	}{{"event", 15, 19}, {"order24", 0, 24}} {
		rec := bigOrder()
		rec.Lines = rec.Lines[size.first:size.last]
		payload := rec.AppendAvro(nil)
		var tagged taggedOrder
		if _, err := twmb.Decode(payload, &tagged); err != nil {
			b.Fatal(err)
		}
		native, _, err := generic.NativeFromBinary(payload)
		if err != nil {
			b.Fatal(err)
		}
		var buf []byte
		for _, c := range []struct {
			name string
			run  func() error
		}{
			{"encode/generated", func() error { buf = rec.AppendAvro(buf[:0]); return nil }},
			{"encode/twmb", func() (err error) { buf, err = twmb.AppendEncode(buf[:0], &tagged); return err }},
			{"encode/goavro", func() (err error) { buf, err = generic.BinaryFromNative(buf[:0], native); return err }},
			{"decode/generated", func() error { return avro.Record(new(retail.PlaceOrder)).DecodeAvro(payload) }},
			{"decode/twmb", func() error { _, err := twmb.Decode(payload, new(taggedOrder)); return err }},
			{"decode/twmb-alias", func() error { _, err := twmb.Decode(payload, new(taggedOrder), lib.AliasInput()); return err }},
			{"decode/goavro", func() error { _, _, err := generic.NativeFromBinary(payload); return err }},
		} {
			b.Run(size.name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				before := cpuNanos(b)
				for b.Loop() {
					if err := c.run(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuNanos(b)-before)/float64(b.N), "cpu-ns/op")
				b.ReportMetric(float64(len(payload)), "bytes")
			})
		}
	}
}

// cpuNanos returns the processor time of this process.
func cpuNanos(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
