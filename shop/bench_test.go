package shop_test

import (
	"testing"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// BenchmarkReadingTheSixMonths is what a load costs on the client's side
// before anything is sent: unpack, parse, group, and write as JSON.
func BenchmarkReadingTheSixMonths(b *testing.B) {
	b.ReportAllocs()
	var line []byte
	for b.Loop() {
		for c, err := range retailcsv.Commands(shop.Sample()...) {
			if err != nil {
				b.Fatal(err)
			}
			schema := avro.Sets{retail.Schemas}.Find(c.Record.AvroName()).Schema()
			if line, err = avro.AppendJSON(line[:0], schema, c.Record.AppendAvro(nil)); err != nil {
				b.Fatal(err)
			}
		}
	}
}
