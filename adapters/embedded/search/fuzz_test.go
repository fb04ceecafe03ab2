package search

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

func openFuzz(f *testing.F) *Store {
	f.Helper()
	s, _, err := Open(f.Context(), Config{Path: filepath.Join(f.TempDir(), "search.db")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	if _, err := s.EnsureIndex(f.Context(), testSpec); err != nil {
		f.Fatal(err)
	}
	return s
}

// Whatever comes as a cursor: it is refused, or it is one that was given out and shows its page.
func FuzzStore_Cursor(f *testing.F) {
	s := openFuzz(f)
	for i := range 20 {
		if _, err := s.Bulk(f.Context(), testSpec.Name, []ports.Document{testDoc(i, 1)}); err != nil {
			f.Fatal(err)
		}
	}
	q := ports.Query{Sort: []ports.Sort{{Field: "class"}, {Field: "weight", Desc: true}}, Limit: 3}
	given := map[string]bool{}
	for q.Cursor = ""; ; {
		page, err := s.Search(f.Context(), testSpec.Name, q)
		if err != nil {
			f.Fatal(err)
		}
		if page.Next == "" {
			break
		}
		q.Cursor = page.Next
		given[q.Cursor] = true
		f.Add(q.Cursor)
		f.Add(q.Cursor[1:])
		f.Add(q.Cursor + "A")
	}
	f.Add("-")
	f.Fuzz(func(t *testing.T, cursor string) {
		q := q
		q.Cursor = cursor
		page, err := s.Search(t.Context(), testSpec.Name, q)
		switch {
		case cursor == "" || given[cursor]:
			if err != nil || len(page.Documents) == 0 {
				t.Errorf("%q: %v, %d documents", cursor, err, len(page.Documents))
			}
		case !errors.Is(err, ports.ErrBadCursor):
			t.Errorf("%q: %v, want %v", cursor, err, ports.ErrBadCursor)
		}
	})
}

// A place survives its cursor, and bytes that are no place are refused without a panic.
func FuzzCursor_Place(f *testing.F) {
	identity := []byte("q")
	f.Add([]byte{}, 0)
	f.Add([]byte{tagNil, tagInt, 1, 2, 3, 4, 5, 6, 7, 8, tagText, 2, 'a', 'b', 'i', 'd'}, 3)
	f.Add([]byte{tagText, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 1)
	f.Add([]byte{tagFloat, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0}, 1)
	f.Fuzz(func(t *testing.T, b []byte, terms int) {
		at, ok := decodePlace(b, terms%16)
		if !ok {
			return
		}
		for _, v := range at.values {
			if n, is := v.(float64); is && math.IsNaN(n) {
				return // equals nothing, so cannot be compared below
			}
		}
		again, err := decodeCursor(encodeCursor(*at, identity), identity, len(at.values))
		if err != nil || !reflect.DeepEqual(at, again) {
			t.Errorf("%x: %+v became %+v, %v", b, at, again, err)
		}
	})
}

// Every text finds the document that holds it, and folding a folded text changes nothing.
func FuzzStore_Text(f *testing.F) {
	for _, text := range []string{
		"red lamp", `"a* OR NEAR(b) ^c:d -e {f}`, "Ǆ ǅ ﬃ ½ ﷺ ßẞ ŉ İı ΣΣ", "e\u0301\u0301 \u0301", "\x00\x01\u200d\ufeff", strings.Repeat("é", 500),
		strings.Repeat("a ", 512), "日本語 ภาษาไทย ไทย हिन्दी 한국어 ᄒᆞᆫ글", "１２３ ⅷ ②", strings.Repeat("x", 63) + "é" + "y", "\u1e9e\u0345\u0399",
	} {
		f.Add(text)
	}
	s := openFuzz(f)
	version := uint64(0)
	f.Fuzz(func(t *testing.T, text string) {
		folded, words := searchstore.Fold(text)
		if again, n := searchstore.Fold(folded); again != folded || n != words || len(strings.Fields(folded)) != words {
			t.Errorf("%q folds to %q (%d), and that to %q (%d)", text, folded, words, again, n)
		}
		if len(text) > ports.SearchTextBytesMax || !utf8.ValidString(text) {
			return
		}
		version++
		doc := testDoc(0, version)
		doc.Text = text
		results, err := s.Bulk(t.Context(), testSpec.Name, []ports.Document{doc})
		if err != nil || results[0] != (ports.ItemResult{}) {
			t.Fatalf("writing %q: %+v %v", text, results, err)
		}
		page, err := s.Search(t.Context(), testSpec.Name, ports.Query{Text: text, Limit: 1})
		if err != nil || page.Total != 1 {
			t.Errorf("searching %q: %d found, %v", text, page.Total, err)
		}
		if page, err := s.Search(t.Context(), testSpec.Name, ports.Query{Text: fmt.Sprint(folded, " zz", version), Limit: 1}); err != nil && !errors.Is(err, ports.ErrBadQuery) || page.Total != 0 {
			t.Errorf("searching %q and a word that is not there: %d found, %v", text, page.Total, err)
		}
	})
}
