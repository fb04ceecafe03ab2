package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/elastictest"
	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// request asks the server past the store.
func (s *Store) request(t *testing.T, method, path, body string, into any) {
	t.Helper()
	if err := s.client.do(t.Context(), raw{method, path, body}, into); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// raw is a request in its own words.
type raw struct{ method, path, body string }

func (r raw) Do(ctx context.Context, transport esapi.Transport) (*esapi.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.path, strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := transport.Perform(req)
	if err != nil {
		return nil, err
	}
	return &esapi.Response{StatusCode: resp.StatusCode, Header: resp.Header, Body: resp.Body}, nil
}

func specOf(name string, fields ...string) ports.IndexSpec {
	spec := ports.IndexSpec{Name: name}
	for _, f := range fields {
		spec.Fields = append(spec.Fields, ports.Field{Name: f, Kind: ports.KindLong})
	}
	return spec
}

func ensure(t *testing.T, s *Store, spec ports.IndexSpec) (empty bool) {
	t.Helper()
	empty, err := s.EnsureIndex(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return empty
}

// put writes the documents 0 to n-1 and refreshes.
func put(t *testing.T, s *Store, index string, n int) {
	t.Helper()
	if _, err := s.Bulk(t.Context(), index, docs(n)); err != nil {
		t.Fatal(err)
	}
	if err := s.Refresh(t.Context(), index); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, s *Store, index string) int64 {
	t.Helper()
	n, err := s.Count(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// An index that was lost, even with everything else in the cluster, must never be written on as if it were whole: its
// writer has to hear of it and to fill it again, even if a reader, or another writer, found the next one meanwhile.
func TestStore_LostIndex(t *testing.T) {
	s := openAt(t, elastictest.Shared(t))
	spec := specOf("lost.v1")
	ensure(t, s, spec)
	put(t, s, spec.Name, 3)
	s.request(t, http.MethodDelete, "/_index_template/nexus-lost.v1", "", nil)
	s.request(t, http.MethodDelete, "/"+s.ensured[spec.Name].concrete, "", nil)

	if r, err := s.Bulk(t.Context(), spec.Name, docs(1)); !errors.Is(err, ports.ErrNoIndex) || r != nil {
		t.Errorf("writing to a lost index: %v %v, want %v", r, err, ports.ErrNoIndex)
	}
	if _, err := s.Count(t.Context(), spec.Name); !errors.Is(err, ports.ErrNoIndex) {
		t.Errorf("reading a lost index: %v, want %v", err, ports.ErrNoIndex)
	}
	other := openAt(t, elastictest.Shared(t))
	if !ensure(t, other, spec) {
		t.Error("the next index is not said to be empty")
	}
	put(t, other, spec.Name, 1)
	if n := count(t, s, spec.Name); n != 1 {
		t.Errorf("the reader sees %d documents, want the one of the next index", n)
	}
	for range 2 { // not ensured again, not written
		if _, err := s.Bulk(t.Context(), spec.Name, docs(2)); !errors.Is(err, ports.ErrNoIndex) {
			t.Errorf("writing on after the loss: %v, want %v", err, ports.ErrNoIndex)
		}
	}
	if err := s.Refresh(t.Context(), spec.Name); !errors.Is(err, ports.ErrNoIndex) {
		t.Errorf("refreshing after the loss: %v, want %v", err, ports.ErrNoIndex)
	}
	ensure(t, s, spec)
	put(t, s, spec.Name, 2)
	if n := count(t, other, spec.Name); n != 2 {
		t.Errorf("%d documents in the end, want 2", n)
	}
}

// A reader that knew the index with its old fields follows to the new ones; a writer of the old fields hears of it.
func TestStore_OtherFields(t *testing.T) {
	old, next := openAt(t, elastictest.Shared(t)), openAt(t, elastictest.Shared(t))
	ensure(t, old, specOf("fields.v1"))
	put(t, old, "fields.v1", 1)
	if !ensure(t, next, specOf("fields.v1", "units")) {
		t.Error("the index with other fields is not said to be empty")
	}
	if _, err := old.Bulk(t.Context(), "fields.v1", docs(1)); !errors.Is(err, ports.ErrNoIndex) {
		t.Errorf("writing with the old fields: %v, want %v", err, ports.ErrNoIndex)
	}
	page, err := old.Search(t.Context(), "fields.v1", ports.Query{Sort: []ports.Sort{{Field: "units"}}, Limit: 1})
	if err != nil || page.Total != 0 {
		t.Errorf("reading by the new field: %d %v", page.Total, err)
	}
}

// Programs that ensure an index at once, with different fields, too, leave one of them, and nothing beside it.
func TestStore_EnsuredByMany(t *testing.T) {
	var all sync.WaitGroup
	stores := []*Store{openAt(t, elastictest.Shared(t)), openAt(t, elastictest.Shared(t)), openAt(t, elastictest.Shared(t))}
	for i := range 6 {
		all.Go(func() {
			_, err := stores[i/2].EnsureIndex(t.Context(), specOf("many.v1", []string{"a", "b"}[i%2]))
			if err != nil && !strings.Contains(err.Error(), "somebody else changes it all the time") {
				t.Error(err)
			}
		})
	}
	all.Wait()
	ensure(t, stores[0], specOf("many.v1", "a"))
	var found map[string]any
	stores[0].request(t, http.MethodGet, "/many.v1*", "", &found)
	if len(found) != 1 {
		t.Errorf("%d indexes are left, want 1: %v", len(found), found)
	}
}

func TestStore_IndexOfSomebodyElse(t *testing.T) {
	s := openAt(t, elastictest.Shared(t))
	s.request(t, http.MethodPut, "/foreign.v1", `{"mappings":{"properties":{"a":{"type":"keyword"}}}}`, nil)
	s.request(t, http.MethodPut, "/theirs", `{"aliases":{"foreign.v2":{}}}`, nil)
	for _, name := range []string{"foreign.v1", "foreign.v2"} {
		if _, err := s.EnsureIndex(t.Context(), specOf(name)); !errors.Is(err, ErrForeign) {
			t.Errorf("ensuring %s: %v, want %v", name, err, ErrForeign)
		}
		if _, err := s.Search(t.Context(), name, ports.Query{Limit: 1}); !errors.Is(err, ErrForeign) {
			t.Errorf("searching %s: %v, want %v", name, err, ErrForeign)
		}
	}
}

// A template for many names, as Elasticsearch has for logs, must not decide about a read model.
func TestStore_TemplatesOfTheCluster(t *testing.T) {
	s := openAt(t, elastictest.Shared(t))
	s.request(t, http.MethodPut, "/_index_template/theirs",
		`{"index_patterns":["logs-*"],"priority":500,"template":{"settings":{"number_of_shards":3},"mappings":{"properties":{"id":{"type":"long"}}}}}`, nil)
	ensure(t, s, specOf("logs-of-orders.v1"))
	put(t, s, "logs-of-orders.v1", 3)
	if n := count(t, s, "logs-of-orders.v1"); n != 3 {
		t.Errorf("%d documents, want 3", n)
	}
}

// A server that hangs costs no more time than the caller, or the configuration, gives it.
func TestStore_HangingServer(t *testing.T) {
	server := elastictest.Start(t)
	s := openAt(t, server.URL)
	ensure(t, s, specOf("hang.v1"))
	hasty, err := open(t.Context(), config.Search{URL: server.URL}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	server.Pause(t)
	defer server.Resume(t)
	hasty.client.timeout = 50 * time.Millisecond
	if _, err := hasty.Search(t.Context(), "hang.v1", ports.Query{Limit: 1}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("searching: %v, want %v that says how long it waited", err, ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r, err := s.Bulk(ctx, "hang.v1", docs(1)); !errors.Is(err, context.DeadlineExceeded) || r != nil {
		t.Errorf("writing: %v %v, want %v", r, err, context.DeadlineExceeded)
	}
	server.Resume(t)
	put(t, s, "hang.v1", 2)
	if n := count(t, s, "hang.v1"); n != 2 {
		t.Errorf("%d documents after it went on, want 2", n)
	}
}

// What is in a cursor goes to the server: one that somebody made himself must not carry more than a place.
func TestSearch_ForgedCursor(t *testing.T) {
	s := openAt(t, elastictest.Shared(t))
	spec := specOf("forged.v1", "units")
	ensure(t, s, spec)
	ix := s.ensured[spec.Name]
	for _, place := range []string{`[1,1,"a"],"size":9`, `[1,{"a":1},"a"]`, `[1,"a"]`, `{}`, `null`, ``, `["x","y","z"]`, `[1,1,"a","b"]`} {
		q := ports.Query{Sort: []ports.Sort{{Field: "units"}}, Limit: 1}
		q.Cursor = searchstore.SealCursor(searchstore.Identity("elasticsearch 1", ix.spec, q), []byte(place))
		if _, err := s.Search(t.Context(), spec.Name, q); !errors.Is(err, ports.ErrBadCursor) {
			t.Errorf("place %s: %v, want %v", place, err, ports.ErrBadCursor)
		}
	}
}

// A text with as many words as fit stays a query that Elasticsearch takes.
func TestSearch_ManyWords(t *testing.T) {
	s := openAt(t, elastictest.Shared(t))
	ensure(t, s, specOf("words.v1"))
	var text strings.Builder
	for i := 0; text.Len() < ports.SearchTextBytesMax-2; i++ {
		fmt.Fprintf(&text, "%s ", strconv.FormatInt(int64(i), 36)) // of one letter or two, all different
	}
	doc := docs(1)
	doc[0].Text = text.String() + strings.Repeat("\ufdfa", 300) // one letter that folds to four words
	if r, err := s.Bulk(t.Context(), "words.v1", doc); err != nil || r[0].Err != nil {
		t.Fatalf("%v %v", r, err)
	}
	if err := s.Refresh(t.Context(), "words.v1"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{text.String()[:ports.SearchTextBytesMax-2], strings.Repeat("\ufdfa", ports.SearchTextBytesMax/3)} {
		if page, err := s.Search(t.Context(), "words.v1", ports.Query{Text: text, Limit: 1}); err != nil || page.Total != 1 {
			t.Errorf("%d found, %v", page.Total, err)
		}
	}
}
