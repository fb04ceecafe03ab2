// Package searchstore holds what every adapter of ports.SearchStore has to do in the same way, so that what one of them
// accepts no other refuses, and what one of them finds the others do: it checks index specs, documents and queries, folds
// texts into words, and seals cursors. It stores nothing.
package searchstore

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/ports"
)

var (
	indexName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	fieldName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
)

// CheckSpec names the first rule that the spec breaks; it wraps ports.ErrBadIndex.
func CheckSpec(spec ports.IndexSpec) error {
	if !ValidName(spec.Name) {
		return fmt.Errorf("%w: name %q is not up to 100 lower-case letters, digits, '-', '.' and '_'", ports.ErrBadIndex, spec.Name)
	}
	if n := len(spec.Fields); n > ports.SearchFieldsMax {
		return fmt.Errorf("%w: %s has %d fields, more than %d", ports.ErrBadIndex, spec.Name, n, ports.SearchFieldsMax)
	}
	seen := map[string]bool{}
	for _, f := range spec.Fields {
		if !fieldName.MatchString(f.Name) || seen[f.Name] {
			return fmt.Errorf("%w: %s: field %q is not a name or occurs twice", ports.ErrBadIndex, spec.Name, f.Name)
		}
		seen[f.Name] = true
		switch f.Kind {
		case ports.KindKeyword, ports.KindLong, ports.KindMoney, ports.KindTimestamp, ports.KindDouble, ports.KindBool:
		default:
			return fmt.Errorf("%w: %s: field %s is of unknown kind %q", ports.ErrBadIndex, spec.Name, f.Name, f.Kind)
		}
	}
	return nil
}

// ValidName says whether an index can have this name.
func ValidName(index string) bool { return indexName.MatchString(index) }

// ValidID says whether a document can have this id.
func ValidID(id string) bool {
	return id != "" && len(id) <= ports.SearchIDBytesMax && utf8.ValidString(id) && !strings.Contains(id, "\x00")
}

// CheckDocument names the first rule that the document of an index with these fields breaks; it wraps ports.ErrRejected.
func CheckDocument(fields []ports.Field, doc *ports.Document) error {
	if !ValidID(doc.ID) {
		return fmt.Errorf("%w: id of %d bytes is not 1 to %d bytes of UTF-8 without NUL", ports.ErrRejected, len(doc.ID), ports.SearchIDBytesMax)
	}
	if doc.Version == 0 || doc.Version > math.MaxInt64 {
		return fmt.Errorf("%w: %q: version %d is not between 1 and 2^63-1", ports.ErrRejected, doc.ID, doc.Version)
	}
	if doc.Deleted {
		return nil
	}
	if n := len(doc.JSON); n == 0 || n > ports.SearchJSONBytesMax || !utf8.Valid(doc.JSON) {
		return fmt.Errorf("%w: %q: JSON of %d bytes is not 1 to %d bytes of UTF-8", ports.ErrRejected, doc.ID, n, ports.SearchJSONBytesMax)
	}
	if n := len(doc.Text); n > ports.SearchJSONBytesMax {
		return fmt.Errorf("%w: %q: text of %d bytes is longer than %d", ports.ErrRejected, doc.ID, n, ports.SearchJSONBytesMax)
	}
	if len(doc.Values) != len(fields) {
		return fmt.Errorf("%w: %q: %d values for %d fields", ports.ErrRejected, doc.ID, len(doc.Values), len(fields))
	}
	for i, f := range fields {
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
