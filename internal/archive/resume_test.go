package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

// newTarget is a broker with the shop's topics, empty, and a registry with its schemas.
func newTarget(t *testing.T) (*topology.Topology, Target, *kafkatest.Broker) {
	t.Helper()
	return newTargetOf(t, shop.Topology())
}

func newTargetOf(t *testing.T, top *topology.Topology) (*topology.Topology, Target, *kafkatest.Broker) {
	t.Helper()
	top.Partitions = 2
	broker := kafkatest.Kfake(t)
	for _, topic := range top.Topics() {
		broker.Create(t, kafkatest.Topic{Name: topic.Name, Partitions: int(topic.Partitions), Config: topic.Config})
	}
	client, err := confluent.New(config.Registry{URL: registrytest.Embedded(t, broker.Addrs...)})
	if err != nil {
		t.Fatal(err)
	}
	framer := serde.New(client, top)
	if err := framer.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	return top, Target{Framer: framer, Registry: client, Broker: []kgo.Opt{kgo.SeedBrokers(broker.Addrs...)}}, broker
}

// committed are the records of a topic, in the order of each partition.
func (to Target) committed(t *testing.T, topic string) (all []*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(to.Broker...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ranges, err := logread.Committed(t.Context(), kadm.NewClient(cl), topic)
	if err != nil {
		t.Fatal(err)
	}
	if err := logread.Each(t.Context(), ranges, func(r *kgo.Record) error { all = append(all, r); return nil }, to.Broker...); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRestore_goes_on_after_an_interruption(t *testing.T) {
	const skus, each = 3, 2000 // more than one transaction
	top, to, _ := newTarget(t)
	events := history(skus, each)
	a, err := open(t, top, map[string][]byte{"stock.avro": written(t, stockHeader(), events)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	to.Progress = func(done, _ int64) {
		if done == restoreEventsMax+500 {
			cancel()
		}
	}
	if err := a.Restore(ctx, to); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted, it returns %v", err)
	}
	to.Progress = nil
	const log, table = "shop.stock.events", "shop.stock-table"
	if n := len(to.committed(t, log)); n != restoreEventsMax {
		t.Fatalf("%d events are there after the interruption", n)
	}

	altered := history(skus, each)
	remeta(t, &altered[each-1], func(m *platform.Metadata) { m.Actor = "somebody else" })
	for name, events := range map[string][]Event{
		"of fewer events": events[:restoreEventsMax-1],
		"of other events": altered,
	} {
		other, err := open(t, top, map[string][]byte{"stock.avro": written(t, stockHeader(), events)})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Restore(t.Context(), to); !errors.Is(err, ErrOther) {
			t.Errorf("an archive %s: %v", name, err)
		}
	}

	if err := a.Restore(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	next := map[string]int64{}
	for _, r := range to.committed(t, log) {
		var m platform.Metadata
		if err := to.Framer.Decode(serde.Metadata(r), &m); err != nil {
			t.Fatal(err)
		}
		if next[m.AggregateID]++; m.Version != next[m.AggregateID] {
			t.Fatalf("%s: version %d stands in the place of %d", m.AggregateID, m.Version, next[m.AggregateID])
		}
	}
	if len(next) != skus || next["sku0"] != each || next["sku2"] != each {
		t.Errorf("versions %v", next)
	}
	rows := to.committed(t, table)
	if len(rows) != skus {
		t.Errorf("%d rows", len(rows))
	}
	for _, r := range rows {
		var env platform.Envelope
		in := avro.NewReader(r.Value[serde.FrameBytes:])
		env.ReadAvro(&in)
		var ids []string
		for _, c := range env.Recent {
			ids = append(ids, fmt.Sprintf("%s %s %d", c.CommandID, c.EventTypes, c.Version))
		}
		if env.Version != each || len(ids) != ports.RememberedMax || ids[7] != "c1999 [shop.stock.StockReceived] 2000" || ids[0] != "c1992 [shop.stock.StockReceived] 1993" {
			t.Errorf("%s stands at version %d and remembers %v", r.Key, env.Version, ids)
		}
	}
}

// An archive of a release before is folded by today's code, which upcasts: the
// table is today's, the memory of commands names what was recorded.
func TestRestore_folds_older_versions_and_remembers_what_was_recorded(t *testing.T) {
	stock := domain.NewAggregate("stock", 2, func(s retail.Stock, e domain.Event) retail.Stock {
		s.OnHand += 12 * int64(e.(*retail.StockAdjusted).Quantity)
		return s
	},
		domain.Handle(func(c *retail.AdjustStock) string { return c.Sku }, nil, func(retail.Stock, *retail.AdjustStock) ([]domain.Event, *domain.Rejection) { return nil, nil }),
		domain.Upcast[retail.Stock](func(e *retail.StockReceived) *retail.StockAdjusted {
			return &retail.StockAdjusted{Sku: e.Sku, Quantity: e.Quantity}
		}),
		domain.Records[retail.Stock, retail.StockAdjusted](),
	)
	evolved := shop.Topology()
	evolved.Aggregates = []topology.Aggregate{{Aggregate: stock, Owner: "warehouse", Table: "shop.stock.StockTable"}}
	evolved.Projections = nil
	top, to, _ := newTargetOf(t, evolved)
	a, err := open(t, top, map[string][]byte{"stock.avro": written(t, stockHeader(), history(1, 3))})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Restore(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	rows := to.committed(t, "shop.stock-table")
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	var env platform.Envelope
	state := &retail.Stock{}
	if err := to.Framer.Decode(rows[0].Value, &avro.Joined{Name: "shop.stock.StockTable", Head: &env, Tail: state}); err != nil {
		t.Fatal(err)
	}
	if state.OnHand != 12*(5+5-1) || env.Fold != 2 {
		t.Errorf("%d on hand by fold %d", state.OnHand, env.Fold)
	}
	var types []string
	for _, c := range env.Recent {
		types = append(types, c.EventTypes...)
	}
	if want := []string{"shop.stock.StockReceived", "shop.stock.StockReceived", "shop.stock.StockAdjusted"}; !slices.Equal(types, want) {
		t.Errorf("it remembers %v, want %v", types, want)
	}
	for i, r := range to.committed(t, "shop.stock.events") {
		if id, _ := to.Framer.ID(types[i]); binary.BigEndian.Uint32(r.Value[1:]) != id {
			t.Errorf("event %d was restored under another schema", i)
		}
	}
}

// Of two imports at once the first is shut out: what it still sends does not become visible.
func TestRestore_shuts_out_one_that_still_runs(t *testing.T) {
	top, to, _ := newTarget(t)
	a, err := open(t, top, map[string][]byte{"stock.avro": written(t, stockHeader(), history(2, 100))})
	if err != nil {
		t.Fatal(err)
	}
	first, second := to, to
	var inner error
	first.Progress = func(done, _ int64) {
		if done == 150 {
			inner = a.Restore(t.Context(), second)
		}
	}
	if err := a.Restore(t.Context(), first); err == nil {
		t.Error("the first import completes beside the second")
	} else {
		t.Log(err)
	}
	if inner != nil {
		t.Errorf("the second import: %v", inner)
	}
	if n := len(to.committed(t, "shop.stock.events")); n != 200 {
		t.Errorf("%d events", n)
	}
}

// What the broker has acknowledged is read back before an import counts as done.
func TestRestore_finds_what_the_broker_has_lost(t *testing.T) {
	top, to, broker := newTarget(t)
	a, err := open(t, top, map[string][]byte{"stock.avro": written(t, stockHeader(), history(2, 3))})
	if err != nil {
		t.Fatal(err)
	}
	id := broker.Fake.TopicInfo("shop.stock.events").TopicID
	broker.Fake.ControlKey(kmsg.Produce.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		broker.Fake.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, rt := range req.Topics {
			if rt.TopicID != id && rt.Topic != "shop.stock.events" {
				return nil, nil, false
			}
			st := kmsg.ProduceResponseTopic{Topic: rt.Topic, TopicID: rt.TopicID}
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition = rp.Partition
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	broker.Fake.ControlKey(kmsg.EndTxn.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		broker.Fake.KeepControl()
		req := kreq.(*kmsg.EndTxnRequest)
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ProducerID, resp.ProducerEpoch = req.ProducerID, req.ProducerEpoch+1
		return resp, nil, strings.HasSuffix(req.TransactionalID, ".events")
	})
	if err := a.Restore(t.Context(), to); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "2 of 2 aggregates") {
		t.Fatalf("it returns %v", err)
	}
}
