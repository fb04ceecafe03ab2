package search

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/ports/portstest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

func newPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "search.db")
}

// openAt opens the store at path and closes it with the test.
func openAt(t *testing.T, path string) (*Store, Report) {
	t.Helper()
	s, report, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s, report
}

func shut(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// testSpec is an index of three fields, testDoc a document of it.
var testSpec = ports.IndexSpec{Name: "things.v1", Fields: []ports.Field{
	{Name: "class", Kind: ports.KindKeyword}, {Name: "units", Kind: ports.KindLong}, {Name: "weight", Kind: ports.KindDouble},
}}

func testDoc(i int, version uint64) ports.Document {
	return ports.Document{
		ID: fmt.Sprintf("%05d", i), Version: version, JSON: fmt.Appendf(nil, `{"i":%d,"v":%d}`, i, version),
		Values: []any{fmt.Sprint(i % 7), int64(i) + int64(version)*1000, float64(i) / 2}, Text: fmt.Sprintf("thing %d", i),
	}
}

// fill ensures the index of testSpec and writes n documents to it.
func fill(t *testing.T, s *Store, n int, version uint64) {
	t.Helper()
	if _, err := s.EnsureIndex(t.Context(), testSpec); err != nil {
		t.Fatal(err)
	}
	docs := make([]ports.Document, n)
	for i := range docs {
		docs[i] = testDoc(i, version)
	}
	if _, err := s.Bulk(t.Context(), testSpec.Name, docs); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, s *Store) int64 {
	t.Helper()
	n, err := s.Count(t.Context(), testSpec.Name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStore_Conforms(t *testing.T) {
	t.Run("reading small indexes whole", func(t *testing.T) {
		s, _ := openAt(t, newPath(t))
		portstest.SearchStore(t, s)
	})
	t.Run("with column indexes from the first document on", func(t *testing.T) {
		s, _ := openAt(t, newPath(t))
		s.scanMax = 0
		portstest.SearchStore(t, s)
	})
}

func TestStore_Outage(t *testing.T) {
	path := newPath(t)
	s, _ := openAt(t, path)
	portstest.SearchStoreOutage(t, s, portstest.SearchOutage{
		Stop:  func() { shut(t, s) },
		Start: func() ports.SearchStore { s, _ := openAt(t, path); return s },
	})
}

func TestStore_ColumnIndexes(t *testing.T) {
	s, _ := openAt(t, newPath(t))
	fill(t, s, 3000, 1)
	ix := s.indexes[testSpec.Name]
	search := func(q ports.Query) ports.Page {
		t.Helper()
		q.Limit = 10
		page, err := s.Search(t.Context(), testSpec.Name, q)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	search(ports.Query{Text: "thing"})
	search(ports.Query{})
	if got := ix.accessed.Load(); got != 0 {
		t.Errorf("columns %b are indexed before a query needs one", got)
	}
	search(ports.Query{Sort: []ports.Sort{{Field: "units"}, {Field: "weight"}}, Filters: []ports.Filter{{Field: "class", Op: ports.OpEq, Value: "3"}}})
	if got := ix.accessed.Load(); got != 0b011 {
		t.Errorf("columns %b are indexed, want class and units", got)
	}
	fill(t, s, 3000, 2) // units change, class does not
	page := search(ports.Query{Sort: []ports.Sort{{Field: "units", Desc: true}}})
	if page.Total != 3000 || page.Documents[0].ID != "02999" || page.Documents[0].Version != 2 {
		t.Errorf("after an update: %d of %+v", page.Total, page.Documents[0])
	}
	shut(t, s)
	again, report := openAt(t, s.path)
	if got := again.indexes[testSpec.Name].accessed.Load(); report.Recreated || got != 0b011 {
		t.Errorf("opened again: %+v, columns %b", report, got)
	}
	fill(t, again, 3001, 3)
	if n := count(t, again); n != 3001 {
		t.Errorf("%d documents", n)
	}
}

// answers returns how SQLite says it answers a statement: a line per step.
func answers(t *testing.T, s *Store, sql string, args []any) (steps string) {
	t.Helper()
	rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+sql, args...)
	if err := each(rows, err, func() error {
		var id, parent, unused int
		var detail string
		err := rows.Scan(&id, &parent, &unused, &detail)
		steps += detail + "\n"
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return steps
}

// A page far behind costs what the first does only if every stretch of the order begins where the last page ended.
func TestPlan_UsesColumnIndexes(t *testing.T) {
	s, _ := openAt(t, newPath(t))
	fill(t, s, 3000, 1)
	ix := s.indexes[testSpec.Name]
	class := ports.Filter{Field: "class", Op: ports.OpEq, Value: "3"}
	for _, q := range []ports.Query{
		{Sort: []ports.Sort{{Field: "units"}}},
		{Sort: []ports.Sort{{Field: "units", Desc: true}}},
		{Sort: []ports.Sort{{Field: "units"}}, Filters: []ports.Filter{class}},
		{Sort: []ports.Sort{{Field: "units", Desc: true}, {Field: "class"}, {Field: "weight", Desc: true}}},
	} {
		q.Limit = 10
		for range 2 {
			page, err := s.Search(t.Context(), testSpec.Name, q)
			if err != nil {
				t.Fatal(err)
			}
			p, err := newPlan(ix, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, stretch := range p.stretches() {
				sql, args := p.walk(stretch, 10)
				if steps := answers(t, s, sql, args); !strings.Contains(steps, "SEARCH d USING INDEX "+ix.access(1)) {
					t.Errorf("%s\nis answered by: %s", sql, steps)
				}
			}
			q.Cursor = page.Next
		}
	}
	p, err := newPlan(ix, ports.Query{Filters: []ports.Filter{class}, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	sql, args := p.count()
	if steps := answers(t, s, sql, args); !strings.Contains(steps, "USING COVERING INDEX "+ix.access(0)) {
		t.Errorf("%s\nis answered by: %s", sql, steps)
	}
}

// A text that stays as it was must not cost what indexing it costs.
func TestStore_LeavesAnUnchangedTextAlone(t *testing.T) {
	s, _ := openAt(t, newPath(t))
	fill(t, s, 10, 1)
	segments := func() (rows string) {
		err := s.read.QueryRowContext(t.Context(), "SELECT group_concat(id || ':' || hex(block), ' ') FROM t1_data").Scan(&rows)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	before := segments()
	fill(t, s, 10, 2)
	if segments() != before {
		t.Error("full text was written although no text has changed")
	}
	doc := testDoc(3, 3)
	doc.Text = "another"
	if _, err := s.Bulk(t.Context(), testSpec.Name, []ports.Document{doc}); err != nil {
		t.Fatal(err)
	}
	if segments() == before {
		t.Error("full text was not written although a text has changed")
	}
}

func TestStore_FullDisk(t *testing.T) {
	s, _ := openAt(t, newPath(t))
	fill(t, s, 100, 1)
	limit := func(pages int) {
		w := <-s.turn
		defer s.give(w)
		if _, err := w.conn.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // SQLite takes the present size if it is larger
	var docs []ports.Document
	for i := range 5000 {
		docs = append(docs, testDoc(i, 2))
	}
	results, err := s.Bulk(t.Context(), testSpec.Name, docs)
	if err == nil || errors.Is(err, ErrDamaged) || results != nil {
		t.Fatalf("writing to a full disk: %v %v", err, results)
	}
	s.scanMax = 0 // the search wants a column index, for which there is no room
	page, err := s.Search(t.Context(), testSpec.Name, ports.Query{Sort: []ports.Sort{{Field: "weight"}}, Limit: 1000})
	if err != nil || s.indexes[testSpec.Name].accessed.Load() != 0 || page.Total != 100 || slices.ContainsFunc(page.Documents, func(d ports.Document) bool { return d.Version != 1 }) {
		t.Errorf("after it: %v, %d documents", err, page.Total)
	}
	limit(1 << 30)
	if _, err := s.Bulk(t.Context(), testSpec.Name, docs); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if n := count(t, s); n != 5000 {
		t.Errorf("%d documents, want 5000", n)
	}
}

func TestStore_Close(t *testing.T) {
	s, _ := openAt(t, newPath(t))
	fill(t, s, 1, 1)
	shut(t, s)
	shut(t, s)
	if _, err := s.Bulk(t.Context(), testSpec.Name, []ports.Document{testDoc(1, 1)}); !errors.Is(err, ErrClosed) {
		t.Errorf("writing after Close: %v", err)
	}
	if _, err := s.Search(t.Context(), testSpec.Name, ports.Query{Limit: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("searching after Close: %v", err)
	}
}

func TestStore_WaitsNoLongerThanItsContext(t *testing.T) {
	s, _ := openAt(t, newPath(t))
	fill(t, s, 1, 1)
	w := <-s.turn
	defer s.give(w)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Bulk(ctx, testSpec.Name, []ports.Document{testDoc(1, 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("writing while another does: %v", err)
	}
	if _, err := s.Search(t.Context(), testSpec.Name, ports.Query{Limit: 1}); err != nil {
		t.Errorf("searching while another writes: %v", err)
	}
}
