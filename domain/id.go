package domain

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// IDBytesMax bounds an aggregate id: it is a record key, a path segment and a
// part of every index.
const IDBytesMax = 256

// checkID judges an aggregate id, which stands at the pointer: any text without
// control characters.
func checkID(pointer, id string) []Fault {
	switch {
	case id == "":
		return []Fault{Faultf(pointer, "id-empty", "the aggregate id is empty")}
	case len(id) > IDBytesMax:
		return []Fault{Faultf(pointer, "id-too-long", "the aggregate id has %d bytes, at most %d are allowed", len(id), IDBytesMax)}
	case !utf8.ValidString(id):
		return []Fault{Faultf(pointer, "id-not-utf8", "the aggregate id is not valid UTF-8")}
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return []Fault{Faultf(pointer, "id-control-character", "the aggregate id contains the control character %U", r)}
		}
	}
	return nil
}

// ValidID says what is wrong with an aggregate id that stands by itself, nil if
// nothing. The faults point nowhere.
func ValidID(id string) []Fault { return checkID("", id) }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
