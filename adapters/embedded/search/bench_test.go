package search

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/ports"
)

// The benchmarks write one document per iteration (run them with -benchtime=100000x, say) and report the processor time of
// the whole process besides. `go test -bench . -run '^$' -benchtime 50000x`

var benchWords = strings.Fields(`white hanging heart light holder lantern cream cupid metal coat hanger union jack hot water
	bottle red woolly hottie set nesting boxes glass star frosted hand warmer bird ornament blue retro polka dot tea cup plate
	bag jumbo vintage paisley spotty lunch box cake tins pantry design knitted mug home office building block word`)

// benchModel is a read model to fill: its spec, and its i-th document.
type benchModel struct {
	spec ports.IndexSpec
	doc  func(r *rand.Rand, i int, version uint64) ports.Document
}

func benchText(seed, words int) string {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	parts := make([]string, words)
	for i := range parts {
		parts[i] = benchWords[r.IntN(len(benchWords))]
	}
	return strings.Join(parts, " ")
}

// products has two keywords and four numbers, of which three change, and six words that stay.
func benchProducts(n int) benchModel {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = benchText(i, 6)
	}
	return benchModel{
		ports.IndexSpec{Name: "products.v1", Fields: []ports.Field{
			{Name: "sku", Kind: ports.KindKeyword},
			{Name: "description", Kind: ports.KindKeyword},
			{Name: "unitsSold", Kind: ports.KindLong},
			{Name: "sales", Kind: ports.KindMoney},
			{Name: "credits", Kind: ports.KindMoney},
			{Name: "onHand", Kind: ports.KindLong},
		}},
		func(r *rand.Rand, i int, version uint64) ports.Document {
			i %= n
			sku := fmt.Sprintf("sku-%06d", i)
			units, sales, onHand := r.Int64N(100_000), r.Int64N(10_000_000), -r.Int64N(100_000)
			return ports.Document{
				ID: sku, Version: version, Text: texts[i],
				Values: []any{sku, texts[i], units, sales, int64(0), onHand},
				JSON: fmt.Appendf(nil, `{"sku":%q,"description":%q,"unitsSold":%d,"sales":"%d.00","credits":"0.00","onHand":%d}`,
					sku, texts[i], units, sales, onHand),
			}
		},
	}
}

// orders has 24 lines of four words in JSON of some 2.5 KB.
func benchOrders(n int) benchModel {
	return benchModel{
		ports.IndexSpec{Name: "orders.v1", Fields: []ports.Field{
			{Name: "orderId", Kind: ports.KindKeyword},
			{Name: "customerId", Kind: ports.KindKeyword},
			{Name: "country", Kind: ports.KindKeyword},
			{Name: "status", Kind: ports.KindKeyword},
			{Name: "placedAt", Kind: ports.KindTimestamp},
			{Name: "units", Kind: ports.KindLong},
			{Name: "total", Kind: ports.KindMoney},
		}},
		func(r *rand.Rand, i int, version uint64) ports.Document {
			i %= n
			id, customer := fmt.Sprintf("%06d", 536365+i), fmt.Sprint(12000+i*7919%4000)
			text := benchText(i, 96)
			words := strings.Fields(text)
			json := fmt.Appendf(nil, `{"orderId":%q,"customerId":%q,"country":"United Kingdom","status":"placed","lines":[`, id, customer)
			for l := range 24 {
				json = fmt.Appendf(json, `{"sku":"%05d","description":%q,"quantity":%d,"unitPrice":"2.55"},`, 20000+l, strings.Join(words[l*4:l*4+4], " "), l)
			}
			return ports.Document{
				ID: id, Version: version, Text: text, JSON: append(json, `{}]}`...),
				Values: []any{id, customer, "United Kingdom", []string{"placed", "confirmed"}[version%2], 1291190000000 + int64(i), int64(24), r.Int64N(1_000_000)},
			}
		},
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fill writes docs in batches, and reports what it took for each unless b is nil.
func benchFill(b *testing.B, s *Store, index string, docs []ports.Document, batch int) {
	b.Helper()
	b.ResetTimer()
	began, used := time.Now(), processorTime()
	for at := 0; at < len(docs); at += batch {
		part := docs[at:min(at+batch, len(docs))]
		results, err := s.Bulk(b.Context(), index, part)
		if err != nil {
			b.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil || r.Stale {
				b.Fatalf("document %d: %+v", at+i, r)
			}
		}
	}
	used = processorTime() - used
	b.StopTimer()
	b.ReportMetric(float64(len(docs))/time.Since(began).Seconds(), "docs/s")
	b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(len(docs)), "cpu-µs/doc")
}

func benchDocs(m benchModel, from, n, of int) []ports.Document {
	r := rand.New(rand.NewPCG(uint64(from), 2))
	perm := r.Perm(of)
	docs := make([]ports.Document, n)
	for i := range docs {
		docs[i] = m.doc(r, perm[(from+i)%of], uint64(1+(from+i)/of))
	}
	return docs
}

func benchStore(b *testing.B, m benchModel) *Store {
	b.Helper()
	s, _, err := Open(b.Context(), Config{Path: b.TempDir() + "/search.db"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if _, err := s.EnsureIndex(b.Context(), m.spec); err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkStore_Bulk(b *testing.B) {
	for _, m := range []struct {
		name   string
		of     func(n int) benchModel
		number int
	}{{"products", benchProducts, 50_000}, {"orders", benchOrders, 20_000}} {
		for _, batch := range []int{1000, 20} {
			b.Run(fmt.Sprintf("%s/first/by%d", m.name, batch), func(b *testing.B) {
				model := m.of(b.N)
				s := benchStore(b, model)
				benchFill(b, s, model.spec.Name, benchDocs(model, 0, b.N, b.N), batch)
			})
			for _, columns := range []int{0, 1, 3} {
				b.Run(fmt.Sprintf("%s/update/by%d/columns%d", m.name, batch, columns), func(b *testing.B) {
					n := min(b.N, m.number)
					model := m.of(n)
					s := benchStore(b, model)
					benchFill(b, s, model.spec.Name, benchDocs(model, 0, n, n), 1000)
					for _, f := range model.spec.Fields[len(model.spec.Fields)-columns:] {
						benchSearch(b, s, model.spec.Name, ports.Query{Sort: []ports.Sort{{Field: f.Name}}, Limit: 1})
					}
					benchFill(b, s, model.spec.Name, benchDocs(model, n, b.N, n), batch)
				})
			}
		}
	}
}

func benchSearch(b *testing.B, s *Store, index string, q ports.Query) ports.Page {
	b.Helper()
	page, err := s.Search(b.Context(), index, q)
	if err != nil {
		b.Fatal(err)
	}
	return page
}

// BenchmarkStore_Search asks an index of 50,000 documents.
func BenchmarkStore_Search(b *testing.B) {
	const n = 50_000
	m := benchProducts(n)
	m.spec.Fields = append(m.spec.Fields, ports.Field{Name: "class", Kind: ports.KindKeyword})
	product := m.doc
	m.doc = func(r *rand.Rand, i int, version uint64) ports.Document {
		d := product(r, i, version)
		d.Values = append(d.Values, fmt.Sprint(i%7))
		return d
	}
	s := benchStore(b, m)
	for at := 0; at < n; at += 1000 {
		if _, err := s.Bulk(b.Context(), m.spec.Name, benchDocs(m, at, 1000, n)); err != nil {
			b.Fatal(err)
		}
	}
	deep := ports.Query{Sort: []ports.Sort{{Field: "unitsSold", Desc: true}}, Limit: 1000}
	for range 25 {
		deep.Cursor = benchSearch(b, s, m.spec.Name, deep).Next
	}
	deep.Limit = 50
	class := []ports.Filter{{Field: "class", Op: ports.OpEq, Value: "3"}}
	for _, c := range []struct {
		name string
		q    ports.Query
	}{
		{"all by id", ports.Query{Limit: 50}},
		{"filter, sorted by number", ports.Query{Filters: class, Sort: []ports.Sort{{Field: "unitsSold", Desc: true}}, Limit: 50}},
		{"narrow range, sorted by another number", ports.Query{Filters: []ports.Filter{{Field: "sales", Op: ports.OpLt, Value: int64(100_000)}}, Sort: []ports.Sort{{Field: "unitsSold"}}, Limit: 50}},
		{"sorted by number, page 500", deep},
		{"sorted by text, two fields", ports.Query{Sort: []ports.Sort{{Field: "class"}, {Field: "sales", Desc: true}}, Limit: 50}},
		{"two words", ports.Query{Text: "lantern red", Limit: 50}},
		{"two words, sorted", ports.Query{Text: "lantern red", Sort: []ports.Sort{{Field: "sales"}}, Limit: 50}},
		{"two words, filter", ports.Query{Text: "lantern red", Filters: class, Limit: 50}},
		{"one letter", ports.Query{Text: "r", Limit: 50}},
	} {
		b.Run(c.name, func(b *testing.B) {
			page := benchSearch(b, s, m.spec.Name, c.q)
			b.ReportMetric(float64(page.Total), "hits")
			for b.Loop() {
				benchSearch(b, s, m.spec.Name, c.q)
			}
		})
	}
	b.Run("one document by id", func(b *testing.B) {
		for b.Loop() {
			if _, ok, err := s.Get(b.Context(), m.spec.Name, "sku-000123"); err != nil || !ok {
				b.Fatal(ok, err)
			}
		}
	})
}
