package avro

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// JSONToAvro appends the Avro form of a JSON body to dst. The bytes are those that the generated type's AppendAvro
// would write for the value, whatever the order of the body's fields.
//
// Fields with a default may be left out; null stands for the null of a nullable field. Timestamps are RFC 3339
// strings, money is a decimal string, uuids are canonical text, bytes and fixeds are base64, enums are their
// symbols. On faults, at most 20, dst comes back as it was. The faults stand in the order of the body, missing
// fields at the end of their record; malformed JSON, invalid UTF-8 and more than 32 levels end the reading.
//
// Memory is proportional to the body, whose size the caller bounds. It is safe for concurrent use.
func JSONToAvro(dst []byte, s *Schema, body []byte) ([]byte, []Fault) {
	j := readers.Get().(*jsonReader)
	defer j.release()
	j.body = *bytes.NewBuffer(body)
	j.dec.Reset(&j.body, duplicatesAllowed)
	n := len(dst)
	out := j.value(dst, s)
	if !j.done {
		if _, err := j.dec.ReadToken(); err != io.EOF { //nolint:errorlint // the decoder returns it unwrapped
			j.fatal("", FaultTrailing, "the body goes on after the value")
		}
	}
	if len(j.faults) > 0 {
		return out[:n], slices.Clone(j.faults)
	}
	return out, nil
}

// The reader itself finds duplicate fields, with their pointer, and goes on behind them.
var duplicatesAllowed = jsontext.AllowDuplicateNames(true)

var readers = sync.Pool{New: func() any { return new(jsonReader) }}

// jsonReader turns one body into Avro.
type jsonReader struct {
	dec     jsontext.Decoder
	body    bytes.Buffer
	faults  []Fault
	done    bool    // a fatal fault, or enough of them
	fields  []span  // of the records being read, innermost last
	entries []entry // of the maps being read, innermost last
	scratch []byte
}

// span is where the value of a record field stands in the output; the zero span: not there yet.
type span struct {
	from, to int
	seen     bool
}

// entry is where a map key and its value stand in the output.
type entry struct{ from, keyFrom, keyTo, to int }

// release gives the reader back without what refers to the body.
func (j *jsonReader) release() {
	const keep = 64 << 10
	if cap(j.scratch) > keep || cap(j.fields) > keep/16 || cap(j.entries) > keep/32 {
		return // a rare giant: leave its buffers to the collector
	}
	j.body = bytes.Buffer{}
	j.dec.Reset(&j.body)
	clear(j.faults)
	j.faults, j.done, j.fields, j.entries = j.faults[:0], false, j.fields[:0], j.entries[:0]
	readers.Put(j)
}

// value reads the next JSON value as one of s.
func (j *jsonReader) value(dst []byte, s *Schema) []byte {
	kind := j.dec.PeekKind()
	if s.kind == KindUnion {
		if s.nullIndex < 0 {
			j.wrong(FaultNotSupported, "a union of several types cannot be written as JSON")
			return dst
		}
		if kind == jsontext.KindNull {
			j.scalar()
			return AppendLong(dst, s.nullIndex)
		}
		dst, s = AppendLong(dst, 1-s.nullIndex), s.items
	}
	if kind != s.jsonKind() && (s.kind != KindBoolean || kind != jsontext.KindTrue) {
		if kind == jsontext.KindInvalid {
			_, err := j.dec.ReadToken()
			j.broken(err)
			return dst
		}
		j.wrong(FaultType, "want "+s.inWords())
		return dst
	}
	switch s.kind {
	case KindRecord:
		return j.record(dst, s)
	case KindArray:
		return j.array(dst, s)
	case KindMap:
		return j.table(dst, s)
	default:
		if raw := j.scalar(); raw != nil {
			return j.appendScalar(dst, s, raw)
		}
		return dst
	}
}

// jsonKind returns the kind of JSON value that stands for s; false for either boolean.
func (s *Schema) jsonKind() jsontext.Kind {
	switch s.kind {
	case KindNull:
		return jsontext.KindNull
	case KindBoolean:
		return jsontext.KindFalse
	case KindRecord, KindMap:
		return jsontext.KindBeginObject
	case KindArray:
		return jsontext.KindBeginArray
	case KindInt, KindFloat, KindDouble:
		return jsontext.KindNumber
	case KindLong:
		if s.logical == "" {
			return jsontext.KindNumber
		}
	}
	return jsontext.KindString
}

// inWords says what s looks like in JSON.
func (s *Schema) inWords() string {
	switch {
	case s.logical == LogicalTimestamp:
		return "an RFC 3339 string such as \"2010-12-01T08:26:00Z\""
	case s.logical == LogicalMoney:
		return "a decimal string such as \"12.75\""
	case s.kind == KindInt || s.kind == KindLong:
		return "a whole number without fraction or exponent"
	case s.kind == KindFloat || s.kind == KindDouble:
		return "a number"
	case s.kind == KindRecord || s.kind == KindMap:
		return "an object"
	case s.kind == KindArray:
		return "an array"
	case s.kind == KindNull || s.kind == KindBoolean:
		return s.kind.String()
	case s.kind == KindBytes || s.kind == KindFixed:
		return "a base64 string"
	}
	return "a string"
}

// scalar reads a value of one token and returns its text, or nil after an error.
func (j *jsonReader) scalar() jsontext.Value {
	raw, err := j.dec.ReadValue()
	if err != nil {
		j.broken(err)
		return nil
	}
	return raw
}

// wrong steps over the next value, whatever it is, and records the fault at it.
func (j *jsonReader) wrong(code, detail string) {
	if j.skip() {
		j.fault(j.here(), code, detail)
	}
}

// skip steps over the next value and reports whether that went well.
func (j *jsonReader) skip() bool {
	for depth := j.dec.StackDepth(); ; {
		if _, err := j.dec.ReadToken(); err != nil {
			j.broken(err)
			return false
		}
		if !j.deepEnough() {
			return false
		}
		if j.dec.StackDepth() <= depth {
			return true
		}
	}
}

func (j *jsonReader) deepEnough() bool {
	if j.dec.StackDepth() <= jsonDepthMax {
		return true
	}
	j.fatal(j.here(), FaultTooDeep, fmt.Sprintf("more than %d levels", jsonDepthMax))
	return false
}

// delimiter reads the beginning or end of an object or array.
func (j *jsonReader) delimiter() bool {
	if _, err := j.dec.ReadToken(); err != nil {
		j.broken(err)
		return false
	}
	return j.deepEnough()
}

func (j *jsonReader) record(dst []byte, s *Schema) []byte {
	if !j.delimiter() {
		return dst
	}
	base, start, next := len(j.fields), len(dst), 0
	j.fields = append(j.fields, make([]span, len(s.fields))...)
	for !j.done && j.dec.PeekKind() != jsontext.KindEndObject {
		raw := j.scalar()
		if raw == nil {
			break
		}
		i := s.fieldIndex(raw, next)
		if i < 0 || j.fields[base+i].seen {
			j.refuseField(s, i)
			continue
		}
		from := len(dst)
		dst = j.value(dst, s.fields[i].Schema)
		j.fields[base+i], next = span{from, len(dst), true}, i+1
	}
	if !j.done && j.delimiter() {
		dst = j.complete(dst, s, base)
		j.arrange(dst, start, j.fields[base:])
	}
	j.fields = j.fields[:base]
	return dst
}

// fieldIndex returns the field of a quoted name, or -1. guess is the field that the schema has next.
func (s *Schema) fieldIndex(raw jsontext.Value, guess int) int {
	name := []byte(raw[1 : len(raw)-1])
	if bytes.IndexByte(name, '\\') >= 0 {
		name, _ = jsontext.AppendUnquote(nil, raw) // the decoder has checked it
	}
	if guess < len(s.fields) && s.fields[guess].Name == string(name) {
		return guess
	}
	for i := range s.fields {
		if s.fields[i].Name == string(name) {
			return i
		}
	}
	return -1
}

func (j *jsonReader) refuseField(s *Schema, i int) {
	pointer := j.here()
	switch {
	case !j.skip():
	case i < 0:
		j.fault(pointer, FaultUnknown, s.name+" has no such field")
	default:
		j.fault(pointer, FaultDuplicate, "the field stands twice")
	}
}

// complete appends the defaults of fields that were left out.
func (j *jsonReader) complete(dst []byte, s *Schema, base int) []byte {
	for i := range s.fields {
		f, at := &s.fields[i], &j.fields[base+i]
		switch {
		case at.seen:
		case f.Default == "":
			j.fault(child(j.here(), f.Name), FaultMissing, "the field is required")
		default:
			*at = span{len(dst), len(dst) + len(f.preset), true}
			dst = append(dst, f.preset...)
		}
	}
	return dst
}

// arrange puts the fields that were written to dst[start:] in the order of the schema.
func (j *jsonReader) arrange(dst []byte, start int, fields []span) {
	at := start
	for _, f := range fields {
		if f.from < f.to && f.from != at {
			at = -1
			break
		}
		at += f.to - f.from
	}
	if at >= 0 {
		return
	}
	j.scratch = j.scratch[:0]
	for _, f := range fields {
		j.scratch = append(j.scratch, dst[f.from:f.to]...)
	}
	copy(dst[start:], j.scratch)
}

func (j *jsonReader) array(dst []byte, s *Schema) []byte {
	if !j.delimiter() {
		return dst
	}
	at, n := len(dst), 0
	dst = append(dst, 0)
	for ; !j.done && j.dec.PeekKind() != jsontext.KindEndArray; n++ {
		dst = j.value(dst, s.items)
	}
	if j.done || !j.delimiter() || n == 0 {
		return dst
	}
	return closeBlock(dst, at, n)
}

// closeBlock writes the count of a block over the byte that was left for it at dst[at], and ends the block.
func closeBlock(dst []byte, at, n int) []byte {
	var buf [10]byte
	head := AppendLong(buf[:0], int64(n))
	dst[at] = head[0]
	if len(head) > 1 {
		dst = slices.Insert(dst, at+1, head[1:]...)
	}
	return append(dst, 0)
}

func (j *jsonReader) table(dst []byte, s *Schema) []byte {
	if !j.delimiter() {
		return dst
	}
	at, base := len(dst), len(j.entries)
	dst = append(dst, 0)
	for !j.done && j.dec.PeekKind() != jsontext.KindEndObject {
		raw := j.scalar()
		if raw == nil {
			break
		}
		e := entry{from: len(dst)}
		dst, e.keyFrom = j.appendText(dst, MaxLengthDefault, raw)
		e.keyTo = len(dst)
		dst = j.value(dst, s.items)
		e.to = len(dst)
		j.entries = append(j.entries, e)
	}
	entries := j.entries[base:]
	j.entries = j.entries[:base]
	if j.done || !j.delimiter() || len(entries) == 0 {
		return dst
	}
	j.sortEntries(dst, at+1, entries)
	return closeBlock(dst, at, len(entries))
}

// sortEntries puts the entries that were written to dst[start:] in the order of their keys.
func (j *jsonReader) sortEntries(dst []byte, start int, entries []entry) {
	key := func(e entry) []byte { return dst[e.keyFrom:e.keyTo] }
	byKey := func(a, b entry) int { return bytes.Compare(key(a), key(b)) }
	sorted := slices.IsSortedFunc(entries, byKey)
	if !sorted {
		slices.SortFunc(entries, byKey)
	}
	for i := 1; i < len(entries); i++ {
		if byKey(entries[i-1], entries[i]) == 0 {
			j.fault(child(j.here(), string(key(entries[i]))), FaultDuplicate, "the key stands twice")
		}
	}
	if sorted {
		return
	}
	j.scratch = j.scratch[:0]
	for _, e := range entries {
		j.scratch = append(j.scratch, dst[e.from:e.to]...)
	}
	copy(dst[start:], j.scratch)
}
