package main

import (
	"bytes"
	"fmt"
	"go/format"
	"slices"
	"strconv"
	"strings"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

const runtimePath = "github.com/nexusblueprint/nexus/schemas/avro"

// emit writes the Go files of the package, formatted.
func (m *model) emit() (map[string][]byte, error) {
	spaces := map[string][]*goType{}
	for _, t := range m.own {
		space, _ := split(t.schema.Name())
		spaces[space] = append(spaces[space], t)
	}
	files := map[string][]byte{}
	add := func(name string, e *emitter) error {
		text, err := format.Source(e.file())
		if err != nil {
			return fmt.Errorf("formatting %s: %w", name, err)
		}
		files[name] = text
		return nil
	}
	for space, types := range spaces {
		e := &emitter{model: m}
		for _, t := range types {
			e.declare(t)
		}
		if e.buf.Len() == 0 {
			continue // a namespace of uuids only
		}
		if _, twice := files[fileOf(space)]; twice {
			return nil, fmt.Errorf("two namespaces would be written to %s: rename %s", fileOf(space), space)
		}
		if err := add(fileOf(space), e); err != nil {
			return nil, err
		}
	}
	e := &emitter{model: m}
	e.set()
	return files, add("schemas_gen.go", e)
}

// emitter writes one Go file.
type emitter struct {
	model   *model
	buf     bytes.Buffer
	imports []string
}

func (e *emitter) line(format string, args ...any) {
	fmt.Fprintf(&e.buf, format, args...)
	e.buf.WriteByte('\n')
}

func (e *emitter) use(path string) {
	if !slices.Contains(e.imports, path) {
		e.imports = append(e.imports, path)
	}
}

// file returns the file's text: header, package, imports, body.
func (e *emitter) file() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s\npackage %s\n", header, e.model.pkg.name)
	slices.Sort(e.imports)
	if len(e.imports) == 1 {
		fmt.Fprintf(&out, "\nimport %q\n", e.imports[0])
	} else if len(e.imports) > 1 {
		out.WriteString("\nimport (\n")
		for _, path := range e.imports {
			fmt.Fprintf(&out, "\t%q\n", path)
		}
		out.WriteString(")\n")
	}
	out.Write(e.buf.Bytes())
	return out.Bytes()
}

func (e *emitter) declare(t *goType) {
	switch t.schema.Kind() {
	case avro.KindRecord:
		e.structType(t)
		e.methods(t)
	case avro.KindEnum:
		e.enum(t)
	case avro.KindFixed:
		if goIdent(t.schema) == "" {
			e.head(t)
			e.line("type %s [%d]byte", t.name, t.schema.Size())
		}
	}
}

// head writes the comment of a type.
func (e *emitter) head(t *goType) {
	e.line("")
	doc := t.name + " is " + t.schema.Name() + ": " + t.schema.Doc()
	if o := t.schema.Owner(); o != "" {
		doc += "\nOwner: " + o + "."
	}
	e.buf.WriteString(comment("", doc))
}

func (e *emitter) structType(t *goType) {
	e.head(t)
	if len(t.schema.Fields()) == 0 {
		e.line("type %s struct{}", t.name)
		return
	}
	e.line("type %s struct {", t.name)
	for _, f := range t.schema.Fields() {
		doc := f.Doc
		if f.Personal() {
			doc += "\nPersonal data."
		}
		e.buf.WriteString(comment("\t", doc))
		e.line("\t%s %s", goName(f.Name), e.goType(f.Schema))
	}
	e.line("}")
}

func (e *emitter) enum(t *goType) {
	e.use(runtimePath)
	list := lowerFirst(t.name) + "Symbols"
	e.head(t)
	e.line("type %s int32\n", t.name)
	e.line("// The symbols of %s.", t.name)
	e.line("const (")
	for i, sym := range t.schema.Symbols() {
		if i == 0 {
			e.line("\t%s%s %s = iota", t.name, goName(sym), t.name)
		} else {
			e.line("\t%s%s", t.name, goName(sym))
		}
	}
	e.line(")\n")
	e.line("var %s = []string{", list)
	for _, sym := range t.schema.Symbols() {
		e.line("\t%q,", sym)
	}
	e.line("}\n")
	e.line("// String returns the symbol.")
	e.line("func (x %s) String() string { return avro.Symbol(%s, int32(x)) }", t.name, list)
}

// goType returns the Go type of a schema, with its package where it is another one.
func (e *emitter) goType(s *avro.Schema) string {
	if ident := goIdent(s); ident != "" {
		e.use(runtimePath)
		return ident
	}
	if t := e.model.types[s]; t != nil {
		if t.pkg == e.model.pkg {
			return t.name
		}
		e.use(t.pkg.path)
		return t.pkg.name + "." + t.name
	}
	switch s.Kind() {
	case avro.KindUnion:
		if bare(s.NonNull()) {
			return e.goType(s.NonNull())
		}
		return "*" + e.goType(s.NonNull())
	case avro.KindArray:
		return "[]" + e.goType(s.Items())
	case avro.KindMap:
		return "map[string]" + e.goType(s.Items())
	}
	return map[avro.Kind]string{
		avro.KindBoolean: "bool", avro.KindInt: "int32", avro.KindLong: "int64", avro.KindFloat: "float32",
		avro.KindDouble: "float64", avro.KindBytes: "[]byte", avro.KindString: "string",
	}[s.Kind()]
}

// bare reports whether nil itself can stand for null, without a pointer.
func bare(s *avro.Schema) bool {
	return s.Kind() == avro.KindArray || s.Kind() == avro.KindMap || s.Kind() == avro.KindBytes
}

// set writes the set of all records.
func (e *emitter) set() {
	e.use(runtimePath)
	e.line("\n// Schemas holds every record of this package.")
	e.line("var Schemas = avro.Set{")
	for _, t := range e.model.own {
		if t.schema.Kind() != avro.KindRecord {
			continue
		}
		text := t.schema.Text()
		if strings.Contains(text, "`") {
			text = strconv.Quote(text)
		} else {
			text = "`" + text + "`"
		}
		e.line("\t{")
		e.line("\t\tName: %q,", t.schema.Name())
		if t.part {
			e.line("\t\tPart: true,")
		}
		e.line("\t\tNew: func() avro.Record { return new(%s) },", t.name)
		e.line("\t\tText: %s,", text)
		e.line("\t},")
	}
	e.line("}")
}
