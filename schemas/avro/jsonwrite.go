package avro

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// recordDepthMax bounds records within records, which a recursive schema could nest without end.
const recordDepthMax = 64

// AppendJSON appends the JSON form of one Avro value to dst: fields in the order of the schema, map entries in the
// order of the bytes, the forms of [JSONToAvro]. It takes any schema, also unions of several types (written
// plainly) and unknown logical types (as their plain type); floats that JSON has no number for are the strings
// "NaN", "Infinity" and "-Infinity", years beyond 9999 have more digits.
//
// Errors: a *[DecodeError] if src is not exactly one value of s; dst comes back as it was.
func AppendJSON(dst []byte, s *Schema, src []byte) ([]byte, error) {
	w := jsonWriter{r: NewReader(src), buf: dst, empties: len(src) + 10_000}
	w.value(s)
	if err := w.r.Close(s.name); err != nil {
		return dst, err
	}
	return w.buf, nil
}

type jsonWriter struct {
	r       Reader
	buf     []byte
	depth   int
	empties int // values of no bytes that may still come: they cost output without costing input
}

func (w *jsonWriter) value(s *Schema) {
	if s.least == 0 {
		if w.empties--; w.empties < 0 {
			w.r.Fail("too many values that take no bytes")
			return
		}
	}
	switch s.kind {
	case KindUnion:
		w.union(s)
	case KindRecord:
		w.record(s)
	case KindArray:
		w.array(s)
	case KindMap:
		w.table(s)
	case KindNull:
		w.buf = append(w.buf, "null"...)
	case KindBoolean:
		w.buf = strconv.AppendBool(w.buf, w.r.Bool())
	case KindInt:
		w.buf = strconv.AppendInt(w.buf, int64(w.r.Int()), 10)
	case KindLong:
		w.long(s)
	case KindFloat:
		w.float(float64(w.r.Float()), 32)
	case KindDouble:
		w.float(w.r.Double(), 64)
	case KindEnum:
		w.quoted(s.symbols[w.r.Enum(len(s.symbols))])
	case KindString:
		w.text()
	case KindBytes:
		start, end := w.r.span()
		w.base64(w.r.buf[start:end])
	case KindFixed:
		w.fixed(s)
	}
}

// quoted writes text that needs no escapes.
func (w *jsonWriter) quoted(text string) {
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, text...)
	w.buf = append(w.buf, '"')
}

// text writes the next string and returns where it stands in the input.
func (w *jsonWriter) text() (start, end int) {
	start, end = w.r.span()
	buf, err := jsontext.AppendQuote(w.buf, w.r.buf[start:end])
	if err != nil {
		w.r.Fail("string is not valid UTF-8")
		return 0, 0
	}
	w.buf = buf
	return start, end
}

func (w *jsonWriter) union(s *Schema) {
	i := w.r.Long()
	if i < 0 || i >= int64(len(s.branches)) {
		w.r.Fail("union has no such branch")
		return
	}
	w.value(s.branches[i])
}

func (w *jsonWriter) record(s *Schema) {
	if w.depth++; w.depth > recordDepthMax {
		w.r.Fail(fmt.Sprintf("more than %d records within each other", recordDepthMax))
		return
	}
	w.buf = append(w.buf, '{')
	for i := range s.fields {
		if !w.r.OK() {
			return
		}
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.quoted(s.fields[i].Name)
		w.buf = append(w.buf, ':')
		w.value(s.fields[i].Schema)
	}
	w.buf = append(w.buf, '}')
	w.depth--
}

func (w *jsonWriter) array(s *Schema) {
	w.buf = append(w.buf, '[')
	first := true
	for n := w.block(s.items.least); n > 0; n = w.block(s.items.least) {
		for ; n > 0 && w.r.OK(); n-- {
			if !first {
				w.buf = append(w.buf, ',')
			}
			first = false
			w.value(s.items)
		}
	}
	w.buf = append(w.buf, ']')
}

// block reads the head of a block whose items take at least itemMin bytes, which may be none.
func (w *jsonWriter) block(itemMin int) int {
	if itemMin > 0 {
		return w.r.Block(itemMin)
	}
	n := w.r.Long()
	if n < 0 {
		n = -n
		w.r.Long()
	}
	if n < 0 || n > int64(w.empties) {
		w.r.Fail("too many values that take no bytes")
		return 0
	}
	return int(n)
}

func (w *jsonWriter) table(s *Schema) {
	w.buf = append(w.buf, '{')
	seen := map[string]bool{}
	for n := w.r.Block(1 + s.items.least); n > 0; n = w.r.Block(1 + s.items.least) {
		for ; n > 0 && w.r.OK(); n-- {
			if len(seen) > 0 {
				w.buf = append(w.buf, ',')
			}
			start, end := w.text()
			key := string(w.r.buf[start:end])
			if seen[key] {
				w.r.Fail("map key stands twice")
				return
			}
			seen[key] = true
			w.buf = append(w.buf, ':')
			w.value(s.items)
		}
	}
	w.buf = append(w.buf, '}')
}

func (w *jsonWriter) long(s *Schema) {
	v := w.r.Long()
	switch s.logical {
	case LogicalTimestamp:
		w.buf = append(w.buf, '"')
		w.buf = append(Millis(v).append(w.buf), '"')
	case LogicalMoney:
		w.buf = append(w.buf, '"')
		w.buf = append(Milli(v).append(w.buf), '"')
	default:
		w.buf = strconv.AppendInt(w.buf, v, 10)
	}
}

func (w *jsonWriter) float(v float64, bits int) {
	switch {
	case math.IsNaN(v):
		w.quoted("NaN")
	case math.IsInf(v, 1):
		w.quoted("Infinity")
	case math.IsInf(v, -1):
		w.quoted("-Infinity")
	default:
		w.buf = jsontext.AppendFloat(w.buf, v, bits)
	}
}

func (w *jsonWriter) fixed(s *Schema) {
	if w.r.rest() < s.size {
		w.r.Fail("ends within a fixed")
		return
	}
	b := w.r.buf[w.r.pos : w.r.pos+s.size]
	w.r.pos += s.size
	if s.logical == LogicalUUID {
		w.buf = append(w.buf, '"')
		w.buf = append(UUID(b).append(w.buf), '"')
		return
	}
	w.base64(b)
}

func (w *jsonWriter) base64(b []byte) {
	w.buf = append(w.buf, '"')
	w.buf = append(base64.StdEncoding.AppendEncode(w.buf, b), '"')
}
