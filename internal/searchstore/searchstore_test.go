package searchstore

import (
	"errors"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
)

func TestFold(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		" -- ":                    "",
		"White-washed  HEART, 2x": "white washed heart 2x",
		"CAFÉ crème cafe\u0301":   "cafe creme cafe",
		"ΟΔΟΣ Ёлка ﬃ ½ １２":        "οδοσ елка ffi 1 2 12",
		"a\xffb":                  "a b",
		strings.Repeat("é", 100):  strings.Repeat("e", 64),
	} {
		folded, words := Fold(text)
		if folded != want || words != len(strings.Fields(want)) {
			t.Errorf("%q folds to %q (%d words), want %q", text, folded, words, want)
		}
	}
}

func TestCursor(t *testing.T) {
	spec := ports.IndexSpec{Name: "x.v1", Fields: []ports.Field{{Name: "units", Kind: ports.KindLong}}}
	q := ports.Query{Sort: []ports.Sort{{Field: "units"}}, Limit: 1}
	identity := Identity("store 1", spec, q)
	cursor := SealCursor(identity, []byte("place"))
	if place, err := OpenCursor(cursor, identity); err != nil || string(place) != "place" {
		t.Errorf("opened: %q %v", place, err)
	}
	for name, other := range map[string][]byte{
		"another kind of store": Identity("store 2", spec, q),
		"another query":         Identity("store 1", spec, ports.Query{Limit: 1}),
		"another index":         Identity("store 1", ports.IndexSpec{Name: "y.v1", Fields: spec.Fields}, q),
	} {
		if _, err := OpenCursor(cursor, other); !errors.Is(err, ports.ErrBadCursor) {
			t.Errorf("opened for %s: %v, want %v", name, err, ports.ErrBadCursor)
		}
	}
	for _, altered := range []string{"", "A", cursor[1:], cursor + "A", cursor + "\n", cursor + "=", strings.Repeat("A", 4<<20)} {
		if _, err := OpenCursor(altered, identity); !errors.Is(err, ports.ErrBadCursor) {
			t.Errorf("opened altered: %v, want %v", err, ports.ErrBadCursor)
		}
	}
}
