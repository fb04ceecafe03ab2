package avro

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// DecodeError says why bytes are not a value of a schema.
type DecodeError struct {
	// Record is the full name of the schema that was expected, "" where it has none.
	Record string
	// Offset is the byte at which reading stopped.
	Offset int
	// Reason is a sentence without the value itself, so that it may be logged.
	Reason string
}

// Error implements error.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("decoding avro %s: at byte %d: %s", e.Record, e.Offset, e.Reason)
}

// Reader reads one Avro value. Its first error sticks: from then on every method returns a zero value, so
// generated code reads a whole record and asks once, by [Reader.Close]. Nothing but [Reader.Raw] aliases the input;
// all strings of one Reader are parts of one copy of it, made when the first is read.
type Reader struct {
	buf    []byte
	pos    int
	text   string // buf from the first string on, "" until that is read
	from   int    // where text begins in buf
	reason string // "" while all is well
	failed int    // offset of the failure
}

// NewReader returns a Reader at the start of src.
func NewReader(src []byte) Reader { return Reader{buf: src} }

// Close returns the error of the reading, or an error if bytes are left over. record is named in it.
func (r *Reader) Close(record string) error {
	if r.reason == "" && r.pos == len(r.buf) {
		return nil
	}
	if r.reason == "" {
		r.Fail(fmt.Sprintf("%d bytes left over", r.rest()))
	}
	return &DecodeError{Record: record, Offset: r.failed, Reason: r.reason}
}

// Fail makes reason the error of this Reader unless it has one already.
func (r *Reader) Fail(reason string) {
	if r.reason == "" {
		r.reason, r.failed = reason, r.pos
	}
	// With nothing left, every later read ends at once and loops over blocks see a count of zero.
	r.pos = len(r.buf)
}

// OK reports whether no error occurred so far.
func (r *Reader) OK() bool { return r.reason == "" }

// Rest returns how many bytes are left.
func (r *Reader) Rest() int { return len(r.buf) - r.pos }

func (r *Reader) rest() int { return r.Rest() }

// Bool reads a boolean: one byte, 0 or 1.
func (r *Reader) Bool() bool {
	if r.rest() < 1 {
		r.Fail("ends within a boolean")
		return false
	}
	b := r.buf[r.pos]
	if b > 1 {
		r.Fail("boolean is neither 0 nor 1")
		return false
	}
	r.pos++
	return b == 1
}

// Int reads an int: a zigzag varint that fits 32 bits.
func (r *Reader) Int() int32 {
	if pos := r.pos; uint(pos) < uint(len(r.buf)) && r.buf[pos] < 0x80 {
		r.pos = pos + 1
		return unzigzag[int32](r.buf[pos])
	}
	v := r.longSlow()
	if v != int64(int32(v)) {
		r.Fail("int does not fit 32 bits")
		return 0
	}
	return int32(v)
}

// Long reads a long: a zigzag varint of at most ten bytes.
func (r *Reader) Long() int64 {
	if pos := r.pos; uint(pos) < uint(len(r.buf)) && r.buf[pos] < 0x80 {
		r.pos = pos + 1
		return unzigzag[int64](r.buf[pos])
	}
	return r.longSlow()
}

func unzigzag[T int32 | int64](b byte) T { return T(b>>1) ^ -T(b&1) }

func (r *Reader) longSlow() int64 {
	var u uint64
	for i, shift := r.pos, 0; i < len(r.buf) && shift < 70; i, shift = i+1, shift+7 {
		b := r.buf[i]
		if shift == 63 && b > 1 {
			break
		}
		u |= uint64(b&0x7f) << shift
		if b < 0x80 {
			r.pos = i + 1
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	r.Fail("number ends early or does not fit 64 bits")
	return 0
}

// Float reads a float: four bytes, little-endian.
func (r *Reader) Float() float32 {
	if r.rest() < 4 {
		r.Fail("ends within a float")
		return 0
	}
	v := binary.LittleEndian.Uint32(r.buf[r.pos:])
	r.pos += 4
	return math.Float32frombits(v)
}

// Double reads a double: eight bytes, little-endian.
func (r *Reader) Double() float64 {
	if r.rest() < 8 {
		r.Fail("ends within a double")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.buf[r.pos:])
	r.pos += 8
	return math.Float64frombits(v)
}

// String reads a string, which must be valid UTF-8.
func (r *Reader) String() string {
	start, end := r.shortSpan()
	if end == 0 {
		start, end = r.span()
	}
	if start == end {
		return ""
	}
	if r.text == "" {
		r.text, r.from = string(r.buf[start:]), start
	}
	s := r.text[start-r.from : end-r.from]
	if !isASCII(r.buf, start, end) && !utf8.ValidString(s) {
		r.Fail("string is not valid UTF-8")
		return ""
	}
	return s
}

// isASCII reports whether b[start:end] is ASCII, which spares most strings the look at each byte: the last word is
// read beyond end where b goes on.
func isASCII(b []byte, start, end int) bool {
	const high = 0x8080808080808080
	for ; start+8 <= end; start += 8 {
		if binary.LittleEndian.Uint64(b[start:])&high != 0 {
			return false
		}
	}
	if start == end {
		return true
	}
	if start+8 <= len(b) {
		return binary.LittleEndian.Uint64(b[start:])<<(64-8*(end-start))&high == 0
	}
	var or byte
	for _, c := range b[start:end] {
		or |= c
	}
	return or < 0x80
}

// Bytes reads bytes into a new slice, nil if there are none.
func (r *Reader) Bytes() []byte {
	start, end := r.span()
	if start == end {
		return nil
	}
	return append([]byte(nil), r.buf[start:end]...)
}

// shortSpan is span for what is shorter than 64 bytes, as most strings are: the length is one byte, an even one. It
// is small enough to be inlined. An end of 0 means that span has to look.
func (r *Reader) shortSpan() (start, end int) {
	if uint(r.pos) < uint(len(r.buf)) && r.buf[r.pos]&0x81 == 0 {
		start = r.pos + 1
		if end = start + int(r.buf[r.pos]>>1); end <= len(r.buf) {
			r.pos = end
			return start, end
		}
	}
	return 0, 0
}

// span reads a length and steps over as many bytes, which it returns as offsets.
func (r *Reader) span() (start, end int) {
	n := r.Long()
	if n < 0 || n > int64(r.rest()) {
		r.Fail("length is negative or beyond the end")
		return 0, 0
	}
	start = r.pos
	r.pos += int(n)
	return start, r.pos
}

// Raw steps over bytes or a string and returns what was stepped over. Unlike all else that a Reader returns it is a
// part of the input, and a string is not checked.
func (r *Reader) Raw() []byte {
	start, end := r.span()
	return r.buf[start:end:end]
}

// Until returns the part of the input between r and end, a copy of r that has read on.
func (r *Reader) Until(end *Reader) []byte {
	if !end.OK() {
		return nil
	}
	return r.buf[r.pos:end.pos:end.pos]
}

// Skip steps over n bytes, a fixed of that size.
func (r *Reader) Skip(n int) {
	if r.rest() < n {
		r.Fail("ends within a fixed")
		return
	}
	r.pos += n
}

// Fixed fills dst with the next len(dst) bytes.
func (r *Reader) Fixed(dst []byte) {
	if r.rest() < len(dst) {
		r.Fail("ends within a fixed")
		return
	}
	r.pos += copy(dst, r.buf[r.pos:])
}

// Enum reads the index of one of n symbols.
func (r *Reader) Enum(n int) int32 {
	v := r.Long()
	if v < 0 || v >= int64(n) {
		r.Fail("enum index has no symbol")
		return 0
	}
	return int32(v)
}

// Present reads the branch of a union of two types, of which null is the one at nullIndex (0 or 1), and
// reports whether a value follows.
func (r *Reader) Present(nullIndex int64) bool {
	v := r.Long()
	if v != 0 && v != 1 {
		r.Fail("union has no such branch")
		return false
	}
	return v != nullIndex && r.OK()
}

// Block reads the head of an array or map block and returns its number of items, 0 at the end. itemMin is the
// least number of bytes that an item takes, at least 1: a count that the rest cannot hold is an error, which
// keeps what a caller allocates proportional to the input.
func (r *Reader) Block(itemMin int) int {
	n := r.Long()
	if n == 0 {
		return 0
	}
	if n < 0 {
		n = -n // stays negative for the least int64, which the check below refuses
		if size := r.Long(); size < 0 || size > int64(r.rest()) {
			r.Fail("block size is negative or beyond the end")
			return 0
		}
	}
	if n < 0 || n > int64(r.rest()/itemMin) {
		r.Fail("block count is beyond the end")
		return 0
	}
	return int(n)
}
