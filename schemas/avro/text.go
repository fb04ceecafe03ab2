package avro

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Text returns the schema as compact, self-contained, deterministic JSON: every named type is defined where it
// occurs first, docs, defaults and attributes are kept, attributes stand in the order of their names.
func (s *Schema) Text() string {
	w := schemaWriter{defined: map[*Schema]bool{}}
	w.schema(s)
	return string(w.buf)
}

// Canonical returns the Parsing Canonical Form of the Avro specification: what decides the encoding, and
// nothing else.
func (s *Schema) Canonical() string {
	w := schemaWriter{defined: map[*Schema]bool{}, canonical: true}
	w.schema(s)
	return string(w.buf)
}

// Fingerprint returns the SHA-256 of the canonical form in hexadecimal.
func (s *Schema) Fingerprint() string {
	sum := sha256.Sum256([]byte(s.Canonical()))
	return hex.EncodeToString(sum[:])
}

type schemaWriter struct {
	buf       []byte
	defined   map[*Schema]bool
	canonical bool
}

func (w *schemaWriter) schema(s *Schema) {
	switch {
	case s.kind == KindUnion:
		w.list(len(s.branches), func(i int) { w.schema(s.branches[i]) })
	case s.name != "" && w.defined[s]:
		w.quote(s.name)
	case s.name != "":
		w.defined[s] = true
		w.definition(s)
	case s.kind == KindArray:
		w.object("type", "array")
		w.key("items")
		w.schema(s.items)
		w.finish(s.attrs)
	case s.kind == KindMap:
		w.object("type", "map")
		w.key("values")
		w.schema(s.items)
		w.finish(s.attrs)
	case len(s.attrs) == 0 || w.canonical:
		w.quote(s.kind.String())
	default:
		w.object("type", s.kind.String())
		w.finish(s.attrs)
	}
}

func (w *schemaWriter) definition(s *Schema) {
	if w.canonical {
		w.object("name", s.name)
		w.member("type", s.kind.String())
	} else {
		space, name := splitName(s.name)
		w.object("type", s.kind.String())
		w.member("name", name)
		// Always written, even empty: inside another namespace a bare name would belong to that one.
		w.member("namespace", space)
		if s.doc != "" {
			w.member("doc", s.doc)
		}
	}
	switch s.kind {
	case KindRecord:
		w.key("fields")
		w.list(len(s.fields), func(i int) { w.field(&s.fields[i]) })
	case KindEnum:
		w.key("symbols")
		w.list(len(s.symbols), func(i int) { w.quote(s.symbols[i]) })
	case KindFixed:
		w.key("size")
		w.buf = strconv.AppendInt(w.buf, int64(s.size), 10)
	}
	w.finish(s.attrs)
}

func (w *schemaWriter) field(f *Field) {
	w.object("name", f.Name)
	w.key("type")
	w.schema(f.Schema)
	if !w.canonical && f.Doc != "" {
		w.member("doc", f.Doc)
	}
	if !w.canonical && f.Default != "" {
		w.key("default")
		w.buf = append(w.buf, f.Default...)
	}
	w.finish(f.attrs)
}

// object begins an object with its first member.
func (w *schemaWriter) object(name, value string) {
	w.buf = append(w.buf, '{')
	w.quote(name)
	w.buf = append(w.buf, ':')
	w.quote(value)
}

func (w *schemaWriter) key(name string) {
	w.buf = append(w.buf, ',')
	w.quote(name)
	w.buf = append(w.buf, ':')
}

func (w *schemaWriter) member(name, value string) {
	w.key(name)
	w.quote(value)
}

// finish writes the attributes and ends the object.
func (w *schemaWriter) finish(attrs []Attribute) {
	for _, a := range attrs {
		if !w.canonical {
			w.key(a.Name)
			w.buf = append(w.buf, a.Value...)
		}
	}
	w.buf = append(w.buf, '}')
}

func (w *schemaWriter) list(n int, item func(i int)) {
	w.buf = append(w.buf, '[')
	for i := range n {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		item(i)
	}
	w.buf = append(w.buf, ']')
}

func (w *schemaWriter) quote(s string) {
	// Names and docs come from JSON texts that were valid UTF-8, so quoting cannot fail.
	w.buf, _ = jsontext.AppendQuote(w.buf, s)
}
