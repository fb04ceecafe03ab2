package topology_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/topology"
)

func stock(name string, more ...domain.Part[retail.Stock]) *domain.Aggregate {
	return domain.NewAggregate(name, 1, func(s retail.Stock, _ domain.Event) retail.Stock { return s }, append(more,
		domain.Handle(func(c *retail.AdjustStock) string { return c.Sku }, nil,
			func(retail.Stock, *retail.AdjustStock) ([]domain.Event, *domain.Rejection) { return nil, nil }),
		domain.Records[retail.Stock, retail.StockAdjusted](),
	)...)
}

// stranger is an event whose schema the topology does not have.
type stranger struct{ retail.StockAdjusted }

func (*stranger) AvroName() string { return "test.Stranger" }

func product(name string) *domain.Projection {
	return domain.NewProjection(name, 1,
		domain.From[retail.Product](func(e *retail.StockAdjusted) []domain.Change { return nil }),
		domain.Apply(func(*retail.Product, *retail.StockChange) {}))
}

func valid() *topology.Topology {
	return &topology.Topology{
		Context: "test", Owner: "team", Schemas: avro.Sets{platform.Schemas, retail.Schemas},
		Aggregates:  []topology.Aggregate{{Aggregate: stock("stock"), Owner: "team", Table: "shop.stock.StockTable"}},
		Projections: []topology.Projection{{Projection: product("products"), Owner: "team", Table: "shop.sales.ProductTable"}},
		Limits:      topology.Limits{TemporalQueriesPerMinute: 10},
	}
}

func TestFaults_a_sound_topology_has_none(t *testing.T) {
	if faults := valid().Faults(); len(faults) > 0 {
		t.Error(strings.Join(faults, "\n"))
	}
}

func TestFaults_names_the_place_of_each_mistake(t *testing.T) {
	for name, c := range map[string]struct {
		seed func(*topology.Topology)
		want string // in the only fault
	}{
		"context name":        {func(t *topology.Topology) { t.Context = "Shop" }, `context: "Shop" is no name`},
		"context owner":       {func(t *topology.Topology) { t.Owner = "" }, "context: has no owner"},
		"partitions":          {func(t *topology.Topology) { t.Partitions = -1 }, "context: -1 partitions"},
		"platform schemas":    {func(t *topology.Topology) { t.Schemas = avro.Sets{retail.Schemas, withoutOutcome()} }, "schemas: there is no schema nexus.Outcome"},
		"no definition":       {func(t *topology.Topology) { t.Aggregates[0].Aggregate = nil; t.Projections = nil }, "aggregates[0]: has no definition"},
		"aggregate owner":     {func(t *topology.Topology) { t.Aggregates[0].Owner = "" }, "aggregates[0] stock: has no owner"},
		"table":               {func(t *topology.Topology) { t.Aggregates[0].Table = "" }, "aggregates[0] stock: names no schema for its table record"},
		"table of another":    {func(t *topology.Topology) { t.Aggregates[0].Table = "shop.order.OrderTable" }, "must have two fields: envelope, and state of type shop.stock.Stock"},
		"table is no table":   {func(t *topology.Topology) { t.Aggregates[0].Table = "shop.stock.Stock" }, "must have two fields"},
		"resilient stranger":  {func(t *topology.Topology) { t.Aggregates[0].Resilient = []string{"shop.order.OrderPlaced"} }, "resilient event shop.order.OrderPlaced is none of its events"},
		"projection owner":    {func(t *topology.Topology) { t.Projections[0].Owner = "" }, "projections[0] products: has no owner"},
		"one name twice":      {func(t *topology.Topology) { t.Projections[0].Projection = product("stock") }, "projections[0] stock: name stock stands in aggregates[0] stock already"},
		"event of nobody":     {func(t *topology.Topology) { t.Projections[0].Projection = orders() }, "reads shop.order.OrderPlaced, which no aggregate"},
		"document of another": {func(t *topology.Topology) { t.Projections[0].Table = "shop.sales.TotalsTable" }, "document of type shop.sales.Product"},
		"upcast stranger": {func(t *topology.Topology) {
			t.Aggregates[0].Aggregate = stock("stock", domain.Upcast[retail.Stock](func(*stranger) *retail.StockAdjusted { return nil }))
		}, "aggregates[0] stock: there is no schema test.Stranger among the topology's schemas"},
		"upcast to nobody's": {func(t *topology.Topology) {
			t.Aggregates[0].Aggregate = stock("stock", domain.Upcast[retail.Stock](func(*retail.StockReceived) *retail.OrderPlaced { return nil }))
		}, "aggregate stock: gap in the chain of upcasters: shop.stock.StockReceived is read as shop.order.OrderPlaced"},
		"upcast twice": {func(t *topology.Topology) {
			up := domain.Upcast[retail.Stock](func(*retail.StockReceived) *retail.StockAdjusted { return nil })
			t.Aggregates[0].Aggregate = stock("stock", up, up)
		}, "event shop.stock.StockReceived has two upcasters"},
		"an old event read": {func(t *topology.Topology) {
			t.Aggregates[0].Aggregate = stock("stock", domain.Upcast[retail.Stock](func(*retail.StockReceived) *retail.StockAdjusted { return nil }))
			t.Projections[0].Projection = domain.NewProjection("products", 1,
				domain.From[retail.Product](func(e *retail.StockReceived) []domain.Change { return nil }),
				domain.Apply(func(*retail.Product, *retail.StockChange) {}))
		}, "reads shop.stock.StockReceived, which aggregate stock upcasts: it would never see one; read shop.stock.StockAdjusted"},
	} {
		topo := valid()
		c.seed(topo)
		faults := topo.Faults()
		if len(faults) != 1 || !strings.Contains(faults[0], c.want) {
			t.Errorf("%s: %q, want one fault with %q", name, faults, c.want)
		}
	}
}

func orders() *domain.Projection {
	return domain.NewProjection("products", 1,
		domain.From[retail.Product](func(e *retail.OrderPlaced) []domain.Change { return nil }),
		domain.Apply(func(*retail.Product, *retail.StockChange) {}))
}

func withoutOutcome() avro.Set {
	var set avro.Set
	for _, e := range platform.Schemas {
		if e.Name != "nexus.Outcome" {
			set = append(set, e)
		}
	}
	return set
}

func TestFaults_come_all_at_once(t *testing.T) {
	topo := valid()
	topo.Context, topo.Owner, topo.Aggregates[0].Owner, topo.Projections[0].Table = "", "", "", ""
	twice := topo.Aggregates[0]
	topo.Aggregates = append(topo.Aggregates, twice)
	faults := topo.Faults()
	if len(faults) < 7 {
		t.Errorf("%d faults only:\n%s", len(faults), strings.Join(faults, "\n"))
	}
}

func actual(t *topology.Topology) map[string]topology.Actual {
	topics := map[string]topology.Actual{}
	for _, topic := range t.Topics() {
		config := map[string]string{"segment.bytes": "1"}
		for k, v := range topic.Config {
			config[k] = v
		}
		topics[topic.Name] = topology.Actual{Partitions: topic.Partitions, Config: config}
	}
	return topics
}

func TestCompare_finds_every_setting_that_differs(t *testing.T) {
	topo := valid()
	if faults := topo.Compare(actual(topo)); len(faults) > 0 {
		t.Fatalf("a broker that has it all: %q", faults)
	}
	if faults := topo.Compare(nil); len(faults) > 0 {
		t.Fatalf("a broker without topics: %q", faults)
	}
	for _, topic := range topo.Topics() {
		for setting := range topic.Config {
			topics := actual(topo)
			topics[topic.Name].Config[setting] = "other"
			faults := topo.Compare(topics)
			if len(faults) != 1 || !strings.Contains(faults[0], topic.Name) || !strings.Contains(faults[0], "--add-config "+setting+"=") {
				t.Errorf("%s of %s changed: %q", setting, topic.Name, faults)
			}
		}
		topics := actual(topo)
		topics[topic.Name] = topology.Actual{Partitions: 3, Config: topics[topic.Name].Config}
		if faults := topo.Compare(topics); len(faults) != 1 || !strings.Contains(faults[0], fmt.Sprintf("has 3 partitions, the topology says %d", topic.Partitions)) {
			t.Errorf("partitions of %s changed: %q", topic.Name, faults)
		}
	}
}

func TestTopics_state_every_retention(t *testing.T) {
	for _, topic := range valid().Topics() {
		for _, setting := range []string{"cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes"} {
			if topic.Config[setting] == "" {
				t.Errorf("%s does not state %s", topic.Name, setting)
			}
		}
		if topic.Kind == topology.EventTopic && (topic.Config["cleanup.policy"] != "delete" || topic.Config["retention.ms"] != "-1") {
			t.Errorf("%s may lose events: %v", topic.Name, topic.Config)
		}
	}
}

func TestAggregateOfCommand_takes_short_and_full_names(t *testing.T) {
	topo := valid()
	for _, name := range []string{"AdjustStock", "shop.stock.AdjustStock"} {
		a, full, ok := topo.AggregateOfCommand(name)
		if !ok || a.Name() != "stock" || full != "shop.stock.AdjustStock" {
			t.Errorf("%s: %v %s %v", name, a, full, ok)
		}
	}
	if _, _, ok := topo.AggregateOfCommand("adjuststock"); ok {
		t.Error("names are exact")
	}
}
