// Package portstest holds the conformance suites of the ports: what an adapter has to pass to be one. An adapter's test
// calls the suite with a function that opens it, empty.
package portstest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
)

// SearchStore checks an empty search store against the contract of ports.SearchStore.
func SearchStore(t *testing.T, store ports.SearchStore) {
	t.Helper()
	groups := []struct {
		name  string
		cases []searchCase
	}{
		{"indexes", searchIndexCases},
		{"writing", searchWriteCases},
		{"searching", searchQueryCases},
		{"text", searchTextCases},
		{"paging", searchPageCases},
		{"trouble", searchFaultCases},
	}
	n := 0
	for _, g := range groups {
		for _, c := range g.cases {
			n++
			index := fmt.Sprintf("case-%d.v1", n)
			t.Run(g.name+": "+c.title, func(t *testing.T) {
				c.run(&searchTest{T: t, store: store, index: index})
			})
		}
	}
	t.Run("any query answers as a plain list would", func(t *testing.T) { searchAgainstModel(t, store) })
}

type searchCase struct {
	title string
	run   func(t *searchTest)
}

// searchFields has one field of every kind.
var searchFields = []ports.Field{
	{Name: "country", Kind: ports.KindKeyword},
	{Name: "units", Kind: ports.KindLong},
	{Name: "sales", Kind: ports.KindMoney},
	{Name: "placedAt", Kind: ports.KindTimestamp},
	{Name: "weight", Kind: ports.KindDouble},
	{Name: "open", Kind: ports.KindBool},
}

// searchTest is one case with an index of its own.
type searchTest struct {
	*testing.T
	store   ports.SearchStore
	index   string
	version uint64 // the last one that nextVersion gave, less one
}

func (t *searchTest) ensure(fields ...ports.Field) (empty bool) {
	t.Helper()
	empty, err := t.store.EnsureIndex(t.Context(), ports.IndexSpec{Name: t.index, Fields: fields})
	if err != nil {
		t.Fatalf("ensuring index: %v", err)
	}
	return empty
}

// bulk writes and refreshes; it does not look at the results.
func (t *searchTest) bulk(docs ...ports.Document) []ports.ItemResult {
	t.Helper()
	results, err := t.store.Bulk(t.Context(), t.index, docs)
	if err != nil {
		t.Fatalf("bulk: %v", err)
	}
	if len(results) != len(docs) {
		t.Fatalf("bulk of %d documents has %d results", len(docs), len(results))
	}
	if err := t.store.Refresh(t.Context(), t.index); err != nil {
		t.Fatalf("refreshing: %v", err)
	}
	return results
}

// write is bulk for documents that all have to be written.
func (t *searchTest) write(docs ...ports.Document) {
	t.Helper()
	for i, r := range t.bulk(docs...) {
		if r.Err != nil || r.Stale {
			t.Fatalf("writing %q: %+v, want it written", docs[i].ID, r)
		}
	}
}

func (t *searchTest) search(q ports.Query) ports.Page {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	page, err := t.store.Search(t.Context(), t.index, q)
	if err != nil {
		t.Fatalf("searching %+v: %v", q, err)
	}
	return page
}

// finds searches and compares the ids, in order.
func (t *searchTest) finds(q ports.Query, ids ...string) {
	t.Helper()
	page := t.search(q)
	if got := idsOf(page.Documents); !slices.Equal(got, ids) {
		t.Errorf("searching %+v: got %q, want %q", q, got, ids)
	}
	if page.Total != int64(len(ids)) {
		t.Errorf("searching %+v: total %d, want %d", q, page.Total, len(ids))
	}
}

func (t *searchTest) fails(q ports.Query, want error) {
	t.Helper()
	if _, err := t.store.Search(t.Context(), t.index, q); !errors.Is(err, want) {
		t.Errorf("searching %+v: error %v, want %v", q, err, want)
	}
}

// holds checks what Get answers: version 0 means nothing.
func (t *searchTest) holds(id string, version uint64, json string) {
	t.Helper()
	doc, ok, err := t.store.Get(t.Context(), t.index, id)
	if err != nil {
		t.Fatalf("get %q: %v", id, err)
	}
	if ok != (version > 0) || (ok && (doc.ID != id || doc.Version != version || string(doc.JSON) != json)) {
		t.Errorf("get %q: %v %d %q, want version %d %q", id, ok, doc.Version, doc.JSON, version, json)
	}
}

func (t *searchTest) counts(want int64) {
	t.Helper()
	n, err := t.store.Count(t.Context(), t.index)
	if err != nil || n != want {
		t.Errorf("count: %d %v, want %d", n, err, want)
	}
}

func idsOf(docs []ports.Document) []string {
	ids := make([]string, len(docs))
	for i, d := range docs {
		ids[i] = d.ID
	}
	return ids
}

// plain is a document of an index without fields.
func plain(id string, version uint64, text string) ports.Document {
	return ports.Document{ID: id, Version: version, JSON: []byte(`{"v":` + fmt.Sprint(version) + `}`), Text: text}
}

func deleted(id string, version uint64) ports.Document {
	return ports.Document{ID: id, Version: version, Deleted: true}
}

var searchIndexCases = []searchCase{
	{"a new index is empty, and said to be until something is written", func(t *searchTest) {
		for range 2 {
			if !t.ensure(searchFields...) {
				t.Error("not said to be empty")
			}
		}
		t.write(deleted("a", 1))
		if t.ensure(searchFields...) {
			t.Error("said to be empty after a delete was written")
		}
	}},
	{"the same index ensured again keeps its documents", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 1, ""))
		t.ensure()
		t.holds("a", 1, `{"v":1}`)
	}},
	{"an index with other fields is emptied, versions too", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 5, "red lamp"))
		if !t.ensure(ports.Field{Name: "units", Kind: ports.KindLong}) {
			t.Error("not said to be empty")
		}
		t.counts(0)
		t.finds(ports.Query{Text: "lamp"})
		doc := plain("a", 1, "")
		doc.Values = []any{int64(7)}
		t.write(doc)
		t.finds(ports.Query{Filters: []ports.Filter{{Field: "units", Op: ports.OpEq, Value: int64(7)}}}, "a")
	}},
	{"indexes do not see each other's documents", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 1, "red"))
		other := &searchTest{T: t.T, store: t.store, index: t.index + "x"}
		other.ensure()
		other.write(plain("b", 1, "red"))
		t.finds(ports.Query{Text: "red"}, "a")
		other.finds(ports.Query{Text: "red"}, "b")
		other.holds("a", 0, "")
	}},
	{"an index may be ensured by several at once", func(t *searchTest) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := t.store.EnsureIndex(t.Context(), ports.IndexSpec{Name: t.index, Fields: searchFields}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		t.write(full("a", 1, "uk", 1, 1, 1, 1, true))
	}},
	{"an index that was not ensured is an error everywhere", func(t *searchTest) {
		_, _, errGet := t.store.Get(t.Context(), t.index, "a")
		_, errCount := t.store.Count(t.Context(), t.index)
		_, errBulk := t.store.Bulk(t.Context(), t.index, []ports.Document{plain("a", 1, "")})
		errRefresh := t.store.Refresh(t.Context(), t.index)
		t.fails(ports.Query{Limit: 1}, ports.ErrNoIndex)
		for _, err := range []error{errGet, errCount, errBulk, errRefresh} {
			if !errors.Is(err, ports.ErrNoIndex) {
				t.Errorf("error %v, want %v", err, ports.ErrNoIndex)
			}
		}
	}},
	{"a spec that breaks the rules is refused", func(t *searchTest) {
		long := ports.Field{Name: "a", Kind: ports.KindLong}
		for _, spec := range []ports.IndexSpec{
			{Name: ""},
			{Name: "Products.v1"},
			{Name: "a b"},
			{Name: `a"; DROP TABLE d1; --`},
			{Name: strings.Repeat("a", 101)},
			{Name: t.index, Fields: []ports.Field{long, long}},
			{Name: t.index, Fields: []ports.Field{{Name: "", Kind: ports.KindLong}}},
			{Name: t.index, Fields: []ports.Field{{Name: "a.b", Kind: ports.KindLong}}},
			{Name: t.index, Fields: []ports.Field{{Name: "a", Kind: "decimal"}}},
			{Name: t.index, Fields: slices.Repeat([]ports.Field{long}, ports.SearchFieldsMax+1)},
		} {
			if _, err := t.store.EnsureIndex(t.Context(), spec); !errors.Is(err, ports.ErrBadIndex) {
				t.Errorf("ensuring %+v: error %v, want %v", spec, err, ports.ErrBadIndex)
			}
		}
	}},
}

var searchWriteCases = []searchCase{
	{"a document comes back byte for byte", func(t *searchTest) {
		t.ensure()
		json := "{ \"a\" : 1.50,\n\t\"b\":\"\\u00e9 é 😀 \x00\", \"a\":9007199254740993 }"
		t.write(ports.Document{ID: "a", Version: 3, JSON: []byte(json)})
		t.holds("a", 3, json)
		page := t.search(ports.Query{})
		if len(page.Documents) != 1 || string(page.Documents[0].JSON) != json || page.Documents[0].Version != 3 {
			t.Errorf("searched: %+v", page.Documents)
		}
	}},
	{"ids are exact", func(t *searchTest) {
		t.ensure()
		ids := []string{"a", "A", "a ", "ä", "a\u0308", "%41", "a/b?c&d=<e>", "😀", "a\u2028\n\"'", "01", "1", "1.0", "null", strings.Repeat("x", ports.SearchIDBytesMax)}
		for i, id := range ids {
			t.write(plain(id, uint64(i+1), ""))
		}
		for i, id := range ids {
			t.holds(id, uint64(i+1), fmt.Sprintf(`{"v":%d}`, i+1))
		}
		t.counts(int64(len(ids)))
	}},
	{"an older or equal version changes nothing and is stale", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 5, "new"))
		for _, v := range []uint64{4, 5} {
			stale := plain("a", v, "old")
			stale.JSON = []byte(`{"stale":true}`)
			if r := t.bulk(stale)[0]; !r.Stale || r.Err != nil {
				t.Errorf("version %d over 5: %+v, want stale", v, r)
			}
		}
		t.holds("a", 5, `{"v":5}`)
		t.finds(ports.Query{Text: "old"})
		t.write(plain("a", 6, "newer"))
		t.holds("a", 6, `{"v":6}`)
		t.finds(ports.Query{Text: "new"}, "a")
	}},
	{"a deleted document is gone, and no older write brings it back", func(t *searchTest) {
		t.ensure(searchFields...)
		t.write(full("a", 1, "uk", 1, 1, 1, 1, true), full("b", 1, "uk", 1, 1, 1, 1, true))
		t.write(deleted("a", 3))
		if r := t.bulk(full("a", 2, "uk", 1, 1, 1, 1, true))[0]; !r.Stale {
			t.Errorf("version 2 over delete 3: %+v, want stale", r)
		}
		if r := t.bulk(deleted("b", 1))[0]; !r.Stale {
			t.Errorf("delete 1 over version 1: %+v, want stale", r)
		}
		t.holds("a", 0, "")
		t.counts(1)
		t.finds(ports.Query{}, "b")
		t.finds(ports.Query{Text: "text"}, "b")
		t.finds(ports.Query{Sort: []ports.Sort{{Field: "units"}}}, "b")
		t.finds(ports.Query{Filters: []ports.Filter{{Field: "country", Op: ports.OpEq, Value: "uk"}}}, "b")
		t.write(full("a", 4, "uk", 1, 1, 1, 1, true))
		t.finds(ports.Query{Text: "text"}, "a", "b")
		t.counts(2)
	}},
	{"a delete of what was never written still holds its version", func(t *searchTest) {
		t.ensure()
		t.write(deleted("a", 3))
		if r := t.bulk(plain("a", 2, ""))[0]; !r.Stale {
			t.Errorf("version 2 over delete 3: %+v, want stale", r)
		}
		t.counts(0)
		t.write(plain("a", 4, ""))
		t.counts(1)
	}},
	{"versions are exact up to 2^63-1", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", math.MaxInt64-1, ""))
		t.write(plain("a", math.MaxInt64, ""))
		if r := t.bulk(plain("a", math.MaxInt64-1, ""))[0]; !r.Stale {
			t.Errorf("lower by one: %+v, want stale", r)
		}
		t.holds("a", math.MaxInt64, fmt.Sprintf(`{"v":%d}`, math.MaxInt64))
	}},
	{"one id several times in a batch ends at its highest version", func(t *searchTest) {
		t.ensure()
		r := t.bulk(plain("a", 1, "one"), plain("a", 3, "three"), plain("a", 2, "two"), deleted("a", 4), plain("a", 5, "five"), plain("b", 1, ""), deleted("b", 2))
		for i, stale := range []bool{false, false, true, false, false, false, false} {
			if r[i].Err != nil || r[i].Stale != stale {
				t.Errorf("item %d: %+v, want stale %v", i, r[i], stale)
			}
		}
		t.holds("a", 5, `{"v":5}`)
		t.holds("b", 0, "")
		t.counts(1)
		for _, gone := range []string{"one", "three", "two"} {
			t.finds(ports.Query{Text: gone})
		}
		t.finds(ports.Query{Text: "five"}, "a")
	}},
	{"writing a batch again changes nothing", func(t *searchTest) {
		t.ensure()
		batch := []ports.Document{plain("a", 1, "red"), deleted("b", 7), plain("c", 2, "red")}
		t.write(batch...)
		for i, r := range t.bulk(batch...) {
			if !r.Stale {
				t.Errorf("item %d: %+v, want stale", i, r)
			}
		}
		t.finds(ports.Query{Text: "red"}, "a", "c")
	}},
	{"an empty batch is fine", func(t *searchTest) {
		t.ensure()
		t.bulk()
	}},
	{"a refused document is rejected for ever and holds up no other", searchRejects},
}

func searchRejects(t *searchTest) {
	t.ensure(searchFields...)
	good := func() ports.Document { return full("x", 1, "uk", 1, 1, 1, 1, true) }
	bad := map[string]func(*ports.Document){
		"empty id":              func(d *ports.Document) { d.ID = "" },
		"long id":               func(d *ports.Document) { d.ID = strings.Repeat("x", ports.SearchIDBytesMax+1) },
		"id that is not UTF-8":  func(d *ports.Document) { d.ID = "a\xff" },
		"id with NUL":           func(d *ports.Document) { d.ID = "a\x00b" },
		"version 0":             func(d *ports.Document) { d.Version = 0 },
		"version 2^63":          func(d *ports.Document) { d.Version = 1 << 63 },
		"delete of version 0":   func(d *ports.Document) { d.Version, d.Deleted = 0, true },
		"no JSON":               func(d *ports.Document) { d.JSON = nil },
		"JSON not of UTF-8":     func(d *ports.Document) { d.JSON = []byte("{\"a\":\"\xc3\"}") },
		"too few values":        func(d *ports.Document) { d.Values = d.Values[1:] },
		"string for a long":     func(d *ports.Document) { d.Values[1] = "1" },
		"float for a money":     func(d *ports.Document) { d.Values[2] = 1.0 },
		"int for a long":        func(d *ports.Document) { d.Values[1] = 1 },
		"long for a double":     func(d *ports.Document) { d.Values[4] = int64(1) },
		"long for a bool":       func(d *ports.Document) { d.Values[5] = int64(1) },
		"number for a keyword":  func(d *ports.Document) { d.Values[0] = int64(1) },
		"NaN":                   func(d *ports.Document) { d.Values[4] = math.NaN() },
		"infinity":              func(d *ports.Document) { d.Values[4] = math.Inf(-1) },
		"keyword of 32,767":     func(d *ports.Document) { d.Values[0] = strings.Repeat("x", ports.SearchKeywordBytesMax+1) },
		"keyword not of UTF-8":  func(d *ports.Document) { d.Values[0] = "\xc3" },
		"timestamp as a string": func(d *ports.Document) { d.Values[3] = "2011-01-01T00:00:00Z" },
	}
	for name, spoil := range bad {
		doc := good()
		spoil(&doc)
		first, last := good(), good()
		first.ID, last.ID = "first "+name, "last "+name
		r := t.bulk(first, doc, last)
		if !errors.Is(r[1].Err, ports.ErrRejected) {
			t.Errorf("%s: error %v, want %v", name, r[1].Err, ports.ErrRejected)
		}
		if r[0] != (ports.ItemResult{}) || r[2] != (ports.ItemResult{}) {
			t.Errorf("%s: neighbours %+v and %+v, want both written", name, r[0], r[2])
		}
	}
	t.counts(int64(2 * len(bad)))
}
