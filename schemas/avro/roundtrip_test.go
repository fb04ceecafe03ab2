package avro_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/linkedin/goavro/v2"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// TestRecords_agreeWithGoavro compares the generated code of every schema with an independent implementation.
func TestRecords_agreeWithGoavro(t *testing.T) {
	rng := newRand(t)
	for _, e := range entries(t) {
		t.Run(e.Name, func(t *testing.T) {
			oracle, err := goavro.NewCodec(e.Schema().Canonical())
			if err != nil {
				t.Fatal(err)
			}
			for range 200 {
				want := randomNative(rng, e.Schema(), false)
				theirs, err := oracle.BinaryFromNative(nil, want)
				if err != nil {
					t.Fatal(err)
				}
				rec := e.New()
				if err := rec.DecodeAvro(theirs); err != nil {
					t.Fatalf("%v\nof %v", err, want)
				}
				ours := rec.AppendAvro(nil)
				got, rest, err := oracle.NativeFromBinary(ours)
				if err != nil || len(rest) > 0 || !reflect.DeepEqual(got, want) {
					t.Fatalf("goavro reads %v (%d left over, %v)\nwant %v", got, len(rest), err, want)
				}
				again := e.New()
				if err := again.DecodeAvro(ours); err != nil || !reflect.DeepEqual(again, rec) {
					t.Fatalf("decoding what was encoded: %v\n got %+v\nwant %+v", err, again, rec)
				}
			}
		})
	}
}

// TestRecords_decodeIntoUsedRecord shows that nothing of an earlier value survives, and that the earlier value's
// slices are not written to.
func TestRecords_decodeIntoUsedRecord(t *testing.T) {
	rng := newRand(t)
	for _, e := range entries(t) {
		oracle, err := goavro.NewCodec(e.Schema().Canonical())
		if err != nil {
			t.Fatal(err)
		}
		used := e.New()
		for range 50 {
			b, err := oracle.BinaryFromNative(nil, randomNative(rng, e.Schema(), false))
			if err != nil {
				t.Fatal(err)
			}
			before := reflect.New(reflect.TypeOf(used).Elem())
			before.Elem().Set(reflect.ValueOf(used).Elem()) // shares slices, maps and pointers with used
			kept := used.AppendAvro(nil)
			fresh := e.New()
			if err := used.DecodeAvro(b); err != nil {
				t.Fatal(err)
			}
			if err := fresh.DecodeAvro(b); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(used, fresh) {
				t.Fatalf("%s: a used record decodes to %+v, a new one to %+v", e.Name, used, fresh)
			}
			if got := before.Interface().(avro.Record).AppendAvro(nil); !bytes.Equal(got, kept) {
				t.Fatalf("%s: decoding changed a value that was read before", e.Name)
			}
		}
	}
}

// TestRecords_refuseEveryTruncation cuts valid bytes everywhere: no cut may decode, nor may one byte more.
func TestRecords_refuseEveryTruncation(t *testing.T) {
	rng := newRand(t)
	for _, e := range entries(t) {
		oracle, err := goavro.NewCodec(e.Schema().Canonical())
		if err != nil {
			t.Fatal(err)
		}
		b, err := oracle.BinaryFromNative(nil, randomNative(rng, e.Schema(), false))
		if err != nil {
			t.Fatal(err)
		}
		for n := range b {
			if err := e.New().DecodeAvro(b[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes decode", e.Name, n, len(b))
			}
		}
		if err := e.New().DecodeAvro(append(b, 0)); err == nil {
			t.Fatalf("%s: a byte left over was accepted", e.Name)
		}
	}
}

// TestEntry_textIsItself shows that schema texts parse to what they were printed from.
func TestEntry_textIsItself(t *testing.T) {
	for _, e := range entries(t) {
		if got := e.Schema().Text(); got != e.Text {
			t.Errorf("%s: printing the parsed text gives\n%s\nwant\n%s", e.Name, got, e.Text)
		}
		if e.New().AvroName() != e.Name || e.Schema().Name() != e.Name {
			t.Errorf("%s: the type says %s, the schema %s", e.Name, e.New().AvroName(), e.Schema().Name())
		}
		if sets.Find(e.Name) != e {
			t.Errorf("%s is not found by name", e.Name)
		}
	}
}
