package main

import (
	"errors"
	"fmt"
	"go/token"
	"slices"
	"strings"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// check judges the package's own schemas and returns all faults together, each with file and field.
func (m *model) check() error {
	c := checker{model: m, idents: map[string]string{"Schemas": "the generated set"}}
	if !token.IsIdentifier(m.pkg.name) {
		c.fault(m.pkg.dir, "", "package name %q is no Go identifier", m.pkg.name)
	}
	for _, t := range m.tops {
		if t.schema.Name() == "" {
			c.fault(t.file, "", "a file must define a record, an enum or a fixed")
			continue
		}
		if t.schema.Owner() == "" {
			c.fault(t.file, t.schema.Name(), `no "owner": which team answers for it?`)
		}
	}
	for _, t := range m.own {
		c.named(t)
	}
	return errors.Join(c.faults...)
}

type checker struct {
	model  *model
	idents map[string]string // Go identifiers of the package and what took them
	faults []error
}

func (c *checker) fault(file, where, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if where != "" {
		text = where + ": " + text
	}
	c.faults = append(c.faults, fmt.Errorf("%s: %s", file, text))
}

// take reserves a Go identifier of the package.
func (c *checker) take(t *goType, ident string) {
	full := t.schema.Name()
	if other, taken := c.idents[ident]; taken {
		c.fault(t.file, full, "its Go name %s is taken by %s: rename one of them", ident, other)
	}
	c.idents[ident] = full
}

func (c *checker) named(t *goType) {
	s, full := t.schema, t.schema.Name()
	if space, _ := split(full); space == "" {
		c.fault(t.file, full, "no namespace")
	}
	if s.Doc() == "" {
		c.fault(t.file, full, "no doc")
	}
	if goIdent(s) == "" {
		c.take(t, t.name)
	}
	switch s.Kind() {
	case avro.KindRecord:
		c.record(t)
	case avro.KindEnum:
		for _, sym := range s.Symbols() {
			c.take(t, t.name+goName(sym))
		}
	case avro.KindFixed:
		c.logical(t, full, s)
	}
}

func (c *checker) record(t *goType) {
	s, full := t.schema, t.schema.Name()
	if reaches(s, s, map[*avro.Schema]bool{}) {
		c.fault(t.file, full, "contains itself: values would have no greatest depth; let the inner one refer by id")
	}
	names := map[string]string{"AvroName": "", "AppendAvro": "", "DecodeAvro": "", "ReadAvro": ""}
	for _, f := range s.Fields() {
		where := fmt.Sprintf("%s: field %q", full, f.Name)
		if f.Doc == "" {
			c.fault(t.file, where, "no doc")
		}
		if f.Attribute("logicalType") != "" {
			c.fault(t.file, where, `logicalType beside the type has no effect: write {"type": {"type": "long", "logicalType": ...}}`)
		}
		if _, taken := names[goName(f.Name)]; taken {
			c.fault(t.file, where, "its Go name %s is taken", goName(f.Name))
		}
		names[goName(f.Name)] = f.Name
		c.use(t, where, f.Schema)
	}
	if f := s.Subject(); f != "" && s.Field(f) == nil {
		c.fault(t.file, full, "subject %q is no field of it", f)
	}
}

// use checks a type where a field uses it.
func (c *checker) use(t *goType, where string, s *avro.Schema) {
	switch s.Kind() {
	case avro.KindNull:
		c.fault(t.file, where, "null alone carries nothing")
	case avro.KindUnion:
		if !s.Nullable() {
			c.fault(t.file, where, "only unions of null and one other type are supported: use a record with nullable fields")
			return
		}
		c.use(t, where, s.NonNull())
	case avro.KindArray, avro.KindMap:
		if s.Kind() == avro.KindArray && s.Items().MinBytes() == 0 {
			c.fault(t.file, where, "array items that take no bytes: an array of any length would be as short as its count")
		}
		c.use(t, where, s.Items())
	case avro.KindRecord, avro.KindEnum, avro.KindFixed: // checked where they are defined
	default:
		c.logical(t, where, s)
	}
}

// logical refuses logical types that would be ignored in silence.
func (c *checker) logical(t *goType, where string, s *avro.Schema) {
	if raw := s.Attribute("logicalType"); raw != "" && s.Logical() == "" {
		c.fault(t.file, where, "logicalType %s on %s is not known: there are %s and %s on long, %s on a fixed of 16", raw, s.Kind(),
			avro.LogicalTimestamp, avro.LogicalMoney, avro.LogicalUUID)
	}
}

// reaches reports whether a value of from can hold a value of to.
func reaches(from, to *avro.Schema, seen map[*avro.Schema]bool) bool {
	return slices.ContainsFunc(children(from), func(s *avro.Schema) bool {
		if s == to || seen[s] {
			return s == to
		}
		seen[s] = true
		return reaches(s, to, seen)
	})
}

// goIdent returns the Go type of the runtime that stands for a logical type, or "".
func goIdent(s *avro.Schema) string {
	return map[string]string{
		avro.LogicalTimestamp: "avro.Millis", avro.LogicalMoney: "avro.Milli", avro.LogicalUUID: "avro.UUID",
	}[s.Logical()]
}

// fileOf returns the name of the file for a namespace.
func fileOf(space string) string { return strings.ReplaceAll(space, ".", "_") + "_gen.go" }
