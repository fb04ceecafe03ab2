package search

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/ports"
)

// jsonBytesMax bounds Document.JSON: four times the largest record of a table (8 MiB), which is less wordy.
const jsonBytesMax = 32 << 20

// stored is the value of field i as SQLite keeps it: nil, string, int64 or float64.
func (ix *index) stored(doc *ports.Document, i int) any {
	if doc.Deleted {
		return nil
	}
	return native(doc.Values[i])
}

func native(v any) any {
	if b, ok := v.(bool); ok {
		if b {
			return int64(1)
		}
		return int64(0)
	}
	return v
}

func storedJSON(doc *ports.Document) any {
	if doc.Deleted {
		return nil
	}
	return doc.JSON
}

// checkDocument names the first rule that the document breaks; it wraps ErrRejected.
func (ix *index) checkDocument(doc *ports.Document) error {
	if n := len(doc.ID); n == 0 || n > ports.SearchIDBytesMax || !utf8.ValidString(doc.ID) || strings.Contains(doc.ID, "\x00") {
		return fmt.Errorf("%w: id of %d bytes is not 1 to %d bytes of UTF-8 without NUL", ports.ErrRejected, n, ports.SearchIDBytesMax)
	}
	if doc.Version == 0 || doc.Version > math.MaxInt64 {
		return fmt.Errorf("%w: %q: version %d is not between 1 and 2^63-1", ports.ErrRejected, doc.ID, doc.Version)
	}
	if doc.Deleted {
		return nil
	}
	if n := len(doc.JSON); n == 0 || n > jsonBytesMax {
		return fmt.Errorf("%w: %q: JSON of %d bytes is not between 1 and %d", ports.ErrRejected, doc.ID, n, jsonBytesMax)
	}
	if len(doc.Values) != len(ix.fields) {
		return fmt.Errorf("%w: %q: %d values for %d fields", ports.ErrRejected, doc.ID, len(doc.Values), len(ix.fields))
	}
	for i, f := range ix.fields {
		if v := doc.Values[i]; v != nil {
			if err := checkValue(f.Kind, v); err != nil {
				return fmt.Errorf("%w: %q: field %s: %w", ports.ErrRejected, doc.ID, f.Name, err)
			}
		}
	}
	return nil
}

// checkValue says how v, which is not nil, is not a value of the kind.
func checkValue(kind ports.Kind, v any) error {
	ok := false
	switch kind {
	case ports.KindKeyword:
		var s string
		if s, ok = v.(string); ok && (len(s) > ports.SearchKeywordBytesMax || !utf8.ValidString(s)) {
			return fmt.Errorf("string of %d bytes is longer than %d or not UTF-8", len(s), ports.SearchKeywordBytesMax)
		}
	case ports.KindLong, ports.KindMoney, ports.KindTimestamp:
		_, ok = v.(int64)
	case ports.KindDouble:
		var f float64
		if f, ok = v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return fmt.Errorf("%v is not a number that can be compared", f)
		}
	case ports.KindBool:
		_, ok = v.(bool)
	}
	if !ok {
		return fmt.Errorf("a %T is not a %s", v, kind)
	}
	return nil
}
