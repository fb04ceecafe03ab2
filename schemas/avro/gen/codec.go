package main

import (
	"fmt"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// methods writes the four methods of a record.
func (e *emitter) methods(t *goType) {
	e.use(runtimePath)
	fields := t.schema.Fields()
	e.line("\n// AvroName returns %q.", t.schema.Name())
	e.line("func (x *%s) AvroName() string { return %q }\n", t.name, t.schema.Name())
	e.line("// AppendAvro appends the Avro encoding of x.")
	if len(fields) == 0 {
		e.line("func (x *%s) AppendAvro(dst []byte) []byte { return dst }\n", t.name)
	} else {
		e.line("func (x *%s) AppendAvro(dst []byte) []byte {", t.name)
		for _, f := range fields {
			e.write("x."+goName(f.Name), f.Schema, 0)
		}
		e.line("return dst\n}\n")
	}
	e.line("// DecodeAvro replaces x by the value that src holds.")
	e.line("func (x *%s) DecodeAvro(src []byte) error {", t.name)
	e.line("r := avro.NewReader(src)\nx.ReadAvro(&r)\nreturn r.Close(%q)\n}\n", t.schema.Name())
	e.line("// ReadAvro replaces x by the next value of r.")
	if len(fields) == 0 {
		e.line("func (x *%s) ReadAvro(*avro.Reader) {}", t.name)
		return
	}
	e.line("func (x *%s) ReadAvro(r *avro.Reader) {", t.name)
	for _, f := range fields {
		e.read("x."+goName(f.Name), f.Schema, 0)
	}
	e.line("}")
}

// write emits statements that append the value expr, of type s, to dst. depth numbers the local names.
func (e *emitter) write(expr string, s *avro.Schema, depth int) {
	switch s.Kind() {
	case avro.KindUnion:
		e.writeNullable(expr, s, depth)
	case avro.KindArray, avro.KindMap:
		e.writeItems(expr, s, depth)
	case avro.KindRecord:
		e.line("dst = %s.AppendAvro(dst)", expr)
	case avro.KindFixed:
		e.line("dst = append(dst, %s[:]...)", expr)
	case avro.KindEnum:
		e.line("dst = avro.AppendEnum(dst, int32(%s), %d)", expr, len(s.Symbols()))
	default:
		if goIdent(s) != "" {
			expr = "int64(" + expr + ")"
		}
		e.line("dst = avro.Append%s(dst, %s)", method(s), expr)
	}
}

func (e *emitter) writeNullable(expr string, s *avro.Schema, depth int) {
	null, other := 0, 2 // as varints
	if s.Branches()[1].Kind() == avro.KindNull {
		null, other = 2, 0
	}
	value := expr
	if k := s.NonNull().Kind(); !bare(s.NonNull()) && k != avro.KindRecord && k != avro.KindFixed {
		value = "*" + expr
	}
	e.line("if %s == nil {\ndst = append(dst, %d)\n} else {\ndst = append(dst, %d)", expr, null, other)
	e.write(value, s.NonNull(), depth)
	e.line("}")
}

func (e *emitter) writeItems(expr string, s *avro.Schema, depth int) {
	e.line("if len(%s) > 0 {\ndst = avro.AppendLong(dst, int64(len(%s)))", expr, expr)
	if s.Kind() == avro.KindArray {
		i := fmt.Sprintf("i%d", depth)
		e.line("for %s := range %s {", i, expr)
		e.write(expr+"["+i+"]", s.Items(), depth+1)
	} else {
		k, v := fmt.Sprintf("k%d", depth), fmt.Sprintf("v%d", depth)
		e.line("for _, %s := range avro.SortedKeys(%s) {", k, expr)
		e.line("dst = avro.AppendString(dst, %s)\n%s := %s[%s]", k, v, expr, k)
		e.write(v, s.Items(), depth+1)
	}
	e.line("}\n}\ndst = append(dst, 0)")
}

// read emits statements that set target, of type s, to the next value of r.
func (e *emitter) read(target string, s *avro.Schema, depth int) {
	switch s.Kind() {
	case avro.KindUnion:
		e.readNullable(target, s, depth)
	case avro.KindArray:
		e.line("%s = nil", target)
		e.readArray(target, s, depth)
	case avro.KindMap:
		e.line("%s = nil", target)
		e.readMap(target, s, depth)
	case avro.KindRecord:
		e.line("%s.ReadAvro(r)", target)
	case avro.KindFixed:
		e.line("r.Fixed(%s[:])", target)
	default:
		e.line("%s = %s", target, e.scalar(s))
	}
}

// scalar returns the expression that reads a value of one call, "" for other types.
func (e *emitter) scalar(s *avro.Schema) string {
	value := fmt.Sprintf("r.%s()", method(s))
	switch {
	case s.Kind() == avro.KindEnum:
		return fmt.Sprintf("%s(r.Enum(%d))", e.goType(s), len(s.Symbols()))
	case method(s) == "":
		return ""
	case goIdent(s) != "":
		return goIdent(s) + "(" + value + ")"
	}
	return value
}

// readNew emits statements that declare name and read it.
func (e *emitter) readNew(name string, s *avro.Schema, depth int) {
	if value := e.scalar(s); value != "" {
		e.line("%s := %s", name, value)
		return
	}
	e.line("var %s %s", name, e.goType(s))
	switch s.Kind() {
	case avro.KindArray:
		e.readArray(name, s, depth)
	case avro.KindMap:
		e.readMap(name, s, depth)
	default:
		e.read(name, s, depth)
	}
}

func (e *emitter) readNullable(target string, s *avro.Schema, depth int) {
	null, inner := 0, s.NonNull()
	if s.Branches()[1].Kind() == avro.KindNull {
		null = 1
	}
	e.line("%s = nil\nif r.Present(%d) {", target, null)
	if !bare(inner) {
		v := fmt.Sprintf("v%d", depth)
		e.readNew(v, inner, depth+1)
		e.line("%s = &%s\n}", target, v)
		return
	}
	// Empty, not nil: nil is null.
	switch inner.Kind() {
	case avro.KindArray:
		e.line("%s = %s{}", target, e.goType(inner))
		e.readArray(target, inner, depth)
	case avro.KindMap:
		e.line("%s = %s{}", target, e.goType(inner))
		e.readMap(target, inner, depth)
	case avro.KindBytes:
		e.line("if %s = r.Bytes(); %s == nil {\n%s = []byte{}\n}", target, target, target)
	}
	e.line("}")
}

func (e *emitter) readArray(target string, s *avro.Schema, depth int) {
	n, i := fmt.Sprintf("n%d", depth), fmt.Sprintf("i%d", depth)
	block := fmt.Sprintf("r.Block(%d)", s.Items().MinBytes())
	e.line("for %s := %s; %s > 0; %s = %s {", n, block, n, n, block)
	e.line("%s := len(%s)\nif %s == 0 {\n%s = make(%s, %s)\n} else {", i, target, i, target, e.goType(s), n)
	e.line("%s = append(%s, make(%s, %s)...)\n}", target, target, e.goType(s), n)
	e.line("for ; %s < len(%s) && r.OK(); %s++ {", i, target, i)
	e.read(target+"["+i+"]", s.Items(), depth+1)
	e.line("}\n}")
}

func (e *emitter) readMap(target string, s *avro.Schema, depth int) {
	n, k, v := fmt.Sprintf("n%d", depth), fmt.Sprintf("k%d", depth), fmt.Sprintf("v%d", depth)
	block := fmt.Sprintf("r.Block(%d)", s.Items().MinBytes()+1)
	e.line("for %s := %s; %s > 0; %s = %s {", n, block, n, n, block)
	e.line("if %s == nil {\n%s = %s{}\n}", target, target, e.goType(s))
	e.line("for ; %s > 0 && r.OK(); %s-- {", n, n)
	e.line("%s := r.String()", k)
	e.readNew(v, s.Items(), depth+1)
	e.line("if _, twice := %s[%s]; twice {\nr.Fail(\"map key stands twice\")\n}", target, k)
	e.line("%s[%s] = %s\n}\n}", target, k, v)
}

// method returns the name of a primitive in Reader and the Append functions.
func method(s *avro.Schema) string {
	return map[avro.Kind]string{
		avro.KindBoolean: "Bool", avro.KindInt: "Int", avro.KindLong: "Long", avro.KindFloat: "Float",
		avro.KindDouble: "Double", avro.KindBytes: "Bytes", avro.KindString: "String",
	}[s.Kind()]
}
