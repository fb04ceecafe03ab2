package avro_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/linkedin/goavro/v2"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// FuzzDecode decodes any bytes as any record. Invariants: no panic; what decodes is a fixpoint of encode and
// decode, and its JSON can be written; what does not decode has no JSON either, and nothing is allocated beyond a
// multiple of the input.
func FuzzDecode(f *testing.F) {
	all := entries(f)
	rng := rand.New(rand.NewPCG(1, 2))
	for i, e := range all {
		oracle, err := goavro.NewCodec(e.Schema().Canonical())
		if err != nil {
			f.Fatal(err)
		}
		b, err := oracle.BinaryFromNative(nil, randomNative(rng, e.Schema(), false))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Add(uint8(0), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, which uint8, src []byte) {
		e := all[int(which)%len(all)]
		rec := e.New()
		err := rec.DecodeAvro(src)
		if n := sizeOf(reflect.ValueOf(rec)); n > 4096+400*len(src) {
			t.Fatalf("%s: %d bytes decode to %d", e.Name, len(src), n)
		}
		if _, jsonErr := avro.AppendJSON(nil, e.Schema(), src); (err == nil) != (jsonErr == nil) {
			t.Fatalf("%s: as a type %v, as JSON %v", e.Name, err, jsonErr)
		}
		if err != nil {
			return
		}
		once := rec.AppendAvro(nil)
		again := e.New()
		if err := again.DecodeAvro(once); err != nil {
			t.Fatalf("%s: decoding what was encoded: %v", e.Name, err)
		}
		if twice := again.AppendAvro(nil); !bytes.Equal(once, twice) {
			t.Fatalf("%s: encoded %x, then %x", e.Name, once, twice)
		}
	})
}

// sizeOf estimates the memory that a value refers to.
func sizeOf(v reflect.Value) int {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return 8
		}
		return 8 + sizeOf(v.Elem())
	case reflect.String:
		return 16 + v.Len()
	case reflect.Slice:
		n := 24
		for i := range v.Len() {
			n += sizeOf(v.Index(i))
		}
		return n + (v.Cap()-v.Len())*int(v.Type().Elem().Size())
	case reflect.Map:
		n := 48
		for it := v.MapRange(); it.Next(); {
			n += 16 + sizeOf(it.Key()) + sizeOf(it.Value())
		}
		return n
	case reflect.Struct:
		n := 0
		for i := range v.NumField() {
			n += sizeOf(v.Field(i))
		}
		return n
	}
	return int(v.Type().Size())
}

// FuzzJSONToAvro reads any body as any record. Invariants: no panic; at most 20 faults, each with a code and a
// bounded pointer; without faults the result decodes, is what the generated code would write, and its JSON reads
// back as the same bytes.
func FuzzJSONToAvro(f *testing.F) {
	all := entries(f)
	rng := rand.New(rand.NewPCG(3, 4))
	for i, e := range all {
		oracle, err := goavro.NewCodec(e.Schema().Canonical())
		if err != nil {
			f.Fatal(err)
		}
		b, err := oracle.BinaryFromNative(nil, randomNative(rng, e.Schema(), true))
		if err != nil {
			f.Fatal(err)
		}
		body, err := avro.AppendJSON(nil, e.Schema(), b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), body)
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		e := all[int(which)%len(all)]
		out, faults := avro.JSONToAvro(nil, e.Schema(), body)
		for _, fault := range faults {
			if fault.Code == "" || fault.Detail == "" || len(fault.Pointer) > 260 {
				t.Fatalf("%+v", fault)
			}
		}
		if len(faults) > 0 {
			if len(out) > 0 || len(faults) > 20 {
				t.Fatalf("%d bytes and %d faults", len(out), len(faults))
			}
			return
		}
		rec := e.New()
		if err := rec.DecodeAvro(out); err != nil {
			t.Fatalf("%s: %s gives %x: %v", e.Name, body, out, err)
		}
		if ours := rec.AppendAvro(nil); !bytes.Equal(ours, out) {
			t.Fatalf("%s: %s gives %x, the generated code writes %x", e.Name, body, out, ours)
		}
		back, err := avro.AppendJSON(nil, e.Schema(), out)
		if err != nil {
			t.Fatal(err)
		}
		again, faults := avro.JSONToAvro(nil, e.Schema(), back)
		if len(faults) > 0 || !bytes.Equal(again, out) {
			t.Fatalf("%s: %s reads back as %x (%v), want %x", e.Name, back, again, faults, out)
		}
	})
}

// FuzzParseSchema parses any text. Invariants: no panic; what parses prints as a text that parses to the same
// text, and to the same canonical form.
func FuzzParseSchema(f *testing.F) {
	for _, e := range entries(f) {
		f.Add(e.Text)
	}
	f.Add(`{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"],"default":null}]}`)
	f.Add(`["null",{"type":"enum","name":"a.b.E","aliases":["x"],"symbols":["A"],"default":"A"},{"type":"map","values":"a.b.E"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := avro.ParseSchema(text)
		if err != nil {
			return
		}
		again, err := avro.ParseSchema(s.Text())
		if err != nil {
			t.Fatalf("%s prints as %s: %v", text, s.Text(), err)
		}
		if again.Text() != s.Text() || again.Canonical() != s.Canonical() {
			t.Fatalf("%s prints as\n%s, then as\n%s", text, s.Text(), again.Text())
		}
	})
}
