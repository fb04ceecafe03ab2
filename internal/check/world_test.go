package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/check"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/internal/systemtest"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

// testTopology is the shop with few partitions.
func testTopology() *topology.Topology {
	t := shop.Topology()
	t.Partitions = 2
	return t
}

// send posts commands, a line of NDJSON each, and demands that each gets the
// status that is wanted.
func send(t testing.TB, api string, status int, lines ...string) {
	t.Helper()
	body := bytes.NewBufferString("")
	for _, line := range lines {
		fmt.Fprintln(body, line)
	}
	resp, err := http.Post(api+"/api/commands", "application/x-ndjson", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("the batch is answered with %d: %s", resp.StatusCode, text)
	}
	answers := json.NewDecoder(resp.Body)
	for i := range lines {
		var a struct {
			Status int
			Detail string
		}
		if err := answers.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if a.Status != status {
			t.Fatalf("command %s is answered with %d %s, want %d", lines[i], a.Status, a.Detail, status)
		}
	}
}

func receive(id, sku string, quantity int, reference string) string {
	return fmt.Sprintf(`{"type":"ReceiveStock","id":%q,"command":{"sku":%q,"description":"MUG","quantity":%d,"reference":%q}}`, id, sku, quantity, reference)
}

func place(id, order, customer, sku string) string {
	return fmt.Sprintf(`{"type":"PlaceOrder","id":%q,"command":{"orderId":%q,"customerId":%q,"country":"France","placedAt":"2011-05-03T10:00:00Z","lines":[{"sku":%q,"description":"MUG","quantity":3,"unitPrice":"2.55"}]}}`, id, order, customer, sku)
}

// world is the whole state of a system: what is on its topics and what it
// shows.
type world struct {
	topology  *topology.Topology
	framer    check.Framer
	records   map[string][]*kgo.Record // by topic, in the order of partition and offset
	documents map[string][][]byte      // by read model
	failing   error                    // of every query
}

// Documents implements check.ReadModels.
func (w *world) Documents(_ context.Context, readModel, _ string, f func([]byte) error) error {
	if w.failing != nil {
		return w.failing
	}
	for _, doc := range w.documents[readModel] {
		if err := f(doc); err != nil {
			return err
		}
	}
	return nil
}

// clone lets a test change what it likes.
func (w *world) clone() *world {
	c := *w
	c.records, c.documents = map[string][]*kgo.Record{}, map[string][][]byte{}
	for topic, records := range w.records {
		for _, r := range records {
			c.records[topic] = append(c.records[topic], copied(r))
		}
	}
	for name, documents := range w.documents {
		c.documents[name] = slices.Clone(documents)
	}
	return &c
}

func copied(r *kgo.Record) *kgo.Record {
	c := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
	for _, h := range r.Headers {
		c.Headers = append(c.Headers, kgo.RecordHeader{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	return c
}

var made struct {
	sync.Mutex
	world *world
}

// healthyWorld is the state of a system that took a few commands of every kind,
// made once.
func healthyWorld(t *testing.T) *world {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	if made.world == nil {
		made.world = makeWorld(t)
	}
	return made.world.clone()
}

func makeWorld(t *testing.T) *world {
	t.Helper()
	top := testTopology()
	e := systemtest.Start(t, top, t.TempDir())
	send(t, e.API, 201,
		receive("c1", "22423", 10, "r1"), receive("c2", "22423", 5, "r2"), receive("c3", "22423", 7, "r3"),
		receive("c4", "85123A", 40, "r4"), receive("c5", "85123A", 2, "r5"),
		place("c6", "536365", "17850", "22423"), place("c7", "536366", "17850", "85123A"), place("c8", "536367", "13047", "22423"),
		`{"type":"IssueCreditNote","id":"c9","command":{"creditNoteId":"C536379","customerId":"17850","country":"France","issuedAt":"2011-05-04T10:00:00Z","lines":[{"sku":"22423","description":"MUG","quantity":-1,"unitPrice":"2.55"}]}}`,
		`{"type":"AdjustLedger","id":"c10","command":{"entryId":"A563185","adjustedAt":"2011-05-04T10:00:00Z","amount":"-11062.06","description":"Adjust bad debt"}}`,
		`{"type":"CancelOrder","id":"c11","command":{"orderId":"536367"}}`,
	)
	send(t, e.API, 422, place("c12", "536365", "17850", "22423"))
	send(t, e.API, 201, receive("c1", "22423", 10, "r1")) // a repetition
	return capture(t, top, e)
}

// capture copies everything, once the system is at rest.
func capture(t *testing.T, top *topology.Topology, e system.Endpoints) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	registry, err := confluent.New(config.Registry{URL: e.Registry})
	if err != nil {
		t.Fatal(err)
	}
	framer := serde.New(registry, top)
	if err := framer.Load(ctx); err != nil {
		t.Fatal(err)
	}
	api := check.API{URL: e.API, Client: http.DefaultClient}
	broker := []kgo.Opt{kgo.SeedBrokers(e.Bus)}
	// The check itself waits until every read model has what the log has.
	report, err := check.Run(ctx, check.Config{Topology: top, Framer: framer, Broker: broker, Queries: api})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK {
		t.Fatalf("a healthy system does not pass:\n%s", report.Text())
	}
	w := &world{topology: top, framer: framer, records: map[string][]*kgo.Record{}, documents: map[string][][]byte{}}
	cl, err := kgo.NewClient(broker...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, topic := range top.Topics() {
		ranges, err := logread.Settled(ctx, kadm.NewClient(cl), topic.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := logread.Each(ctx, ranges, func(r *kgo.Record) error {
			w.records[topic.Name] = append(w.records[topic.Name], copied(r))
			return nil
		}, broker...); err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(w.records[topic.Name], func(a, b *kgo.Record) int { return int(a.Partition - b.Partition) })
	}
	for _, p := range top.Projections {
		if err := api.Documents(ctx, p.Name(), "", func(doc []byte) error {
			w.documents[p.Name()] = append(w.documents[p.Name()], bytes.Clone(doc))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// judge puts the world onto a fresh broker and checks it.
func (w *world) judge(t *testing.T) *check.Report {
	t.Helper()
	b := kafkatest.Kfake(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cl := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	admin := kadm.NewClient(cl)
	var names []string
	for _, topic := range w.topology.Topics() {
		names = append(names, topic.Name)
	}
	created, err := admin.CreateTopics(ctx, w.topology.PartitionCount(), 1, nil, names...)
	if err == nil {
		err = created.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range slices.Sorted(maps.Keys(w.records)) {
		if err := cl.ProduceSync(ctx, w.records[topic]...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range w.topology.Aggregates {
		taken := kadm.Offsets{}
		for partition := range w.topology.PartitionCount() {
			n := 0
			for _, r := range w.records[w.topology.Commands(a)] {
				if r.Partition == partition {
					n++
				}
			}
			taken.AddOffset(w.topology.Commands(a), partition, int64(n), -1)
		}
		if err := admin.CommitAllOffsets(ctx, w.topology.Group(a), taken); err != nil {
			t.Fatal(err)
		}
	}
	report, err := check.Run(ctx, check.Config{Topology: w.topology, Framer: w.framer, Broker: []kgo.Opt{kgo.SeedBrokers(b.Addrs...)}, Queries: w})
	if err != nil {
		t.Fatal(err)
	}
	return report
}
