package shop_test

import (
	"fmt"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/domain/domaintest"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// realHistories are the events of every fourth invoice of two months, with what
// the data has not: every seventh of those orders is cancelled, products are
// received, the ledger is adjusted.
func realHistories(t testing.TB) [][]domain.Event {
	t.Helper()
	w := newWorld()
	accept := func(id string, c domain.Command) {
		if out, _, _ := w.handle(id, c); len(out.events) != 1 {
			t.Fatalf("%s: %v %v", id, out.faults, out.no)
		}
	}
	n := 0
	for c, err := range retailcsv.Commands(shop.Sample("2010-12", "2011-01")...) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%4 != 0 {
			continue
		}
		accept(c.ID, c.Record)
		order, ok := c.Record.(*retail.PlaceOrder)
		if !ok {
			continue
		}
		if n%7 == 0 {
			accept("cancel:"+c.ID, &retail.CancelOrder{OrderID: order.OrderID})
		}
		if n%9 == 0 {
			line := order.Lines[0]
			accept("receive:"+c.ID, &retail.ReceiveStock{Sku: line.Sku, Description: line.Description + " (crate)", Quantity: 100, Reference: c.ID})
		}
		if n%50 == 0 {
			accept("adjust:"+c.ID, &retail.AdjustLedger{EntryID: fmt.Sprintf("A%d", n), AdjustedAt: order.PlacedAt, Amount: -1005})
		}
	}
	var histories [][]domain.Event
	for _, aggregate := range w.order {
		histories = append(histories, w.histories[aggregate])
	}
	return histories
}

func TestProjections_DoNotDependOnTheOrderOfAggregates(t *testing.T) {
	histories := realHistories(t)
	for _, p := range []*domain.Projection{shop.Orders, shop.SalesByCountry, shop.SalesByMonth, shop.Products, shop.Customers, shop.TotalsModel} {
		t.Run(p.Name(), func(t *testing.T) { domaintest.Shuffled(t, p, histories, 6) })
	}
}

// The platform folds real events with the guarantees that domaintest checks
// for each of them.
func TestDomain_HoldsItsPromisesOverRealOrders(t *testing.T) {
	var events []domain.Event
	for _, history := range realHistories(t)[:100] {
		events = append(events, history...)
	}
	for _, p := range shop.Topology().Projections {
		domaintest.Project(t, p.Projection, events...)
	}
}
