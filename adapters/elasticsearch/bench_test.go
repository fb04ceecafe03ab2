package elasticsearch

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/elastictest"
	"github.com/nexusblueprint/nexus/ports"
)

// The benchmarks write one document per iteration, on a server of 512 MB of heap on the same machine.
// `go test -bench . -run '^$' -benchtime 50000x ./adapters/elasticsearch`

var benchSpec = ports.IndexSpec{Fields: []ports.Field{
	{Name: "sku", Kind: ports.KindKeyword},
	{Name: "description", Kind: ports.KindKeyword},
	{Name: "unitsSold", Kind: ports.KindLong},
	{Name: "sales", Kind: ports.KindMoney},
	{Name: "credits", Kind: ports.KindMoney},
	{Name: "onHand", Kind: ports.KindLong},
}}

var benchWords = strings.Fields(`white hanging heart light holder lantern cream cupid metal coat hanger union jack hot water bottle red woolly hottie set
	nesting boxes glass star frosted hand warmer bird ornament blue retro polka dot tea cup plate bag jumbo vintage paisley spotty lunch box cake`)

// benchProduct is a document of two keywords, four numbers and six words, in JSON of 140 bytes.
func benchProduct(r *rand.Rand, i int, version uint64) ports.Document {
	sku, words := fmt.Sprintf("sku-%06d", i), make([]string, 6)
	for w := range words {
		words[w] = benchWords[(i*7+w*w*13)%len(benchWords)]
	}
	text, units, sales := strings.Join(words, " "), r.Int64N(100_000), r.Int64N(10_000_000)
	return ports.Document{
		ID: sku, Version: version, Text: text, Values: []any{sku, text, units, sales, int64(0), -units},
		JSON: fmt.Appendf(nil, `{"sku":%q,"description":%q,"unitsSold":%d,"sales":"%d.00","credits":"0.00","onHand":%d}`, sku, text, units, sales, -units),
	}
}

func BenchmarkStore_Bulk(b *testing.B) {
	for _, m := range []struct{ documents, batch int }{{1_000_000, 1_000}, {10_000, 1_000}, {10_000, 100}, {10_000, 10}} {
		b.Run(fmt.Sprintf("of %d documents, %d and a refresh at a time", m.documents, m.batch), func(b *testing.B) {
			s := openAt(b, elastictest.Shared(b))
			spec := benchSpec
			spec.Name = fmt.Sprintf("bench-%d-%d-%d.v1", m.documents, m.batch, b.N)
			if _, err := s.EnsureIndex(b.Context(), spec); err != nil {
				b.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 1))
			var writing, refreshing time.Duration
			b.ResetTimer()
			for n := 0; n < b.N; n += m.batch {
				batch := make([]ports.Document, min(m.batch, b.N-n))
				for i := range batch {
					batch[i] = benchProduct(r, (n+i)*7919%m.documents, uint64(n+i)+1)
				}
				began := time.Now()
				results, err := s.Bulk(b.Context(), spec.Name, batch)
				if err != nil {
					b.Fatal(err)
				}
				for _, result := range results {
					if result != (ports.ItemResult{}) {
						b.Fatal(result)
					}
				}
				writing += time.Since(began)
				began = time.Now()
				if err := s.Refresh(b.Context(), spec.Name); err != nil {
					b.Fatal(err)
				}
				refreshing += time.Since(began)
			}
			rounds := float64((b.N + m.batch - 1) / m.batch)
			b.ReportMetric(float64(b.N)/(writing+refreshing).Seconds(), "docs/s")
			b.ReportMetric(writing.Seconds()*1000/rounds, "bulk-ms")
			b.ReportMetric(refreshing.Seconds()*1000/rounds, "refresh-ms")
		})
	}
}

func BenchmarkStore_Read(b *testing.B) {
	const documents = 20_000
	s := openAt(b, elastictest.Shared(b))
	spec := benchSpec
	spec.Name = "bench-read.v1"
	if _, err := s.EnsureIndex(b.Context(), spec); err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for n := 0; n < documents; n += 1_000 {
		batch := make([]ports.Document, 1_000)
		for i := range batch {
			batch[i] = benchProduct(r, n+i, 1)
		}
		if _, err := s.Bulk(b.Context(), spec.Name, batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Refresh(b.Context(), spec.Name); err != nil {
		b.Fatal(err)
	}
	for name, read := range map[string]func(i int) error{
		"get": func(i int) error {
			_, _, err := s.Get(b.Context(), spec.Name, fmt.Sprintf("sku-%06d", i%documents))
			return err
		},
		"count": func(int) error { _, err := s.Count(b.Context(), spec.Name); return err },
		"page of 20 by a number": func(int) error {
			_, err := s.Search(b.Context(), spec.Name, ports.Query{Sort: []ports.Sort{{Field: "unitsSold", Desc: true}}, Limit: 20})
			return err
		},
		"page of 20 with two words": func(int) error {
			_, err := s.Search(b.Context(), spec.Name, ports.Query{Text: "heart whi", Limit: 20})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for i := range b.N {
				if err := read(i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
