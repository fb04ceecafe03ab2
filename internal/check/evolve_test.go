package check_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/topology"
)

// evolved is the stock of a next release: a delivery is read as an adjustment,
// quantities are dozens, and adjusting still records deliveries, as a release
// does that shares its groups with the one before.
func evolved() *topology.Topology {
	stock := domain.NewAggregate("stock", 2,
		func(s retail.Stock, e domain.Event) retail.Stock {
			adjusted := e.(*retail.StockAdjusted) // nothing else arrives
			return retail.Stock{OnHand: s.OnHand + 12*int64(adjusted.Quantity), References: append(s.References[:len(s.References):len(s.References)], adjusted.Reference)}
		},
		domain.Handle(func(c *retail.ReceiveStock) string { return c.Sku }, nil, func(_ retail.Stock, c *retail.ReceiveStock) ([]domain.Event, *domain.Rejection) {
			return []domain.Event{&retail.StockAdjusted{Sku: c.Sku, Description: c.Description, Quantity: c.Quantity, Reference: c.Reference}}, nil
		}),
		domain.Handle(func(c *retail.AdjustStock) string { return c.Sku }, nil, func(_ retail.Stock, c *retail.AdjustStock) ([]domain.Event, *domain.Rejection) {
			return []domain.Event{&retail.StockReceived{Sku: c.Sku, Description: c.Description, Quantity: c.Quantity, Reference: c.Reference}}, nil
		}),
		domain.Upcast[retail.Stock](func(e *retail.StockReceived) *retail.StockAdjusted {
			return &retail.StockAdjusted{Sku: e.Sku, Description: "received " + e.Description, Quantity: e.Quantity, Reference: e.Reference}
		}),
		domain.Records[retail.Stock, retail.StockAdjusted](),
	)
	products := domain.NewProjection("products", 2,
		domain.From[retail.Product](func(e *retail.StockAdjusted) []domain.Change {
			return []domain.Change{{Key: e.Sku, Record: &retail.StockChange{Sku: e.Sku, Description: e.Description, Quantity: 12 * int64(e.Quantity)}}}
		}),
		domain.Apply(func(d *retail.Product, c *retail.StockChange) {
			d.Sku, d.OnHand, d.Description = c.Sku, d.OnHand+c.Quantity, max(d.Description, c.Description)
		}),
	)
	t := testTopology()
	t.Aggregates = []topology.Aggregate{{Aggregate: stock, Owner: "warehouse", Table: "shop.stock.StockTable"}}
	t.Projections = []topology.Projection{{Projection: products, Owner: "sales", Table: "shop.sales.ProductTable"}}
	return t
}

// A release raises the fold number of an aggregate and upcasts one of its
// events. Over the log of the release before, state is folded anew by today's
// code, read models and the API show the newest version of every event, the
// check is of the same opinion, and nothing is set aside.
func TestRun_judges_a_log_of_older_versions_by_todays_code(t *testing.T) {
	dir := t.TempDir()
	before := begin(t, dir, testTopology())
	e := before.Endpoints()
	send(t, e.API, 201, receive("c1", "22423", 10, "r1"), receive("c2", "22423", 5, "r2"), receive("c3", "85123A", 7, "r3"))
	if onHand := stateOf(t, e.API, "22423"); onHand != 15 {
		t.Fatalf("before: %d on hand", onHand)
	}
	if err := before.Stop(); err != nil {
		t.Fatal(err)
	}

	top := evolved()
	after := begin(t, dir, top)
	t.Cleanup(func() {
		if err := after.Stop(); err != nil {
			t.Error(err)
		}
	})
	e = after.Endpoints()
	adjust := `{"type":"AdjustStock","id":"c4","command":{"sku":"22423","description":"MUG","quantity":1,"reference":"r4"}}`
	send(t, e.API, 201, adjust, receive("c5", "22423", 2, "r5"))
	if onHand := stateOf(t, e.API, "22423"); onHand != 12*(10+5+1+2) {
		t.Errorf("%d on hand: the state of fold 1 was not folded anew by fold 2", onHand)
	}
	send(t, e.API, 201, receive("c1", "22423", 10, "r1")) // a repetition, of before the fold was changed

	if report := live(t, top, e); !report.OK {
		t.Errorf("the check is of another opinion:\n%s", report.Text())
	}
	var events struct {
		Items []struct {
			Type string
			Data struct{ Description string }
		}
	}
	get(t, e.API+"/api/aggregates/stock/22423/events", &events)
	want := []string{"received MUG", "received MUG", "received MUG", "MUG"}
	for i, item := range events.Items {
		if len(events.Items) != len(want) || item.Type != "StockAdjusted" || item.Data.Description != want[i] {
			t.Fatalf("the events are shown as %+v", events.Items)
		}
	}
	var product struct {
		OnHand      int64
		Description string
	}
	if get(t, e.API+"/api/queries/products/85123A", &product); product.OnHand != 12*7 || product.Description != "received MUG" {
		t.Errorf("the read model shows %+v", product)
	}
	if n := count(t, e, top.DeadLetters()); n > 0 {
		t.Errorf("%d dead letters", n)
	}
}

func begin(t *testing.T, dir string, top *topology.Topology) *system.System {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := system.Start(ctx, top, system.Config{
		Data: dir, Listen: "127.0.0.1:0", BusListen: "127.0.0.1:0", RegistryListen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stateOf(t *testing.T, api, sku string) int64 {
	t.Helper()
	var a struct{ State struct{ OnHand int64 } }
	get(t, api+"/api/aggregates/stock/"+sku+"?minVersion=1", &a)
	return a.State.OnHand
}

func get(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v\n%s", url, resp.StatusCode, err, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v\n%s", url, err, text)
	}
}

// count is how many records a topic has.
func count(t *testing.T, e system.Endpoints, topic string) (n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.Bus))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ranges, err := logread.Settled(t.Context(), kadm.NewClient(cl), topic)
	if err != nil {
		t.Fatal(err)
	}
	if err := logread.Each(t.Context(), ranges, func(*kgo.Record) error { n++; return nil }, kgo.SeedBrokers(e.Bus)); err != nil {
		t.Fatal(err)
	}
	return n
}
