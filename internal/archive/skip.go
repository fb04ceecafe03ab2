package archive

import "github.com/nexusblueprint/nexus/schemas/avro"

// depthMax bounds how deep values of recursive schemas nest.
const depthMax = 200

// skip steps over one value of a schema.
func skip(r *avro.Reader, s *avro.Schema, depth int) {
	if depth > depthMax {
		r.Fail("a value nests too deep")
	}
	if !r.OK() {
		return
	}
	switch s.Kind() {
	case avro.KindBoolean:
		r.Bool()
	case avro.KindInt:
		r.Int()
	case avro.KindLong:
		r.Long()
	case avro.KindFloat:
		r.Float()
	case avro.KindDouble:
		r.Double()
	case avro.KindBytes:
		r.Bytes()
	case avro.KindString:
		_ = r.String()
	case avro.KindEnum:
		r.Enum(len(s.Symbols()))
	case avro.KindFixed:
		r.Skip(s.Size())
	case avro.KindUnion:
		branch := r.Enum(len(s.Branches()))
		if r.OK() {
			skip(r, s.Branches()[branch], depth+1)
		}
	case avro.KindRecord:
		for i := range s.Fields() {
			skip(r, s.Fields()[i].Schema, depth+1)
		}
	case avro.KindArray:
		skipBlocks(r, max(1, s.Items().MinBytes()), func() { skip(r, s.Items(), depth+1) })
	case avro.KindMap:
		skipBlocks(r, 1+s.Items().MinBytes(), func() {
			_ = r.String()
			skip(r, s.Items(), depth+1)
		})
	case avro.KindNull:
	}
}

func skipBlocks(r *avro.Reader, least int, item func()) {
	for n := r.Block(least); n > 0; n = r.Block(least) {
		for ; n > 0 && r.OK(); n-- {
			item()
		}
	}
}
