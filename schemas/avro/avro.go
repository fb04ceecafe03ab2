// Package avro is the Avro runtime of the platform: what the Go types generated from .avsc files need to
// encode and decode themselves, a parsed schema for everything that is driven by schemas instead of types
// (JSON in and out, OpenAPI, search fields), and the sets of schemas that generated packages export.
//
// A command meets it twice on its way: its JSON body becomes Avro by [JSONToAvro], and the processor decodes
// that Avro into a generated struct by the struct's own DecodeAvro. It knows no registry and no framing; that
// is the work of internal/serde.
package avro

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Record is what every generated struct is, through its pointer.
type Record interface {
	// AvroName returns the full name of the schema, such as "shop.order.OrderPlaced".
	AvroName() string
	// AppendAvro appends the Avro binary encoding to dst and returns the extended slice. The bytes are
	// deterministic: arrays are one block, map keys are sorted. It panics for an enum value without a symbol.
	AppendAvro(dst []byte) []byte
	// DecodeAvro replaces the whole record by the value in src, which must hold nothing else. The record keeps
	// no reference to src. After an error (a *[DecodeError]) the content of the record is unspecified.
	DecodeAvro(src []byte) error
}

// Entry is one record schema of a generated package.
type Entry struct {
	// Name is the full name of the record.
	Name string
	// Text is the schema as JSON, self-contained: every named type it uses is defined inside it.
	Text string
	// Part says that the record only lives inside other records: it has no registry subject of its own.
	Part bool
	// New returns an empty record of the generated type.
	New func() Record

	once   sync.Once
	schema *Schema
}

// Schema returns the parsed form of Text, parsed once. It panics if the text does not parse, which the
// generator excludes.
func (e *Entry) Schema() *Schema {
	e.once.Do(func() {
		s, err := ParseSchema(e.Text)
		if err != nil {
			panic(fmt.Sprintf("avro: generated schema %s: %v; run go generate again", e.Name, err))
		}
		e.schema = s
	})
	return e.schema
}

// Set holds the record schemas of one generated package, sorted by name.
type Set []*Entry

// Sets are the schemas a program knows: one Set per generated package.
type Sets []Set

// All returns every entry once, sorted by full name. A name that stands in two sets with one text counts once.
//
// It returns an error that names every record declared twice with different schemas.
func (ss Sets) All() ([]*Entry, error) {
	all := slices.Concat(ss...)
	slices.SortStableFunc(all, func(a, b *Entry) int { return strings.Compare(a.Name, b.Name) })
	var twice []string
	out := all[:0]
	for _, e := range all {
		if n := len(out); n > 0 && out[n-1].Name == e.Name {
			if out[n-1].Text != e.Text {
				twice = append(twice, e.Name)
			}
			continue
		}
		out = append(out, e)
	}
	if len(twice) > 0 {
		return nil, fmt.Errorf("merging schema sets: %s declared twice with different schemas; rename one of each pair",
			strings.Join(twice, ", "))
	}
	return out, nil
}

// Find returns the entry of a full name, or nil where no set holds it.
func (ss Sets) Find(name string) *Entry {
	for _, s := range ss {
		i, ok := slices.BinarySearchFunc(s, name, func(e *Entry, n string) int { return strings.Compare(e.Name, n) })
		if ok {
			return s[i]
		}
	}
	return nil
}
