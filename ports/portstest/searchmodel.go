package portstest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
)

// searchModel is a search store as a plain list.
type searchModel struct {
	fields map[string]int
	docs   map[string]ports.Document
}

func (m *searchModel) put(doc ports.Document) {
	if doc.Version > m.docs[doc.ID].Version {
		m.docs[doc.ID] = doc
	}
}

// search returns the ids of all that match, in order.
func (m *searchModel) search(q ports.Query) []string {
	var found []ports.Document
	for _, doc := range m.docs {
		if !doc.Deleted && m.matches(doc, q) {
			found = append(found, doc)
		}
	}
	slices.SortFunc(found, func(a, b ports.Document) int {
		for _, s := range q.Sort {
			if c := compareNullsLast(a.Values[m.fields[s.Field]], b.Values[m.fields[s.Field]], s.Desc); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.ID, b.ID)
	})
	return idsOf(found)
}

func (m *searchModel) matches(doc ports.Document, q ports.Query) bool {
	for _, f := range q.Filters {
		v := doc.Values[m.fields[f.Field]]
		if v == nil {
			return false
		}
		c := compare(v, f.Value)
		if ok := map[ports.Op]bool{ports.OpEq: c == 0, ports.OpGt: c > 0, ports.OpGte: c >= 0, ports.OpLt: c < 0, ports.OpLte: c <= 0}[f.Op]; !ok {
			return false
		}
	}
	have, want := strings.Fields(doc.Text), strings.Fields(q.Text)
	for i, w := range want {
		last := i == len(want)-1
		if !slices.ContainsFunc(have, func(h string) bool { return h == w || (last && strings.HasPrefix(h, w)) }) {
			return false
		}
	}
	return true
}

func compareNullsLast(a, b any, desc bool) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	case desc:
		return -compare(a, b)
	}
	return compare(a, b)
}

func compare(a, b any) int {
	switch a := a.(type) {
	case string:
		return cmp.Compare(a, b.(string))
	case int64:
		return cmp.Compare(a, b.(int64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case bool:
		return cmp.Compare(strconv.FormatBool(a), strconv.FormatBool(b.(bool)))
	}
	panic(fmt.Sprintf("no value of a field: %T", a))
}

// searchRandom makes documents and queries whose values often meet.
type searchRandom struct{ *rand.Rand }

func (r searchRandom) of(values ...any) any { return values[r.IntN(len(values))] }

func (r searchRandom) value(kind ports.Kind) any {
	switch kind {
	case ports.KindKeyword:
		return r.of("", "a", "A", "ab", "b", "é", "😀", "a b", "a\x00", fmt.Sprint(r.IntN(50)))
	case ports.KindDouble:
		return r.of(0.0, math.Copysign(0, -1), -0.5, 0.1, 1e300, -1e-300, float64(r.IntN(20))/4)
	case ports.KindBool:
		return r.IntN(2) == 0
	default:
		return r.of(int64(0), int64(1)<<53, int64(1)<<53+1, int64(math.MinInt64), int64(math.MaxInt64), int64(1)<<62, r.Int64N(10), -r.Int64N(10))
	}
}

func (r searchRandom) text() string {
	var words []string
	for range r.IntN(5) {
		words = append(words, r.of("red", "redwood", "lamp", "lam", "heart", "heartbeat", "l", "t2", "ab").(string))
	}
	return strings.Join(words, " ")
}

func (r searchRandom) document(ids int) ports.Document {
	doc := ports.Document{ID: fmt.Sprintf("id-%d", r.IntN(ids)), Version: 1 + r.Uint64N(20), Deleted: r.IntN(12) == 0, Text: r.text()}
	doc.JSON = fmt.Appendf(nil, `{"n":%d}`, r.Uint64())
	for _, f := range searchFields {
		if r.IntN(5) == 0 {
			doc.Values = append(doc.Values, nil)
		} else {
			doc.Values = append(doc.Values, r.value(f.Kind))
		}
	}
	return doc
}

// query asks for no order of relevance: that is not the model's to know.
func (r searchRandom) query() ports.Query {
	q := ports.Query{Limit: 5 + r.IntN(95)}
	for range r.IntN(3) {
		f := searchFields[r.IntN(len(searchFields))]
		q.Filters = append(q.Filters, where(f.Name, r.of(ports.OpEq, ports.OpGt, ports.OpGte, ports.OpLt, ports.OpLte).(ports.Op), r.value(f.Kind)))
	}
	for _, i := range r.Perm(len(searchFields))[:r.IntN(4)] {
		q.Sort = append(q.Sort, ports.Sort{Field: searchFields[i].Name, Desc: r.IntN(2) == 0})
	}
	if len(q.Sort) > 0 && r.IntN(3) == 0 {
		q.Text = r.text()
	}
	return q
}

// searchAgainstModel writes random batches and asks random queries, page by page, of the store and of a plain list.
// NEXUS_TEST_SEED repeats a run.
func searchAgainstModel(t *testing.T, store ports.SearchStore) {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("NEXUS_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("NEXUS_TEST_SEED=%d", seed)
	r := searchRandom{rand.New(rand.NewPCG(seed, 0))}
	s := &searchTest{T: t, store: store, index: "model.v1"}
	s.ensure(searchFields...)
	model := &searchModel{fields: map[string]int{}, docs: map[string]ports.Document{}}
	for i, f := range searchFields {
		model.fields[f.Name] = i
	}
	for range 12 {
		var batch []ports.Document
		for range 1 + r.IntN(150) {
			batch = append(batch, r.document(300))
		}
		for i, result := range s.bulk(batch...) {
			stale := batch[i].Version <= model.docs[batch[i].ID].Version
			if result.Err != nil || result.Stale != stale {
				t.Fatalf("writing %+v: %+v, want stale %v", batch[i], result, stale)
			}
			model.put(batch[i])
		}
		for range 10 {
			q := r.query()
			want := model.search(q)
			got := s.pages(q, func(p ports.Page) {
				if p.Total != int64(len(want)) {
					t.Fatalf("%+v: total %d, want %d", q, p.Total, len(want))
				}
				for _, d := range p.Documents {
					if m := model.docs[d.ID]; d.Version != m.Version || string(d.JSON) != string(m.JSON) {
						t.Fatalf("%+v: document %+v, want %+v", q, d, m)
					}
				}
			})
			if !slices.Equal(got, want) {
				t.Fatalf("%+v:\n got %q\nwant %q", q, got, want)
			}
		}
		s.counts(int64(len(model.search(ports.Query{}))))
	}
}
