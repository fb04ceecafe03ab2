package serde

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// Three versions of one event: what was weighed was written in pounds first, then in grams, then with its origin.

type weighedV1 struct{ Pounds int64 }

type weighedV2 struct{ Grams int64 }

type weighedV3 struct {
	Grams  int64
	Origin string
}

func (x *weighedV1) AvroName() string { return "test.Weighed" }
func (x *weighedV2) AvroName() string { return "test.WeighedV2" }
func (x *weighedV3) AvroName() string { return "test.WeighedV3" }

func (x *weighedV1) AppendAvro(dst []byte) []byte { return avro.AppendLong(dst, x.Pounds) }
func (x *weighedV2) AppendAvro(dst []byte) []byte { return avro.AppendLong(dst, x.Grams) }
func (x *weighedV3) AppendAvro(dst []byte) []byte {
	return avro.AppendString(avro.AppendLong(dst, x.Grams), x.Origin)
}

func (x *weighedV1) DecodeAvro(src []byte) error {
	r := avro.NewReader(src)
	x.Pounds = r.Long()
	return r.Close(x.AvroName())
}

func (x *weighedV2) DecodeAvro(src []byte) error {
	r := avro.NewReader(src)
	x.Grams = r.Long()
	return r.Close(x.AvroName())
}

func (x *weighedV3) DecodeAvro(src []byte) error {
	r := avro.NewReader(src)
	x.Grams, x.Origin = r.Long(), r.String()
	return r.Close(x.AvroName())
}

var weighed = []*avro.Entry{
	{Name: "test.Weighed", New: func() avro.Record { return new(weighedV1) }, Text: `{"type":"record","name":"test.Weighed","fields":[{"name":"pounds","type":"long"}]}`},
	{Name: "test.WeighedV2", New: func() avro.Record { return new(weighedV2) }, Text: `{"type":"record","name":"test.WeighedV2","fields":[{"name":"grams","type":"long"}]}`},
	{Name: "test.WeighedV3", New: func() avro.Record { return new(weighedV3) }, Text: `{"type":"record","name":"test.WeighedV3","fields":[{"name":"grams","type":"long"},{"name":"origin","type":"string","default":"unknown"}]}`},
}

// scale is a topology whose aggregate folds the newest version alone.
func scale() *topology.Topology {
	a := domain.NewAggregate("scale", 1, func(s weighedV3, e domain.Event) weighedV3 { s.Grams += e.(*weighedV3).Grams; return s },
		domain.Upcast[weighedV3](func(e *weighedV1) *weighedV2 {
			if e.Pounds < 0 {
				panic("nothing weighs less than nothing")
			}
			return &weighedV2{Grams: e.Pounds * 454}
		}),
		domain.Upcast[weighedV3](func(e *weighedV2) *weighedV3 { return &weighedV3{Grams: e.Grams, Origin: "before origins"} }),
		domain.Records[weighedV3, weighedV3](),
	)
	return &topology.Topology{Schemas: avro.Sets{platform.Schemas, weighed}, Aggregates: []topology.Aggregate{{Aggregate: a}}}
}

// TestSerde_readsStoredEventsAsTheNewestVersion reads values as they stand in a log: written by the program's schema of
// that version, and by older schemas of it, which are resolved first.
func TestSerde_readsStoredEventsAsTheNewestVersion(t *testing.T) {
	f := start(t)
	f.Serde = New(f.Serde.registry, scale())
	if err := f.Register(context.Background()); err != nil {
		t.Fatal(err)
	}
	id := func(name string) uint32 {
		known, ok := f.ID(name)
		if !ok {
			t.Fatalf("%s has no id", name)
		}
		return known
	}
	narrow := f.add(t, "test.Weighed-narrow", sr.Schema{Schema: `{"type":"record","name":"test.Weighed","fields":[{"name":"pounds","type":"int"},{"name":"gone","type":"string"}]}`})
	for _, c := range []struct {
		name   string
		schema uint32
		stored string // hex, without frame
		want   avro.Record
	}{
		{"v1", id("test.Weighed"), "06", &weighedV3{Grams: 3 * 454, Origin: "before origins"}},
		{"v1 of a schema before today's", narrow, "06" + "04" + "6162", &weighedV3{Grams: 3 * 454, Origin: "before origins"}},
		{"v2", id("test.WeighedV2"), "d00f", &weighedV3{Grams: 1000, Origin: "before origins"}},
		{"v3", id("test.WeighedV3"), "d00f" + "04" + "6665", &weighedV3{Grams: 1000, Origin: "fe"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			payload, err := hex.DecodeString(c.stored)
			if err != nil {
				t.Fatal(err)
			}
			framed := frame(c.schema, payload)
			kept := bytes.Clone(framed)
			got, err := f.DecodeNew(framed)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
			if !bytes.Equal(framed, kept) {
				t.Error("the stored bytes were altered")
			}
			if body, err := f.JSON(framed); err != nil || bytes.Contains(body, []byte("before origins")) {
				t.Errorf("as it was written it is %s, %v", body, err)
			}
		})
	}
	t.Run("an upcaster that panics makes the record unreadable", func(t *testing.T) {
		_, err := f.DecodeNew(frame(id("test.Weighed"), []byte{0x01})) // -1
		if !errors.Is(err, ErrDecode) || !strings.Contains(err.Error(), "reading a test.Weighed as test.WeighedV3") ||
			!strings.Contains(err.Error(), "aggregate scale panics: nothing weighs less than nothing") {
			t.Errorf("%v", err)
		}
	})
}
