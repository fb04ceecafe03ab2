package avro

import "strings"

// Hidden reports whether the field is kept for the fold alone and shown to nobody: the attribute hidden is true.
func (f *Field) Hidden() bool { return valueOf(f.attrs, "hidden") == "true" }

// Scalar reports whether the field holds one value that can be compared: a string, number, boolean or enum,
// possibly null.
func (f *Field) Scalar() bool {
	switch s := f.Type(); s.kind {
	case KindString, KindEnum, KindInt, KindLong, KindFloat, KindDouble, KindBoolean:
		return true
	case KindFixed:
		return s.logical == LogicalUUID
	default:
		return false
	}
}

// Document is a record as a search store takes it.
type Document struct {
	// JSON is the record without its hidden fields.
	JSON []byte
	// Values are the shown scalar fields in the order of the schema: string, int64, float64, bool or nil.
	// Money stays in thousandths, time in milliseconds.
	Values []any
	// Text is every shown string, also within lists and records, one per line.
	Text string
}

// ReadDocument reads a record of schema s for a search store.
//
// Errors: a *[DecodeError] if src is not exactly one value of s.
func ReadDocument(s *Schema, src []byte) (Document, error) {
	var text strings.Builder
	doc := Document{Values: make([]any, 0, len(s.fields))}
	w := jsonWriter{r: NewReader(src), buf: make([]byte, 0, 3*len(src)+64), empties: len(src) + 10_000}
	w.buf = append(w.buf, '{')
	for i := range s.fields {
		f, begin, shown := &s.fields[i], w.r.pos, len(w.buf)
		if shown > 1 {
			w.buf = append(w.buf, ',')
		}
		w.quoted(f.Name)
		w.buf = append(w.buf, ':')
		w.value(f.Schema)
		if f.Hidden() {
			w.buf = w.buf[:shown]
			continue
		}
		if !w.r.OK() {
			break
		}
		again := collector{r: NewReader(src[begin:w.r.pos]), text: &text}
		value := again.value(f.Schema)
		if f.Scalar() {
			doc.Values = append(doc.Values, value)
		}
	}
	if err := w.r.Close(s.name); err != nil {
		return Document{}, err
	}
	w.buf = append(w.buf, '}')
	doc.JSON, doc.Text = w.buf, text.String()
	return doc, nil
}

// collector reads bytes that a jsonWriter has found valid.
type collector struct {
	r    Reader
	text *strings.Builder
}

// value returns a scalar, or nil, and gathers the strings on its way.
func (c *collector) value(s *Schema) any {
	switch s.kind {
	case KindUnion:
		return c.value(s.branches[c.r.Long()])
	case KindString:
		v := c.r.String()
		c.gather(v)
		return v
	case KindEnum:
		return s.symbols[c.r.Enum(len(s.symbols))]
	case KindInt:
		return int64(c.r.Int())
	case KindLong:
		return c.r.Long()
	case KindFloat:
		return float64(c.r.Float())
	case KindDouble:
		return c.r.Double()
	case KindBoolean:
		return c.r.Bool()
	case KindFixed:
		return c.fixed(s)
	case KindRecord:
		for i := range s.fields {
			c.value(s.fields[i].Schema)
		}
	case KindArray:
		for n := c.r.Block(s.items.least); n > 0; n = c.r.Block(s.items.least) {
			for ; n > 0; n-- {
				c.value(s.items)
			}
		}
	case KindMap:
		for n := c.r.Block(1 + s.items.least); n > 0; n = c.r.Block(1 + s.items.least) {
			for ; n > 0; n-- {
				c.gather(c.r.String())
				c.value(s.items)
			}
		}
	case KindBytes:
		c.r.Bytes()
	}
	return nil
}

func (c *collector) gather(s string) {
	if s == "" {
		return
	}
	if c.text.Len() > 0 {
		c.text.WriteByte('\n')
	}
	c.text.WriteString(s)
}

func (c *collector) fixed(s *Schema) any {
	b := make([]byte, s.size)
	c.r.Fixed(b)
	if s.logical == LogicalUUID {
		return UUID(b).String()
	}
	return nil
}
