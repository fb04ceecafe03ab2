package avro_test

import (
	"fmt"
	"testing"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// bigOrder is an order of 24 lines, the mean of the real ones.
func bigOrder() *retail.PlaceOrder {
	customer := "17850"
	o := &retail.PlaceOrder{OrderID: "536365", CustomerID: &customer, Country: "United Kingdom", PlacedAt: 1291191960000}
	for i := range 24 {
		o.Lines = append(o.Lines, retail.Line{
			Sku: fmt.Sprintf("%05dA", 85123+i), Description: "WHITE HANGING HEART T-LIGHT HOLDER"[:10+i],
			Quantity: int32(i + 1), UnitPrice: avro.Milli(2550 + 10*i),
		})
	}
	return o
}

// metadata is a flat record of about 200 bytes, which every event carries.
func metadata() *platform.Metadata {
	id := "0199c2a0-7a1e-7000-8000-0123456789ab"
	trace := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	return &platform.Metadata{
		Version: 7, CommandID: id, CorrelationID: id, CausationID: id, Actor: "clerk-17", At: 1291191960000, Traceparent: &trace,
	}
}

// smallEvent is an event of about 200 bytes.
func smallEvent() *retail.OrderPlaced {
	o := bigOrder()
	return &retail.OrderPlaced{OrderID: o.OrderID, CustomerID: o.CustomerID, Country: o.Country, PlacedAt: o.PlacedAt, Lines: o.Lines[15:20]}
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range []struct {
		name string
		rec  avro.Record
	}{{"metadata", metadata()}, {"event", smallEvent()}, {"order24", bigOrder()}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = c.rec.AppendAvro(buf[:0])
			}
			b.ReportMetric(float64(len(buf)), "bytes")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name string
		rec  avro.Record
	}{{"metadata", metadata()}, {"event", smallEvent()}, {"order24", bigOrder()}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			buf := c.rec.AppendAvro(nil)
			for b.Loop() {
				if err := c.rec.DecodeAvro(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJSON(b *testing.B) {
	s, buf := schemaOf(b, "shop.order.PlaceOrder"), bigOrder().AppendAvro(nil)
	body, err := avro.AppendJSON(nil, s, buf)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		b.ReportMetric(float64(len(body)), "bytes")
		var out []byte
		for b.Loop() {
			var faults []avro.Fault
			if out, faults = avro.JSONToAvro(out[:0], s, body); len(faults) > 0 {
				b.Fatal(faults)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		var out []byte
		for b.Loop() {
			if out, err = avro.AppendJSON(out[:0], s, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
