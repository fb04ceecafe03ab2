package avro_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/internal/sample"
)

func TestReader_refusesWhatNoEncoderWrites(t *testing.T) {
	for _, c := range []struct {
		title, src, want string
		read             func(*avro.Reader)
	}{
		{"a boolean of 2", "\x02", "boolean", func(r *avro.Reader) { r.Bool() }},
		{"an int of 33 bits", "\x80\x80\x80\x80\x10", "32 bits", func(r *avro.Reader) { r.Int() }},
		{"a number of eleven bytes", strings.Repeat("\x80", 10) + "\x01", "64 bits", func(r *avro.Reader) { r.Long() }},
		{"a number of 65 bits", strings.Repeat("\xff", 9) + "\x02", "64 bits", func(r *avro.Reader) { r.Long() }},
		{"a number without end", "\x80", "ends early", func(r *avro.Reader) { r.Long() }},
		{"half a float", "\x00\x00", "float", func(r *avro.Reader) { r.Float() }},
		{"half a double", "\x00\x00\x00\x00", "double", func(r *avro.Reader) { r.Double() }},
		{"half a fixed", "\x00", "fixed", func(r *avro.Reader) { r.Fixed(make([]byte, 2)) }},
		{"a negative length", "\x01", "length", func(r *avro.Reader) { _ = r.String() }},
		{"a length beyond the end", "\x04a", "length", func(r *avro.Reader) { r.Bytes() }},
		{"the greatest length", "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "length", func(r *avro.Reader) { _ = r.String() }},
		{"a string that is not UTF-8", "\x02\xff", "UTF-8", func(r *avro.Reader) { _ = r.String() }},
		{"a surrogate", "\x06\xed\xa0\x80", "UTF-8", func(r *avro.Reader) { _ = r.String() }},
		{"a long string that ends badly", "\x14" + "123456789\xc3" + "abcdefgh", "UTF-8", func(r *avro.Reader) { _ = r.String() }},
		{"an enum without symbol", "\x06", "symbol", func(r *avro.Reader) { r.Enum(3) }},
		{"a negative enum", "\x01", "symbol", func(r *avro.Reader) { r.Enum(3) }},
		{"a branch too many", "\x04", "branch", func(r *avro.Reader) { r.Present(0) }},
		{"a count beyond the end", "\x06ab", "count", func(r *avro.Reader) { r.Block(1) }},
		{"the least count", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", "count", func(r *avro.Reader) { r.Block(1) }},
		{"a block size beyond the end", "\x01\x06ab", "block size", func(r *avro.Reader) { r.Block(1) }},
		{"a negative block size", "\x01\x01ab", "block size", func(r *avro.Reader) { r.Block(1) }},
		{"a byte too many", "\x00\x00", "left over", func(r *avro.Reader) { r.Long() }},
	} {
		r := avro.NewReader([]byte(c.src))
		c.read(&r)
		err := r.Close("R")
		var decode *avro.DecodeError
		if !errors.As(err, &decode) || !strings.Contains(decode.Reason, c.want) || decode.Record != "R" {
			t.Errorf("%s: %v, want %q", c.title, err, c.want)
		}
	}
}

func TestReader_firstErrorSticks(t *testing.T) {
	r := avro.NewReader([]byte{2, 2, 2})
	r.Fail("first")
	if r.Bool() || r.Long() != 0 || r.String() != "" || r.Present(0) || r.Present(1) || r.Block(1) != 0 || r.OK() {
		t.Error("a failed reader goes on")
	}
	if err := r.Close("R"); err == nil || !strings.Contains(err.Error(), "byte 0: first") {
		t.Errorf("%v", err)
	}
}

func TestReader_takesBlocksOfAnySplit(t *testing.T) {
	var all sample.Maybe
	if err := all.DecodeAvro((&sample.Maybe{List: []int64{1, 2, 3}}).AppendAvro(nil)); err != nil {
		t.Fatal(err)
	}
	whole := string((&sample.Maybe{List: []int64{1, 2, 3}}).AppendAvro(nil))
	split := strings.Replace(whole, "\x06\x02\x04\x06\x00", "\x02\x02\x03\x04\x04\x06\x00", 1) // 1; then two in a block of 2 bytes
	var got sample.Maybe
	if err := got.DecodeAvro([]byte(split)); split == whole || err != nil || string(got.AppendAvro(nil)) != whole {
		t.Errorf("%v, %v", got.List, err)
	}
}

func TestReader_sharesNoMemoryWithItsInput(t *testing.T) {
	src := (&sample.Everything{PersonName: "name", Raw: []byte("raw")}).AppendAvro(nil)
	var got sample.Everything
	if err := got.DecodeAvro(src); err != nil {
		t.Fatal(err)
	}
	clear(src)
	if got.PersonName != "name" || string(got.Raw) != "raw" {
		t.Errorf("changing the input changed the record: %q %q", got.PersonName, got.Raw)
	}
}

func TestAppend_keepsTheLogReadable(t *testing.T) {
	x := sample.Everything{PersonName: "caf\xc3"}
	var back sample.Everything
	if err := back.DecodeAvro(x.AppendAvro(nil)); err != nil || back.PersonName != "caf\uFFFD" {
		t.Errorf("a cut character: %q, %v", back.PersonName, err)
	}
	for title, x := range map[string]*sample.Everything{
		"an enum without symbol":      {Colour: 4},
		"a negative enum":             {Colour: -1},
		"a map key that is not UTF-8": {Table: map[string]sample.Line{"\xff": {}}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was encoded", title)
				}
			}()
			x.AppendAvro(nil)
		}()
	}
	if got := sample.Colour(9).String() + sample.ColourDarkBlue.String(); got != "invalid(9)DARK_BLUE" {
		t.Error(got)
	}
}

func TestDecode_allocatesOncePerString(t *testing.T) {
	src := bigOrder().AppendAvro(nil)
	rec := bigOrder()
	if n := testing.AllocsPerRun(100, func() {
		if err := rec.DecodeAvro(src); err != nil {
			t.Fatal(err)
		}
	}); n != 3 { // all strings, the lines, the pointer to the customer
		t.Errorf("%v allocations for 24 lines, want 3", n)
	}
}
