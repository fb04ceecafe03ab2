package portstest

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"sync"

	"github.com/nexusblueprint/nexus/ports"
)

// pages follows a query to its end and returns all ids. each, if not nil, is called after every page.
func (t *searchTest) pages(q ports.Query, each func(ports.Page)) []string {
	t.Helper()
	var ids []string
	for n := 0; ; n++ {
		page := t.search(q)
		ids = append(ids, idsOf(page.Documents)...)
		if len(page.Documents) > q.Limit {
			t.Fatalf("%d documents on a page of %d", len(page.Documents), q.Limit)
		}
		if n > 0 && len(page.Documents) == 0 {
			t.Errorf("%+v: page %d is empty: the one before was the last and did not say so", q, n)
		}
		if each != nil {
			each(page)
		}
		if page.Next == "" {
			return ids
		}
		if len(page.Documents) == 0 || n > 10_000 {
			t.Fatalf("%+v: page %d has %d documents and another page after it", q, n, len(page.Documents))
		}
		q.Cursor = page.Next
	}
}

// some writes n documents whose values often are equal or missing.
func (t *searchTest) some(n int) {
	t.Helper()
	var docs []ports.Document
	for i := range n {
		doc := full(fmt.Sprintf("%04d", i), 1, []string{"uk", "fr", "de"}[i%3], int64(i%7), int64(i), 0, float64(i%5)/2, i%2 == 0)
		if i%4 == 0 {
			doc.Values[1] = nil
		}
		docs = append(docs, doc)
	}
	t.write(docs...)
}

var searchPageCases = []searchCase{
	{"following the cursors shows every document once, in the order of a single page", func(t *searchTest) {
		t.ensure(searchFields...)
		t.some(60)
		for _, q := range []ports.Query{
			{},
			{Sort: by("units")},
			{Sort: by("-units")},
			{Sort: by("country", "-units", "weight")},
			{Sort: by("-weight"), Filters: []ports.Filter{where("units", ports.OpGt, int64(2))}},
			{Text: "text"},
			{Text: "te", Sort: by("units", "country")},
		} {
			q.Limit = ports.SearchLimitMax
			whole := t.search(q)
			if whole.Next != "" {
				t.Errorf("%+v: a page that holds all has another after it", q)
			}
			for _, limit := range []int{1, 7, 59, 60} {
				q.Limit = limit
				got := t.pages(q, func(p ports.Page) {
					if p.Total != whole.Total {
						t.Errorf("%+v: total %d on a page, want %d", q, p.Total, whole.Total)
					}
				})
				if want := idsOf(whole.Documents); !slices.Equal(got, want) {
					t.Errorf("%+v by pages:\n got %q\nwant %q", q, got, want)
				}
			}
		}
	}},
	{"a cursor may change the limit and needs no escaping in a URL", func(t *searchTest) {
		t.ensure(searchFields...)
		t.write(full("é", 1, "<&=+/?>", -1, 1, 1, 0.1, true), full("ü", 1, "~\x00\xf0\x9f\x98\x80", 1, 1, 1, 1e300, false))
		q := ports.Query{Sort: by("country", "-units", "weight", "open"), Limit: 1}
		cursor := t.search(q).Next
		if cursor == "" || url.QueryEscape(cursor) != cursor {
			t.Errorf("cursor %q", cursor)
		}
		t.finds2(ports.Query{Sort: q.Sort, Limit: 50, Cursor: cursor}, "ü")
	}},
	{"a cursor of another query is refused", func(t *searchTest) {
		t.ensure(searchFields...)
		t.some(20)
		filters := []ports.Filter{where("units", ports.OpGte, int64(1))}
		q := ports.Query{Limit: 2, Sort: by("units"), Filters: filters, Text: "text"}
		cursor := t.search(q).Next
		for _, other := range []ports.Query{
			{Sort: by("-units"), Filters: filters, Text: "text"},
			{Sort: by("sales"), Filters: filters, Text: "text"},
			{Sort: by("units", "sales"), Filters: filters, Text: "text"},
			{Filters: filters, Text: "text"},
			{Sort: by("units"), Text: "text"},
			{Sort: by("units"), Filters: []ports.Filter{where("units", ports.OpGte, int64(2))}, Text: "text"},
			{Sort: by("units"), Filters: []ports.Filter{where("units", ports.OpGt, int64(1))}, Text: "text"},
			{Sort: by("units"), Filters: []ports.Filter{where("sales", ports.OpGte, int64(1))}, Text: "text"},
			{Sort: by("units"), Filters: filters, Text: "tex"},
			{Sort: by("units"), Filters: filters},
		} {
			other.Limit, other.Cursor = 2, cursor
			t.fails(other, ports.ErrBadCursor)
		}
		other := &searchTest{T: t.T, store: t.store, index: t.index + "x"}
		other.ensure(searchFields...)
		q.Cursor = cursor
		other.fails(q, ports.ErrBadCursor)
	}},
	{"an altered cursor is refused", func(t *searchTest) {
		t.ensure(searchFields...)
		t.some(20)
		q := ports.Query{Limit: 2, Sort: by("country", "-units")}
		cursor := t.search(q).Next
		for i := range len(cursor) {
			for _, c := range []byte("A_z9") {
				if altered := cursor[:i] + string(c) + cursor[i+1:]; altered != cursor {
					q.Cursor = altered
					t.fails(q, ports.ErrBadCursor)
				}
			}
			q.Cursor = cursor[:i]
			if q.Cursor != "" {
				t.fails(q, ports.ErrBadCursor)
			}
		}
		for _, altered := range []string{cursor + "A", cursor + "=", cursor + cursor, cursor[:9] + "\n" + cursor[9:], " ", "%", base64.RawURLEncoding.EncodeToString([]byte("0000"))} {
			q.Cursor = altered
			t.fails(q, ports.ErrBadCursor)
		}
	}},
	{"documents that do not change are neither missed nor repeated while others are written and deleted", func(t *searchTest) {
		t.ensure(searchFields...)
		t.some(60) // those with an odd number stay as they are
		for _, q := range []ports.Query{{Sort: by("-units", "country")}, {}, {Text: "text"}, {Sort: by("weight"), Text: "text"}} {
			q.Limit = 5
			round := uint64(1)
			got := t.pages(q, func(ports.Page) {
				round++
				var docs []ports.Document
				for i := 0; i < 60; i += 2 {
					doc := full(fmt.Sprintf("%04d", i), t.nextVersion(), "xx", int64(i+int(round))%9, 0, 0, float64(round%3), true)
					doc.Deleted = (i/2+int(round))%3 == 0
					docs = append(docs, doc)
				}
				docs = append(docs, full(fmt.Sprintf("new %d", t.nextVersion()), 1, "yy", int64(round%9), 0, 0, 1, true))
				t.write(docs...)
			})
			seen := map[string]int{}
			for _, id := range got {
				seen[id]++
			}
			for i := 1; i < 60; i += 2 {
				if id := fmt.Sprintf("%04d", i); seen[id] != 1 {
					t.Errorf("%+v: document %s, which did not change, was shown %d times", q, id, seen[id])
				}
			}
		}
	}},
	{"reading and writing at once disturb each other in nothing", searchConcurrently},
}

// finds2 is finds for a page that is not the whole result.
func (t *searchTest) finds2(q ports.Query, ids ...string) {
	t.Helper()
	if got := idsOf(t.search(q).Documents); !slices.Equal(got, ids) {
		t.Errorf("searching %+v: got %q, want %q", q, got, ids)
	}
}

// nextVersion rises with every call.
func (t *searchTest) nextVersion() uint64 {
	t.version++
	return t.version + 1
}

// searchConcurrently has writers raise the versions of their own documents, while readers see that no version goes back.
func searchConcurrently(t *searchTest) {
	t.ensure(searchFields...)
	const writers, readers, rounds, each = 3, 4, 15, 20
	doc := func(w, i int, v uint64) ports.Document {
		return full(fmt.Sprintf("%d-%02d", w, i), v, fmt.Sprintf("c%d", w), int64(v), 0, 0, 0, true)
	}
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for v := uint64(1); v <= rounds; v++ {
				var docs []ports.Document
				for i := range each {
					docs = append(docs, doc(w, i, v))
				}
				results, err := t.store.Bulk(t.Context(), t.index, docs)
				for _, r := range results {
					if r != (ports.ItemResult{}) {
						t.Errorf("writer %d: %+v", w, r)
					}
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	for r := range readers {
		reading.Go(func() {
			last := map[string]uint64{}
			for {
				q := ports.Query{Sort: by([]string{"-units", "country"}[r%2]), Text: []string{"", "text"}[r/2%2], Limit: 100}
				page, err := t.store.Search(t.Context(), t.index, q)
				if err != nil {
					t.Errorf("reader %d: %v", r, err)
				}
				if page.Total != int64(len(page.Documents)) {
					t.Errorf("reader %d: a page of %d documents, all there are, has total %d", r, len(page.Documents), page.Total)
				}
				for _, d := range page.Documents {
					if d.Version < last[d.ID] {
						t.Errorf("reader %d: %s went back from version %d to %d", r, d.ID, last[d.ID], d.Version)
					}
					last[d.ID] = d.Version
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	if err := t.store.Refresh(t.Context(), t.index); err != nil {
		t.Error(err)
	}
	t.counts(writers * each)
	for w := range writers {
		for i := range each {
			t.holds(fmt.Sprintf("%d-%02d", w, i), rounds, string(doc(w, i, rounds).JSON))
		}
	}
}
