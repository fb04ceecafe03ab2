package archive

import (
	"bytes"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/linkedin/goavro/v2"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/shop"
)

func TestReader_returns_what_the_Writer_was_given(t *testing.T) {
	for _, n := range []int{0, 1, 3, 600} { // 600: several blocks
		events := history(2, n)
		raw := written(t, stockHeader(), events)
		h, got, err := readAll(raw)
		if err != nil {
			t.Fatalf("%d events: %v", 2*n, err)
		}
		if !reflect.DeepEqual(h, stockHeader()) {
			t.Errorf("header %+v", h)
		}
		if len(got) != len(events) || len(got) > 0 && !reflect.DeepEqual(got, events) {
			t.Errorf("%d events came back changed", 2*n)
		}
		if !bytes.Equal(raw, written(t, stockHeader(), events)) {
			t.Error("the same events made another file")
		}
	}
}

// Whoever knows nothing of this program can read the file.
func TestWriter_writes_what_other_readers_read(t *testing.T) {
	events := history(2, 4)
	r, err := goavro.NewOCFReader(bytes.NewReader(written(t, stockHeader(), events)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; r.Scan(); n++ {
		datum, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		record := datum.(map[string]any)
		if id := record["metadata"].(map[string]any)["aggregateId"]; id != "sku0" && id != "sku1" {
			t.Errorf("event %d is of aggregate %v", n, id)
		}
		payload := record["event"].(map[string]any)
		if n%4 == 2 {
			if q := payload["shop.stock.StockAdjusted"].(map[string]any)["quantity"]; q != int32(-1) {
				t.Errorf("event %d adjusts %v", n, q)
			}
		} else if d := payload["shop.stock.StockReceived"].(map[string]any)["description"]; d != "MUG ☕" {
			t.Errorf("event %d receives %v", n, d)
		}
	}
	if r.Err() != nil || n != len(events) {
		t.Errorf("%d events of %d, error %v", n, len(events), r.Err())
	}
}

// Events of several releases stand in one log, each with the schema it was
// written with. Nested records may have changed, too.
func TestWriter_keeps_every_version_of_a_schema(t *testing.T) {
	const v1 = `{"type":"record","name":"Placed","namespace":"a","fields":[{"name":"line","type":{"type":"record","name":"Line","namespace":"a","fields":[{"name":"sku","type":"string"},{"name":"next","type":["null","a.Line"]}]}}]}`
	const v2 = `{"type":"record","name":"Placed","namespace":"a","fields":[{"name":"line","type":{"type":"record","name":"Line","namespace":"a","fields":[{"name":"sku","type":"string"},{"name":"units","type":"int","default":1},{"name":"next","type":["null","a.Line"]}]}},{"name":"more","type":{"type":"array","items":"a.Line"}}]}`
	const other = `{"type":"record","name":"Cancelled","namespace":"a","fields":[{"name":"line","type":{"type":"record","name":"Line","namespace":"a","fields":[{"name":"sku","type":"string"},{"name":"units","type":"int","default":1},{"name":"next","type":["null","a.Line"]}]}},{"name":"last","type":"a.Line"}]}`
	h := Header{Context: "c", Aggregate: "a", Metadata: []string{textOf(&platform.Metadata{})}, Events: []string{v1, v2, other}}
	text, err := fileSchema(h)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := avro.ParseSchema(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var names []string
	for _, branch := range merged.Field("event").Schema.Branches() {
		names = append(names, branch.Name()+"/"+branch.Fields()[0].Schema.Name())
	}
	if got := strings.Join(names, " "); got != "a.Placed/a.Line a.Placed_v2/a.Line_v2 a.Cancelled/a.Line_v2" {
		t.Errorf("branches %s", got)
	}
	if _, err := goavro.NewCodec(text); err != nil {
		t.Errorf("goavro: %v", err)
	}
	line1, line2 := []byte("\x06MUG\x00"), []byte("\x06MUG\x04\x00")
	meta := (&platform.Metadata{}).AppendAvro(nil)
	events := []Event{
		{Number: 1, Metadata: meta, PayloadSchema: 0, Payload: line1},
		{Number: 2, Metadata: meta, PayloadSchema: 1, Payload: append(line2, "\x02\x06MUG\x04\x00\x00"...)},
		{Number: 3, Metadata: meta, PayloadSchema: 2, Payload: append(line2, line2...)},
	}
	raw := written(t, h, events)
	if _, got, err := readAll(raw); err != nil || !reflect.DeepEqual(got, events) {
		t.Errorf("error %v, events %+v", err, got)
	}
	r, err := goavro.NewOCFReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; r.Scan(); n++ {
		datum, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		branch := []string{"a.Placed", "a.Placed_v2", "a.Cancelled"}[n]
		if _, ok := datum.(map[string]any)["event"].(map[string]any)[branch]; !ok {
			t.Errorf("event %d is no %s: %v", n, branch, datum)
		}
	}
}

var faults = []struct {
	name   string
	kind   error
	says   string
	header func(*Header)
	events func(*testing.T, []Event) []Event
	raw    func([]byte) []byte
}{
	{"is empty", ErrDamaged, "stock.avro, header: it is no Avro", nil, nil, func([]byte) []byte { return nil }},
	{"is something else", ErrDamaged, "it is no Avro object container file", nil, nil, func([]byte) []byte { return []byte("sku,quantity\n1,2\n") }},
	{"ends in its header", ErrDamaged, "ends in the middle", nil, nil, func(raw []byte) []byte { return raw[:700] }},
	{"ends after its header", ErrDamaged, "the file ends here, its header says that it holds 1200 events", nil, nil, func(raw []byte) []byte { return upToSync(raw, 1) }},
	{"ends after a block", ErrDamaged, "the file ends here, its header says that it holds 1200 events", nil, nil, func(raw []byte) []byte { return upToSync(raw, 2) }},
	{"ends in a block", ErrDamaged, "ends in the middle", nil, nil, func(raw []byte) []byte { return raw[:len(raw)-30] }},
	{"ends in a sync marker", ErrDamaged, "ends in the middle", nil, nil, func(raw []byte) []byte { return raw[:len(raw)-1] }},
	{"goes on after its end", ErrDamaged, "record 1201", nil, nil, func(raw []byte) []byte { return append(raw, "rest"...) }},
	{"has a changed byte in a block", ErrDamaged, "record", nil, nil, func(raw []byte) []byte { raw[len(raw)-100] ^= 4; return raw }},
	{"has a changed sync marker", ErrDamaged, "sync marker", nil, nil, func(raw []byte) []byte { raw[len(raw)-1] ^= 4; return raw }},
	{"has another digest", ErrDamaged, "nexus.sha256: the events have the digest", nil, nil, func(raw []byte) []byte {
		at := bytes.Index(raw, []byte(keyDigest)) + len(keyDigest) + 5
		raw[at] = 'f' - raw[at] + 'a' // another digit or none
		return raw
	}},
	{"is of another format", ErrForeign, "format \"2\"", nil, nil, func(raw []byte) []byte {
		return bytes.Replace(raw, []byte(keyFormat+"\x021"), []byte(keyFormat+"\x022"), 1)
	}},
	{"has another schema for others", ErrDamaged, "avro.schema: it is not made of the schemas beside it", nil, nil, func(raw []byte) []byte {
		return bytes.Replace(raw, []byte(`"name":"nexus.RecordedEvent"`), []byte(`"name":"nexus.RecordedEvenx"`), 1)
	}},
	{"was not completed", ErrDamaged, "nexus.events: the export was not completed", nil, nil, func(raw []byte) []byte {
		at := bytes.Index(raw, []byte("00000000000000001200"))
		copy(raw[at:], unknownCount)
		return raw
	}},

	{"is of another context", ErrForeign, `of the context "bank", this program runs "shop"`, func(h *Header) { h.Context = "bank" }, nil, nil},
	{"is of an unknown aggregate", ErrForeign, `no aggregate "loan"`, func(h *Header) { h.Aggregate = "loan" }, nil, nil},
	{"has events of another aggregate", ErrForeign, "shop.stock.StockReceived is no event of order in this program", func(h *Header) { h.Aggregate = "order" }, nil, nil},
	{"has a schema that cannot be read", ErrForeign, "nexus.event.schemas: this program cannot read events of that schema of shop.stock.StockReceived", func(h *Header) {
		h.Events[0] = strings.Replace(h.Events[0], `"name":"quantity","type":"int"`, `"name":"quantity","type":"string"`, 1)
	}, func(*testing.T, []Event) []Event { return nil }, nil},
	{"has metadata without a version", ErrForeign, "nexus.metadata.schemas", func(h *Header) {
		h.Metadata[0] = strings.Replace(h.Metadata[0], `"name":"version"`, `"name":"revision"`, 1)
	}, func(*testing.T, []Event) []Event { return nil }, nil},

	{"lacks an event", ErrDamaged, "record 2, metadata.version: stock sku0 has version 3 after 1", nil, func(_ *testing.T, e []Event) []Event {
		return append(e[:1], e[2:]...)
	}, nil},
	{"lacks the first event", ErrDamaged, "record 1, metadata.version: stock sku0 has version 2 after 0", nil, func(_ *testing.T, e []Event) []Event { return e[1:] }, nil},
	{"has events in another order", ErrDamaged, "record 1, metadata.version: stock sku0 has version 2 after 0", nil, func(_ *testing.T, e []Event) []Event {
		e[0], e[1] = e[1], e[0]
		return e
	}, nil},
	{"has an event twice", ErrDamaged, "record 2, metadata.eventId", nil, func(_ *testing.T, e []Event) []Event {
		return append([]Event{e[0]}, e...)
	}, nil},
	{"has a changed payload", ErrDamaged, "record 3, metadata.previousHash: version 3 of stock sku0 does not follow", nil, func(_ *testing.T, e []Event) []Event {
		e[1].Payload[len(e[1].Payload)-1] ^= 1
		return e
	}, nil},
	{"has changed metadata", ErrDamaged, "record 2, metadata.previousHash", nil, func(t *testing.T, e []Event) []Event {
		remeta(t, &e[0], func(m *platform.Metadata) { m.Actor = "mallory" })
		return e
	}, nil},
	{"has a changed hash", ErrDamaged, "record 2, metadata.previousHash", nil, func(t *testing.T, e []Event) []Event {
		remeta(t, &e[1], func(m *platform.Metadata) { m.PreviousHash[0] ^= 1 })
		return e
	}, nil},
	{"has an event of another type", ErrDamaged, `record 1, metadata.aggregateType: "order" stands in a file of "stock"`, nil, func(t *testing.T, e []Event) []Event {
		remeta(t, &e[0], func(m *platform.Metadata) { m.AggregateType = "order" })
		return e
	}, nil},
	{"has a payload that is none", ErrDamaged, "record", nil, func(_ *testing.T, e []Event) []Event {
		e[1].Payload = []byte{0x80}
		return e
	}, nil},
}

// upToSync cuts a file off after its n-th sync marker: the first ends the
// header, each other one a block.
func upToSync(raw []byte, n int) []byte {
	sync := raw[len(raw)-syncBytes:]
	end := 0
	for range n {
		end += bytes.Index(raw[end:], sync) + syncBytes
	}
	return raw[:end]
}

func TestOpen_refuses_a_file_that(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			h, events := stockHeader(), history(2, 5)
			if f.raw != nil {
				events = history(2, 600) // several blocks
			}
			if f.header != nil {
				f.header(&h)
			}
			if f.events != nil {
				events = f.events(t, events)
			}
			raw := written(t, h, events)
			if f.raw != nil {
				raw = f.raw(raw)
			}
			_, err := open(t, shop.Topology(), map[string][]byte{"stock.avro": raw})
			var fault *FaultError
			if !errors.As(err, &fault) || !errors.Is(err, f.kind) {
				t.Fatalf("error %v, want one of %v", err, f.kind)
			}
			if !strings.Contains(err.Error(), f.says) {
				t.Errorf("error %v, want %q", err, f.says)
			}
		})
	}
}

func TestOpen_refuses_a_pipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "stock.avro")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), shop.Topology(), []string{pipe}); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("error %v", err)
	}
}

func TestOpen_takes_a_whole_export(t *testing.T) {
	a, err := open(t, shop.Topology(), map[string][]byte{"stock.avro": written(t, stockHeader(), history(3, 50)), "notes.txt": nil})
	if err != nil {
		t.Fatal(err)
	}
	if a.Events() != 150 {
		t.Errorf("%d events", a.Events())
	}
	var subjects []string
	for _, s := range a.Schemas() {
		subjects = append(subjects, s.Subject)
	}
	if got := strings.Join(subjects, " "); got != "nexus.Metadata shop.stock.StockReceived shop.stock.StockAdjusted" {
		t.Errorf("schemas of %s", got)
	}
}

func TestOpen_refuses_the_same_events_twice(t *testing.T) {
	raw := written(t, stockHeader(), history(1, 3))
	_, err := open(t, shop.Topology(), map[string][]byte{"a.avro": raw, "b.avro": raw})
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "the events of stock are in") {
		t.Errorf("error %v", err)
	}
}
