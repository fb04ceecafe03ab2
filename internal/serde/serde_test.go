package serde

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/topology"
)

var sets = avro.Sets{platform.Schemas, retail.Schemas}

// program is a topology that has nothing but schemas.
var program = &topology.Topology{Schemas: sets}

// fixture is a registry and a Serde on it. While down is set, the registry answers 503.
type fixture struct {
	*Serde
	registry *srfake.Registry
	down     atomic.Bool
	requests atomic.Int64
	nextID   int // of the schemas that tests add
}

func start(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{registry: srfake.New()}
	t.Cleanup(f.registry.Close)
	f.registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		f.requests.Add(1)
		if f.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
		}
		return f.down.Load()
	})
	client, err := confluent.New(config.Registry{URL: f.registry.URL()})
	if err != nil {
		t.Fatal(err)
	}
	f.Serde = New(client, program)
	return f
}

func registered(t testing.TB) *fixture {
	t.Helper()
	f := start(t)
	if err := f.Register(context.Background()); err != nil {
		t.Fatal(err)
	}
	return f
}

// add puts a schema under a subject and returns its id.
func (f *fixture) add(t testing.TB, subject string, schema sr.Schema) uint32 {
	t.Helper()
	f.nextID++
	f.registry.SeedSchema(subject, 1, 10_000+f.nextID, schema)
	return uint32(10_000 + f.nextID)
}

func frame(id uint32, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, id), payload...)
}

func order() *retail.OrderPlaced {
	customer := "17850"
	return &retail.OrderPlaced{
		OrderID: "536365", CustomerID: &customer, Country: "France", PlacedAt: 1291191960000,
		Lines: []retail.Line{{Sku: "85123A", Description: "HOLDER", Quantity: 6, UnitPrice: 2550}},
	}
}

func TestSerde_framesWhatIsRegistered(t *testing.T) {
	f := registered(t)
	for _, e := range retail.Schemas {
		want := e.New()
		framed, err := f.Append([]byte("before"), want)
		if err != nil {
			t.Fatal(err)
		}
		framed = framed[len("before"):]
		id, ok := f.ID(e.Name)
		if !ok || framed[0] != 0 || binary.BigEndian.Uint32(framed[1:]) != id {
			t.Fatalf("%s is framed as %x, want id %d", e.Name, framed, id)
		}
		got := e.New()
		if err := f.Decode(framed, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("Decode: %v, %+v, want %+v", err, got, want)
		}
		if got, err := f.DecodeNew(framed); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("DecodeNew: %v, %+v, want %+v", err, got, want)
		}
		body, err := f.JSON(framed)
		if err != nil {
			t.Fatal(err)
		}
		if back, faults := avro.JSONToAvro(nil, e.Schema(), body); len(faults) > 0 || !bytes.Equal(back, framed[5:]) {
			t.Fatalf("JSON %s is %x (%v), want %x", body, back, faults, framed[5:])
		}
	}
}

func TestSerde_publishesNothingThatIsNotRegistered(t *testing.T) {
	f := start(t)
	f.add(t, "shop.order.Line", sr.Schema{Schema: sets.Find("shop.order.Line").Text})
	err := f.Load(context.Background())
	if !errors.Is(err, ErrNotRegistered) || !strings.Contains(err.Error(), "shop.order.OrderPlaced") ||
		strings.Contains(err.Error(), "shop.order.Line") {
		t.Fatalf("Load: %v", err)
	}
	out, err := f.Append([]byte("x"), order())
	if !errors.Is(err, ErrNotRegistered) || !strings.Contains(err.Error(), "shop.order.OrderPlaced") || string(out) != "x" {
		t.Fatalf("Append: %q, %v", out, err)
	}
	if _, err := f.Append(nil, &retail.Line{}); err != nil {
		t.Fatalf("a registered record: %v", err)
	}
	if f.registry.SubjectExists("shop.order.OrderPlaced") {
		t.Fatal("Load registered a schema")
	}
}

func TestSerde_registersOnlyWhatIsMissing(t *testing.T) {
	f := registered(t)
	before := f.known.Load().ids
	if err := f.Register(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := f.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.known.Load().ids, before) {
		t.Fatal("ids changed when everything was registered already")
	}
}

func TestSerde_saysWhatIsWrongWithAValue(t *testing.T) {
	f := registered(t)
	good, err := f.Append(nil, order())
	if err != nil {
		t.Fatal(err)
	}
	foreign := f.add(t, "other.Thing", sr.Schema{Schema: `{"type":"record","name":"other.Thing","fields":[{"name":"a","type":["int","string"]}]}`})
	protobuf := f.add(t, "proto", sr.Schema{Type: sr.TypeProtobuf, Schema: `syntax = "proto3";`})
	for _, c := range []struct {
		title  string
		framed []byte
		want   error
	}{
		{"nothing", nil, ErrFrame},
		{"four bytes", good[:4], ErrFrame},
		{"another magic byte", append([]byte{1}, good[1:]...), ErrFrame},
		{"an id nobody knows", frame(999_999, good[5:]), ErrUnknownSchema},
		{"an id beyond 31 bits", frame(1<<31, good[5:]), ErrUnknownSchema},
		{"a schema that is not Avro", frame(protobuf, good[5:]), ErrUnknownSchema},
		{"a frame without value", good[:5], ErrDecode},
		{"half a value", good[:len(good)-3], ErrDecode},
		{"a byte too many", append(bytes.Clone(good), 0), ErrDecode},
		{"a value of another record", frame(foreign, []byte{0, 2}), ErrDecode},
	} {
		if err := f.Decode(c.framed, order()); !errors.Is(err, c.want) {
			t.Errorf("%s: Decode: %v, want %v", c.title, err, c.want)
		}
		if c.framed = bytes.Clone(c.framed); !errors.Is(c.want, ErrDecode) {
			if _, err := f.DecodeNew(c.framed); !errors.Is(err, c.want) {
				t.Errorf("%s: DecodeNew: %v, want %v", c.title, err, c.want)
			}
		}
	}
	if _, err := f.DecodeNew(frame(foreign, []byte{0, 2})); !errors.Is(err, ErrUnknownSchema) || !strings.Contains(err.Error(), "other.Thing") {
		t.Errorf("a record the program has no type for: %v", err)
	}
	if body, err := f.JSON(frame(foreign, []byte{0, 2})); err != nil || string(body) != `{"a":1}` {
		t.Errorf("its JSON is %s, %v", body, err)
	}
	if _, err := f.JSON(frame(foreign, []byte{4})); !errors.Is(err, ErrDecode) {
		t.Errorf("JSON of what does not fit: %v", err)
	}
}

func TestSerde_outlivesTheRegistry(t *testing.T) {
	f := registered(t)
	seen := f.add(t, "other.Seen", sr.Schema{Schema: `{"type":"record","name":"other.Seen","fields":[]}`})
	unseen := f.add(t, "other.Unseen", sr.Schema{Schema: `{"type":"record","name":"other.Unseen","fields":[]}`})
	if _, err := f.JSON(frame(seen, nil)); err != nil {
		t.Fatal(err)
	}
	f.down.Store(true)
	framed, err := f.Append(nil, order())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Decode(framed, order()); err != nil {
		t.Errorf("decoding a known id: %v", err)
	}
	if _, err := f.JSON(frame(seen, nil)); err != nil {
		t.Errorf("an id that was read before: %v", err)
	}
	if _, err := f.JSON(frame(unseen, nil)); !errors.Is(err, ErrRegistry) || errors.Is(err, ErrUnknownSchema) {
		t.Errorf("an id not read before: %v, want ErrRegistry", err)
	}
	if err := f.Load(context.Background()); !errors.Is(err, ErrRegistry) {
		t.Errorf("Load: %v, want ErrRegistry", err)
	}
	if _, err := f.Append(nil, order()); err != nil {
		t.Errorf("framing after a Load that failed: %v", err)
	}
	f.down.Store(false)
	if _, err := f.JSON(frame(unseen, nil)); err != nil {
		t.Errorf("after the registry came back: %v", err)
	}
}

func TestSerde_asksOnceForAnUnknownID(t *testing.T) {
	f := registered(t)
	now := time.Unix(1000, 0)
	f.clock = clock.Func(func() time.Time { return now })
	ask := func() {
		if err := f.Decode(frame(4711, nil), order()); !errors.Is(err, ErrUnknownSchema) {
			t.Fatal(err)
		}
	}
	before := f.requests.Load()
	for range 100 {
		ask()
	}
	if n := f.requests.Load() - before; n != 1 {
		t.Errorf("%d requests for one unknown id, want 1", n)
	}
	now = now.Add(absentFor)
	if ask(); f.requests.Load()-before != 2 {
		t.Error("a schema that is registered later would never be seen")
	}
}

func TestSerde_fetchesASchemaOnceForAllReaders(t *testing.T) {
	f := registered(t)
	id := f.add(t, "other.Thing", sr.Schema{Schema: `{"type":"record","name":"other.Thing","fields":[]}`})
	release := make(chan struct{})
	f.registry.Intercept(func(http.ResponseWriter, *http.Request) bool {
		<-release
		return false
	})
	before := f.requests.Load()
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if _, err := f.Schema(id); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	group.Wait()
	if _, err := f.Schema(id); err != nil {
		t.Error(err)
	}
	if n := f.requests.Load() - before; n != 1 {
		t.Errorf("%d requests of 16 readers, want 1", n)
	}
	before = f.requests.Load()
	if _, err := f.Schema(id); err != nil || f.requests.Load() != before {
		t.Errorf("asked again for a schema in memory: %v", err)
	}
}

func TestSerde_followsReferences(t *testing.T) {
	f := registered(t)
	f.add(t, "other.Part", sr.Schema{Schema: `{"type":"record","name":"other.Part","fields":[{"name":"n","type":"int"}]}`})
	id := f.add(t, "other.Whole", sr.Schema{
		Schema:     `{"type":"record","name":"other.Whole","fields":[{"name":"part","type":"other.Part"}]}`,
		References: []sr.SchemaReference{{Name: "other.Part", Subject: "other.Part", Version: 1}},
	})
	if body, err := f.JSON(frame(id, []byte{6})); err != nil || string(body) != `{"part":{"n":3}}` {
		t.Errorf("%s, %v", body, err)
	}
}

func BenchmarkAppend(b *testing.B) {
	f := registered(b)
	b.Run("gate", func(b *testing.B) { // a record of no bytes, so that only the gate and the frame are measured
		b.ReportAllocs()
		rec, buf := &empty{}, make([]byte, 0, 64)
		k := *f.known.Load()
		k.ids = map[string]uint32{}
		for name, id := range f.known.Load().ids {
			k.ids[name] = id
		}
		k.ids[rec.AvroName()] = 1
		f.known.Store(&k)
		for b.Loop() {
			if _, err := f.Append(buf, rec); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("order", func(b *testing.B) {
		b.ReportAllocs()
		rec, buf := order(), make([]byte, 0, 256)
		for b.Loop() {
			if _, err := f.Append(buf, rec); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// empty is a record without fields.
type empty struct{}

func (*empty) AvroName() string             { return "shop.order.SomethingWithANameOfUsualLength" }
func (*empty) AppendAvro(dst []byte) []byte { return dst }
func (*empty) DecodeAvro([]byte) error      { return nil }
