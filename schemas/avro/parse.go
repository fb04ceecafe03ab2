package avro

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	nestingMax   = 64      // definitions within definitions
	sizeMax      = 1 << 20 // bytes of a fixed, and of the Avro form of a default
	maxLengthMax = 8 << 20
)

// Source is the text of one schema and the file it stands in, for messages.
type Source struct {
	// File names the text in errors, Text is the schema as JSON.
	File, Text string
}

// ParseSchema parses a self-contained schema.
//
// It accepts what the Avro specification allows, recursion and unions of many branches included; unknown
// attributes and logical types are kept and change nothing. The error names the type and field at fault.
func ParseSchema(text string) (*Schema, error) {
	all, err := ParseAll([]Source{{File: "schema", Text: text}})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// ParseAll parses schemas that may refer to each other's top-level names, in any order. It returns one schema
// per source, in the order of the sources.
func ParseAll(sources []Source) ([]*Schema, error) {
	p := parser{named: map[string]*Schema{}, pending: map[string]Source{}}
	for i := range sources {
		raw := jsontext.Value(sources[i].Text)
		if err := raw.Compact(); err != nil {
			return nil, fmt.Errorf("%s: not valid JSON: %w", sources[i].File, err)
		}
		sources[i].Text = string(raw)
		if name := topName(raw); name != "" {
			if other, ok := p.pending[name]; ok {
				return nil, fmt.Errorf("%s: %s is defined in %s too", sources[i].File, name, other.File)
			}
			p.pending[name] = sources[i]
		}
	}
	out := make([]*Schema, 0, len(sources))
	for _, src := range sources {
		s, err := p.top(src)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	return out, nil
}

var definitions = []string{`"record"`, `"error"`, `"enum"`, `"fixed"`}

type parser struct {
	named   map[string]*Schema
	pending map[string]Source // top-level types by full name; kept after parsing
	all     []parsed          // everything, for finish
	file    string            // of what is being parsed
	depth   int
}

type parsed struct {
	*Schema
	file string
}

// top parses one source unless a reference from another source did so before.
func (p *parser) top(src Source) (*Schema, error) {
	if s, ok := p.named[topName(jsontext.Value(src.Text))]; ok {
		return s, nil
	}
	defer func(depth int, file string) { p.depth, p.file = depth, file }(p.depth, p.file)
	p.depth, p.file = 0, src.File
	s, err := p.parse(jsontext.Value(src.Text), "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src.File, err)
	}
	return s, nil
}

// topName returns the full name that a text defines at its top, "" if it defines none: {"type":"A","name":"A"} only
// refers to A.
func topName(raw jsontext.Value) string {
	m, err := members(raw)
	if err != nil || !slices.Contains(definitions, string(m["type"])) {
		return ""
	}
	name, _ := m.fullName("")
	return name
}

// parse parses a schema in any of its three forms. space is the enclosing namespace.
func (p *parser) parse(raw jsontext.Value, space string) (*Schema, error) {
	if p.depth++; p.depth > nestingMax {
		return nil, fmt.Errorf("more than %d schemas within each other", nestingMax)
	}
	defer func() { p.depth-- }()
	switch raw.Kind() {
	case '"':
		name, err := unquote(string(raw))
		if err != nil {
			return nil, err
		}
		return p.reference(name, space)
	case '[':
		return p.union(raw, space)
	case '{':
		m, err := members(raw)
		if err != nil {
			return nil, err
		}
		return p.object(m, space)
	default:
		return nil, fmt.Errorf("%s is no schema: want a name, an object or a union", raw)
	}
}

func (p *parser) reference(name, space string) (*Schema, error) {
	if i := slices.Index(kindNames[:], name); i >= 0 && Kind(i) <= KindString {
		return p.add(&Schema{kind: Kind(i)}), nil
	}
	full := qualify(name, space)
	if s, ok := p.named[full]; ok {
		return s, nil
	}
	src, ok := p.pending[full]
	if !ok {
		return nil, fmt.Errorf("unknown type %q: it is neither a primitive nor defined before, nor the top of another file", full)
	}
	return p.top(src)
}

func (p *parser) add(s *Schema) *Schema {
	s.nullIndex, s.least = -1, leastUnknown
	if s.maxLength == 0 {
		s.maxLength = MaxLengthDefault
	}
	p.all = append(p.all, parsed{s, p.file})
	return s
}

func (p *parser) union(raw jsontext.Value, space string) (*Schema, error) {
	items, err := elements(raw)
	if err != nil {
		return nil, err
	}
	u := p.add(&Schema{kind: KindUnion})
	var seen []string
	for _, item := range items {
		b, err := p.parse(item, space)
		if err != nil {
			return nil, err
		}
		if b.kind == KindUnion {
			return nil, errors.New("a union directly within a union")
		}
		id := b.kind.String() + " " + b.name
		if slices.Contains(seen, id) {
			return nil, fmt.Errorf("union holds %s twice", strings.TrimSpace(id))
		}
		seen, u.branches = append(seen, id), append(u.branches, b)
	}
	if len(u.branches) == 0 {
		return nil, errors.New("a union without types")
	}
	if i := slices.IndexFunc(u.branches, func(b *Schema) bool { return b.kind == KindNull }); i >= 0 && len(u.branches) == 2 {
		u.nullIndex, u.items = int64(i), u.branches[1-i]
	}
	return u, nil
}

// object parses the object form: a definition, an array, a map, or a primitive with attributes.
func (p *parser) object(m memberList, space string) (*Schema, error) {
	typ := m.take("type")
	if typ == nil {
		return nil, errors.New(`a schema object without "type"`)
	}
	if typ.Kind() != '"' {
		return p.parse(typ, space)
	}
	name, err := unquote(string(typ))
	if err != nil {
		return nil, err
	}
	kind := Kind(max(slices.Index(kindNames[:KindUnion], name), 0))
	switch {
	case name == "record" || name == "enum" || name == "fixed":
		return p.definition(kind, m, space)
	case name == "error":
		return p.definition(KindRecord, m, space)
	case name == "array" || name == "map":
		return p.collection(kind, m, space)
	case kind == KindNull && name != "null":
		return p.reference(name, space)
	}
	s := p.add(&Schema{kind: kind})
	return s, s.describe(m)
}

func (p *parser) collection(kind Kind, m memberList, space string) (*Schema, error) {
	key := map[Kind]string{KindArray: "items", KindMap: "values"}[kind]
	raw := m.take(key)
	if raw == nil {
		return nil, fmt.Errorf("%s without %q", kind, key)
	}
	s := p.add(&Schema{kind: kind})
	items, err := p.parse(raw, space)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	s.items = items
	return s, s.describe(m)
}

func (p *parser) definition(kind Kind, m memberList, space string) (*Schema, error) {
	full, err := m.fullName(space)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	if _, ok := p.named[full]; ok {
		return nil, fmt.Errorf("%s is defined twice", full)
	}
	if other, ok := p.pending[full]; ok && p.depth > 1 {
		return nil, fmt.Errorf("%s is the top of %s too", full, other.File)
	}
	s := p.add(&Schema{kind: kind, name: full})
	p.named[full] = s
	m.take("name")
	m.take("namespace")
	switch kind {
	case KindRecord:
		err = p.recordFields(s, m.take("fields"))
	case KindEnum:
		err = s.enumSymbols(m.take("symbols"))
	case KindFixed:
		s.size, err = strconv.Atoi(string(m.take("size")))
		if err != nil || s.size < 1 || s.size > sizeMax {
			err = fmt.Errorf("size must be a number from 1 to %d", sizeMax)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", full, err)
	}
	if err := s.describe(m); err != nil {
		return nil, fmt.Errorf("%s: %w", full, err)
	}
	return s, nil
}

func (p *parser) recordFields(s *Schema, raw jsontext.Value) error {
	items, err := elements(raw)
	if err != nil {
		return fmt.Errorf("fields: %w", err)
	}
	space, _ := splitName(s.name)
	for _, item := range items {
		m, err := members(item)
		if err != nil {
			return fmt.Errorf("fields: %w", err)
		}
		f, err := p.field(m, space)
		if err != nil {
			return fmt.Errorf("field %q: %w", f.Name, err)
		}
		if s.Field(f.Name) != nil {
			return fmt.Errorf("field %q: declared twice", f.Name)
		}
		s.fields = append(s.fields, f)
	}
	return nil
}

func (p *parser) field(m memberList, space string) (f Field, err error) {
	if f.Name, err = m.text("name"); err != nil {
		return f, err
	}
	if !isName(f.Name) {
		return f, errors.New("a name must be letters, digits and underscores and not start with a digit")
	}
	if f.Doc, err = m.text("doc"); err != nil {
		return f, err
	}
	f.Default = string(m.take("default"))
	raw := m.take("type")
	if raw == nil {
		return f, errors.New(`no "type"`)
	}
	if f.Schema, err = p.parse(raw, space); err != nil {
		return f, err
	}
	f.attrs = m.attributes()
	if v := f.Attribute("maxLength"); v != "" {
		t := f.Schema.NonNull()
		if t.kind != KindString && t.kind != KindBytes {
			return f, fmt.Errorf("maxLength on %s: only a string or bytes have a length", t.kind)
		}
		return f, t.limit(v)
	}
	return f, nil
}

func (s *Schema) enumSymbols(raw jsontext.Value) error {
	items, err := elements(raw)
	if err != nil {
		return fmt.Errorf("symbols: %w", err)
	}
	for _, item := range items {
		sym, err := unquote(string(item))
		if err != nil || !isName(sym) {
			return fmt.Errorf("symbol %s: a symbol must be letters, digits and underscores", item)
		}
		if slices.Contains(s.symbols, sym) {
			return fmt.Errorf("symbol %q stands twice", sym)
		}
		s.symbols = append(s.symbols, sym)
	}
	if len(s.symbols) == 0 {
		return errors.New("an enum without symbols")
	}
	return nil
}

// describe takes what is left of a definition: doc, logical type, attributes.
func (s *Schema) describe(m memberList) (err error) {
	if s.doc, err = m.text("doc"); err != nil {
		return err
	}
	s.attrs = m.attributes()
	logical := textOf(s.attrs, "logicalType")
	switch {
	case s.kind == KindLong && (logical == LogicalTimestamp || logical == LogicalMoney),
		s.kind == KindFixed && s.size == 16 && logical == LogicalUUID:
		s.logical = logical
	}
	if v := s.Attribute("maxLength"); v != "" && (s.kind == KindString || s.kind == KindBytes) {
		return s.limit(v)
	}
	return nil
}

func (s *Schema) limit(v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxLengthMax {
		return fmt.Errorf("maxLength %s: want a number from 1 to %d", v, maxLengthMax)
	}
	s.maxLength = n
	return nil
}
