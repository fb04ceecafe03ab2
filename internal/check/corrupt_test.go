package check_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/check"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// damage is a world in the hands of a corruption.
type damage struct {
	*world
	t *testing.T
}

// of finds the n-th record (from 0) of a key on a topic.
func (d damage) of(topic, key string, n int) *kgo.Record {
	d.t.Helper()
	for _, r := range d.records[topic] {
		if string(r.Key) != key {
			continue
		}
		if n == 0 {
			return r
		}
		n--
	}
	d.t.Fatalf("%s has no such record of %s", topic, key)
	return nil
}

// last finds the newest record of a key.
func (d damage) last(topic, key string) *kgo.Record {
	d.t.Helper()
	var found *kgo.Record
	for _, r := range d.records[topic] {
		if string(r.Key) == key {
			found = r
		}
	}
	if found == nil {
		d.t.Fatalf("%s has no record of %s", topic, key)
	}
	return found
}

func (d damage) remove(topic string, r *kgo.Record) {
	d.records[topic] = slices.DeleteFunc(d.records[topic], func(o *kgo.Record) bool { return o == r })
}

// removeAll removes every record of a key.
func (d damage) removeAll(topic, key string) {
	d.last(topic, key)
	d.records[topic] = slices.DeleteFunc(d.records[topic], func(o *kgo.Record) bool { return string(o.Key) == key })
}

// add appends a copy to the record's partition.
func (d damage) add(r *kgo.Record) *kgo.Record {
	c := copied(r)
	d.records[r.Topic] = append(d.records[r.Topic], c)
	return c
}

// swap exchanges what stands at two places.
func (d damage) swap(a, b *kgo.Record) {
	a.Key, b.Key = b.Key, a.Key
	a.Value, b.Value = b.Value, a.Value
	a.Headers, b.Headers = b.Headers, a.Headers
}

func (d damage) framed(rec avro.Record) []byte {
	d.t.Helper()
	b, err := d.framer.(*serde.Serde).Append(nil, rec)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// meta changes an event's metadata.
func (d damage) meta(r *kgo.Record, change func(*platform.Metadata)) {
	d.t.Helper()
	for i, h := range r.Headers {
		if h.Key != serde.MetaHeader {
			continue
		}
		var m platform.Metadata
		if err := d.framer.Decode(h.Value, &m); err != nil {
			d.t.Fatal(err)
		}
		change(&m)
		r.Headers[i].Value = d.framed(&m)
	}
}

// value changes a record's value, which must be of the type of rec.
func value[R avro.Record](d damage, r *kgo.Record, rec R, change func(R)) {
	d.t.Helper()
	if err := d.framer.Decode(r.Value, rec); err != nil {
		d.t.Fatal(err)
	}
	change(rec)
	r.Value = d.framed(rec)
}

func (d damage) document(readModel, part string) int {
	d.t.Helper()
	i := slices.IndexFunc(d.documents[readModel], func(doc []byte) bool { return bytes.Contains(doc, []byte(part)) })
	if i < 0 {
		d.t.Fatalf("%s shows no document with %s", readModel, part)
	}
	return i
}

// The places of the world that corruptions are done to.
const (
	stockEvents, orderEvents     = "shop.stock.events", "shop.order.events"
	stockTable, orderTable       = "shop.stock-table", "shop.order-table"
	stockOutcomes, stockCommands = "shop.stock.outcomes", "shop.stock.commands"
	ordersTable, totalsTable     = "shop.orders.v1-table", "shop.totals.v1-table"
	cakestand                    = "22423"
)

var corruptions = []struct {
	name     string
	violated string // the invariants, in their order; "or" between what either order of reading finds
	says     string // part of an example of the first of them
	do       func(damage)
}{
	{"an outcome is missing", "I1", "command c2 for stock 22423 at shop.stock.commands/", func(d damage) {
		d.remove(stockOutcomes, d.of(stockOutcomes, "c2", 0))
	}},
	{"a repetition has no outcome", "I1", "command c1 for stock 22423 is logged 2 times, the last at shop.stock.commands/", func(d damage) {
		for _, r := range d.records[stockCommands] {
			if string(r.Key) == cakestand {
				d.add(r)
				return
			}
		}
	}},
	{"a command has two outcomes", "I1", "command c2 of stock 22423 has more than one outcome", func(d damage) {
		d.add(d.of(stockOutcomes, "c2", 0))
	}},
	{"an outcome has another key", "I1", "is of command c2, its key says c777", func(d damage) {
		d.of(stockOutcomes, "c2", 0).Key = []byte("c777")
	}},
	{"an outcome is of another command", "I1", "command c2 for stock 22423", func(d damage) {
		r := d.of(stockOutcomes, "c2", 0)
		value(d, r, new(platform.Outcome), func(o *platform.Outcome) { o.CommandID = "c777" })
		r.Key = []byte("c777")
	}},
	{"an outcome is cut off", "I1", "cannot be read", func(d damage) {
		r := d.of(stockOutcomes, "c2", 0)
		r.Value = r.Value[:len(r.Value)-3]
	}},
	{"an event stands twice", "I2 I3 I5 I9", "stands a second time at shop.stock.events/", func(d damage) {
		d.add(d.of(stockEvents, cakestand, 2))
	}},
	{"an event has the id of another", "I2 I9", "stands a second time", func(d damage) {
		var id avro.UUID
		d.meta(d.of(stockEvents, cakestand, 0), func(m *platform.Metadata) { id = m.EventID })
		d.meta(d.of(stockEvents, "85123A", 0), func(m *platform.Metadata) { m.EventID = id })
	}},
	{"an event in the middle is missing", "I3 I4 I5 I9", "stock 22423 has version 3 after 1", func(d damage) {
		d.remove(stockEvents, d.of(stockEvents, cakestand, 1))
	}},
	{"the first event is missing", "I3 I4 I5 I9", "stock 22423 has version 2 after 0", func(d damage) {
		d.remove(stockEvents, d.of(stockEvents, cakestand, 0))
	}},
	{"the last event is missing", "I4 I5", "stands at version 3, the log has only 2", func(d damage) {
		d.remove(stockEvents, d.of(stockEvents, cakestand, 2))
	}},
	{"two events are swapped", "I3 I9", "stock 22423 has version 2 after 0", func(d damage) {
		d.swap(d.of(stockEvents, cakestand, 0), d.of(stockEvents, cakestand, 1))
	}},
	// In no order with the others: it may be folded before the next one or after it.
	{"an event is on another partition", "I3 I9 or I3 I4 I9", "its key belongs to partition", func(d damage) {
		d.of(stockEvents, cakestand, 1).Partition ^= 1
	}},
	{"an event is under another key", "I3 I4 I5 I9", "is of stock 22423, its topic and key say stock 85123A", func(d damage) {
		d.of(stockEvents, cakestand, 1).Key = []byte("85123A")
	}},
	{"an event is of another version", "I3 I4", "stock 22423 has version 7 after 2", func(d damage) {
		d.meta(d.of(stockEvents, cakestand, 2), func(m *platform.Metadata) { m.Version = 7 })
	}},
	{"an event has no metadata", "I3 I4 I5 I9", "there is no header nexus-meta", func(d damage) {
		d.of(stockEvents, cakestand, 1).Headers = nil
	}},
	{"a byte of a payload is changed", "I4 I5 I9", "differs from the fold of its 3 events", func(d damage) {
		value(d, d.of(stockEvents, cakestand, 1), new(retail.StockReceived), func(e *retail.StockReceived) { e.Quantity++ })
	}},
	{"a byte that nothing folds is changed", "I9", "stock 22423 version 2 at", func(d damage) {
		r := d.of(stockEvents, cakestand, 0)
		r.Value = bytes.Replace(r.Value, []byte("MUG"), []byte("MUD"), 1)
		// The description of a product is that of its latest document, not of this one.
	}},
	{"a byte of the last payload is changed", "I4 I5 I9", "differs from the fold of its 3 events", func(d damage) {
		value(d, d.of(stockEvents, cakestand, 2), new(retail.StockReceived), func(e *retail.StockReceived) { e.Quantity++ })
	}},
	{"a payload cannot be read", "I4 I5 I9", "cannot be read", func(d damage) {
		r := d.of(stockEvents, cakestand, 1)
		r.Value = r.Value[:len(r.Value)-3]
	}},
	{"a payload is of another aggregate", "I4 I5 I9", "is shop.order.OrderCancelled, which stock does not record", func(d damage) {
		d.of(stockEvents, cakestand, 1).Value = d.framed(&retail.OrderCancelled{OrderID: "536367"})
	}},
	{"the recorded time of an event is changed", "I9", "stock 22423 version 2 at", func(d damage) {
		d.meta(d.of(stockEvents, cakestand, 0), func(m *platform.Metadata) { m.At++ })
	}},
	{"the actor of an event is changed", "I9", "stock 22423 version 3 at", func(d damage) {
		d.meta(d.of(stockEvents, cakestand, 1), func(m *platform.Metadata) { m.Actor = "mallory" })
	}},
	{"the actor of the last event is changed", "I9", "has another hash than event 3", func(d damage) {
		d.meta(d.of(stockEvents, cakestand, 2), func(m *platform.Metadata) { m.Actor = "mallory" })
	}},
	{"a previous hash is changed", "I9", "stock 22423 version 2 at", func(d damage) {
		d.meta(d.of(stockEvents, cakestand, 1), func(m *platform.Metadata) { m.PreviousHash[5] ^= 1 })
	}},

	{"the state in a table is changed", "I4", "table record of stock 22423 at shop.stock-table/", func(d damage) {
		value(d, d.last(stockTable, cakestand), new(retail.StockTable), func(r *retail.StockTable) { r.State.OnHand += 100 })
	}},
	{"the version in a table is too high", "I4", "stands at version 4, the log has only 3", func(d damage) {
		value(d, d.last(stockTable, cakestand), new(retail.StockTable), func(r *retail.StockTable) { r.Envelope.Version++ })
	}},
	{"the version in a table is too low", "I4 I9", "stands at version 2, the log is at 3", func(d damage) {
		r := d.last(stockTable, cakestand)
		d.removeAll(stockTable, cakestand)
		value(d, d.add(r), new(retail.StockTable), func(r *retail.StockTable) { r.Envelope.Version-- })
	}},
	{"the hash in a table is changed", "I9", "has another hash than event 3", func(d damage) {
		value(d, d.last(stockTable, cakestand), new(retail.StockTable), func(r *retail.StockTable) { r.Envelope.Hash[31] ^= 1 })
	}},
	{"the time in a table is changed", "I4", "event 3 was recorded at", func(d damage) {
		value(d, d.last(stockTable, cakestand), new(retail.StockTable), func(r *retail.StockTable) { r.Envelope.At += 5 })
	}},
	{"a table record is missing", "I4", "stock 22423 has 3 events but no table record", func(d damage) {
		d.removeAll(stockTable, cakestand)
	}},
	{"a table record is deleted", "I4", "stock 22423 has 3 events but no table record", func(d damage) {
		d.add(d.last(stockTable, cakestand)).Value = nil
	}},
	{"a table record is of nothing", "I4", "of stock 85048 at shop.stock-table/", func(d damage) {
		r := d.add(d.last(stockTable, cakestand))
		r.Key, r.Partition = []byte("85048"), partitionOf("85048")
	}},
	{"a table goes back", "I4", "goes back from version 3 to 2", func(d damage) {
		newest := d.last(stockTable, cakestand)
		value(d, d.add(newest), new(retail.StockTable), func(r *retail.StockTable) { r.Envelope.Version = 2 })
		d.add(newest)
	}},
	{"a table record is on another partition", "I4", "its key belongs to partition", func(d damage) {
		d.last(stockTable, cakestand).Partition ^= 1
	}},
	{"a table record cannot be read", "I4", "cannot be read", func(d damage) {
		d.last(stockTable, cakestand).Value = []byte("no frame at all")
	}},

	{"a document in a table is changed", "I5", `document "536365" of orders differs in the table`, func(d damage) {
		value(d, d.last(ordersTable, "536365"), new(retail.OrderDocumentTable), func(r *retail.OrderDocumentTable) { r.Document.Units++ })
	}},
	{"a document's version is changed", "I5", `document "536365" of orders has version 9 in the table, 1 events made it`, func(d damage) {
		value(d, d.last(ordersTable, "536365"), new(retail.OrderDocumentTable), func(r *retail.OrderDocumentTable) { r.Envelope.Version = 9 })
	}},
	{"a document is missing in a table", "I5", `table of orders has no document "536365"`, func(d damage) {
		d.removeAll(ordersTable, "536365")
	}},
	{"a document in a table is of nothing", "I5", `has a document "999999" that no event makes`, func(d damage) {
		r := d.add(d.last(ordersTable, "536365"))
		r.Key, r.Partition = []byte("999999"), partitionOf("999999")
	}},
	{"a document's version goes back", "I5", `document "all" of totals goes from version`, func(d damage) {
		newest := d.last(totalsTable, "all")
		older := d.add(newest)
		value(d, older, new(retail.TotalsTable), func(r *retail.TotalsTable) { r.Envelope.Version-- })
		d.add(newest)
	}},
	{"a document in a table cannot be read", "I5", "cannot be read", func(d damage) {
		d.last(ordersTable, "536365").Value = []byte("no frame at all")
	}},

	{"the search store shows another document", "I5", `read model orders does not show the document "536365"`, func(d damage) {
		docs := d.documents["orders"]
		i := d.document("orders", `"536365"`)
		docs[i] = bytes.Replace(docs[i], []byte(`"units":3`), []byte(`"units":4`), 1)
	}},
	{"the search store lacks a document", "I5", `read model orders does not show the document "536365"`, func(d damage) {
		i := d.document("orders", `"536365"`)
		d.documents["orders"] = slices.Delete(d.documents["orders"], i, i+1)
	}},
	{"the search store shows a document of nothing", "I5", "read model orders shows a document that the log does not fold to", func(d damage) {
		docs := d.documents["orders"]
		d.documents["orders"] = append(docs, bytes.ReplaceAll(docs[0], []byte(`"53636`), []byte(`"99999`)))
	}},
	{"the search store shows a document twice", "I5", "or shows it twice", func(d damage) {
		d.documents["products"] = append(d.documents["products"], d.documents["products"][0])
	}},
	{"the search store is empty", "I5", "does not show the document", func(d damage) {
		clear(d.documents)
	}},
}

func partitionOf(key string) int32 {
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic("").Partition(&kgo.Record{Key: []byte(key)}, int(testTopology().PartitionCount())))
}

func TestRun_finds_every_corruption_and_blames_nothing_else(t *testing.T) {
	for _, c := range corruptions {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := damage{healthyWorld(t), t}
			c.do(d)
			report := d.judge(t)
			var violated []string
			for _, i := range report.Invariants {
				if i.Verdict == check.Unknown {
					t.Errorf("%s is unknown", i.ID)
				}
				if i.Verdict == check.Violated {
					violated = append(violated, i.ID)
				}
			}
			if got := strings.Join(violated, " "); !slices.Contains(strings.Split(c.violated, " or "), got) {
				t.Fatalf("violated: %q, want %q\n%s", got, c.violated, report.Text())
			}
			if report.OK {
				t.Error("the report says that all is well")
			}
			if all := examples(report); !strings.Contains(all, c.says) {
				t.Errorf("no example says %q:\n%s", c.says, report.Text())
			}
		})
	}
}

func examples(report *check.Report) string {
	var all []string
	for _, i := range report.Invariants {
		all = append(all, i.Examples...)
	}
	return strings.Join(all, "\n")
}

func TestRun_does_not_know_what_it_is_not_told(t *testing.T) {
	t.Run("when queries fail", func(t *testing.T) {
		w := healthyWorld(t)
		w.failing = errors.New("connection refused")
		report := w.judge(t)
		only(t, report, "I5", check.Unknown, "connection refused")
	})
	t.Run("when the registry gives no answer for a schema", func(t *testing.T) {
		w := healthyWorld(t)
		d := damage{w, t}
		// An id that was not asked for before: the registry has ended with its system.
		copy(d.of(stockOutcomes, "c2", 0).Value[1:5], []byte{0, 1, 2, 3})
		report := w.judge(t)
		if i := report.Invariants[0]; !strings.Contains(strings.Join(i.Examples, "\n"), serde.ErrRegistry.Error()) {
			t.Errorf("no example says why:\n%s", report.Text())
		}
		if report.OK {
			t.Error("the report says that all is well")
		}
	})
}

func only(t *testing.T, report *check.Report, id string, verdict check.Verdict, says string) {
	t.Helper()
	for _, i := range report.Invariants {
		want := check.OK
		if i.ID == id {
			want = verdict
		}
		if i.Verdict != want {
			t.Errorf("%s is %s, want %s\n%s", i.ID, i.Verdict, want, report.Text())
		}
	}
	if report.OK {
		t.Error("the report says that all is well")
	}
	if !strings.Contains(examples(report), says) {
		t.Errorf("no example says %q:\n%s", says, report.Text())
	}
}
