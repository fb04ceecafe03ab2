package shop_test

import (
	"math"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/domain/domaintest"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
)

const (
	december = avro.Millis(1291191960000) // 2010-12-01T08:26:00Z
	hour     = avro.Millis(3600_000)
)

var (
	mugs  = retail.Line{Sku: "22197", Description: "MUG", Quantity: 6, UnitPrice: 2550}
	lamps = retail.Line{Sku: "71053", Description: "LAMP", Quantity: 2, UnitPrice: 10_005}
)

func placeOrder(lines ...retail.Line) *retail.PlaceOrder {
	return &retail.PlaceOrder{OrderID: "536365", CustomerID: new("17850"), Country: "United Kingdom", PlacedAt: december, Lines: lines}
}

func orderPlaced(lines ...retail.Line) *retail.OrderPlaced {
	return &retail.OrderPlaced{OrderID: "536365", CustomerID: new("17850"), Country: "United Kingdom", PlacedAt: december, Lines: lines}
}

func orderCancelled(lines ...retail.Line) *retail.OrderCancelled {
	return &retail.OrderCancelled{OrderID: "536365", CustomerID: new("17850"), Country: "United Kingdom", PlacedAt: december, Lines: lines}
}

func TestOrder_PlaceOrder(t *testing.T) {
	t.Run("places an order", func(t *testing.T) {
		domaintest.Given(t, shop.Order).When(placeOrder(mugs, lamps)).Then(orderPlaced(mugs, lamps))
	})
	t.Run("keeps repeated lines apart", func(t *testing.T) {
		domaintest.Given(t, shop.Order).When(placeOrder(mugs, mugs)).Then(orderPlaced(mugs, mugs))
	})
	t.Run("takes guests, empty descriptions and gifts", func(t *testing.T) {
		gift := retail.Line{Sku: "22197", Quantity: 1}
		command, event := placeOrder(gift), orderPlaced(gift)
		command.CustomerID, event.CustomerID = nil, nil
		domaintest.Given(t, shop.Order).When(command).Then(event)
	})
	t.Run("rejects a second time", func(t *testing.T) {
		domaintest.Given(t, shop.Order, orderPlaced(mugs)).When(placeOrder(mugs)).ThenRejected("order-already-placed")
	})
	t.Run("rejects after a cancellation", func(t *testing.T) {
		domaintest.Given(t, shop.Order, orderPlaced(mugs), orderCancelled(mugs)).When(placeOrder(mugs)).ThenRejected("order-already-placed")
	})
}

func TestOrder_PlaceOrderIsValidated(t *testing.T) {
	many := make([]retail.Line, shop.LinesMax+1)
	for name, c := range map[string]struct {
		alter   func(*retail.PlaceOrder)
		pointer string
		code    string
	}{
		"no order id":          {func(c *retail.PlaceOrder) { c.OrderID = "" }, "/orderId", "id-empty"},
		"a control character":  {func(c *retail.PlaceOrder) { c.OrderID = "5\x00" }, "/orderId", "id-control-character"},
		"an empty customer id": {func(c *retail.PlaceOrder) { c.CustomerID = new("") }, "/customerId", "empty"},
		"no country":           {func(c *retail.PlaceOrder) { c.Country = "" }, "/country", "empty"},
		"a long country":       {func(c *retail.PlaceOrder) { c.Country = strings.Repeat("x", 257) }, "/country", "too-long"},
		"a time far away":      {func(c *retail.PlaceOrder) { c.PlacedAt = math.MaxInt64 }, "/placedAt", "out-of-range"},
		"no line":              {func(c *retail.PlaceOrder) { c.Lines = nil }, "/lines", "empty"},
		"too many lines":       {func(c *retail.PlaceOrder) { c.Lines = many }, "/lines", "too-many"},
		"no sku":               {func(c *retail.PlaceOrder) { c.Lines[1].Sku = "" }, "/lines/1/sku", "empty"},
		"a quantity of 0":      {func(c *retail.PlaceOrder) { c.Lines[0].Quantity = 0 }, "/lines/0/quantity", "not-positive"},
		"a quantity below 0":   {func(c *retail.PlaceOrder) { c.Lines[0].Quantity = -6 }, "/lines/0/quantity", "not-positive"},
		"a price below 0":      {func(c *retail.PlaceOrder) { c.Lines[1].UnitPrice = -1 }, "/lines/1/unitPrice", "negative"},
		"a line too dear":      {func(c *retail.PlaceOrder) { c.Lines[1].UnitPrice = shop.ValueMax }, "/lines/1/unitPrice", "too-large"},
		"a line beyond 64 bits": {func(c *retail.PlaceOrder) {
			c.Lines[1].UnitPrice, c.Lines[1].Quantity = math.MaxInt64, math.MaxInt32
		}, "/lines/1/unitPrice", "too-large"},
		"lines too dear together": {func(c *retail.PlaceOrder) {
			c.Lines[1].UnitPrice = shop.ValueMax / 2
		}, "/lines", "too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			command := placeOrder(mugs, lamps)
			c.alter(command)
			domaintest.Given(t, shop.Order).When(command).ThenInvalid(c.pointer, c.code)
		})
	}
	t.Run("names all faults", func(t *testing.T) {
		command := placeOrder(retail.Line{Quantity: -1, UnitPrice: -1})
		command.OrderID = ""
		domaintest.Given(t, shop.Order).When(command).ThenFaults(
			domain.Fault{Pointer: "/orderId", Code: "id-empty"},
			domain.Fault{Pointer: "/lines/0/sku", Code: "empty"},
			domain.Fault{Pointer: "/lines/0/quantity", Code: "not-positive"},
			domain.Fault{Pointer: "/lines/0/unitPrice", Code: "negative"},
		)
	})
	t.Run("stops at twenty faults", func(t *testing.T) {
		if faults := shop.Order.Validate(placeOrder(many[1:]...)); len(faults) != 20 {
			t.Errorf("%d faults, want 20", len(faults))
		}
	})
	t.Run("takes the most valuable order", func(t *testing.T) {
		dear := retail.Line{Sku: "DIAMOND", Quantity: 1, UnitPrice: shop.ValueMax}
		domaintest.Given(t, shop.Order).When(placeOrder(dear)).Then(orderPlaced(dear))
	})
}

func TestOrder_CancelOrder(t *testing.T) {
	cancel := &retail.CancelOrder{OrderID: "536365", Reason: new("changed my mind")}
	cancelled := orderCancelled(mugs, lamps)
	cancelled.Reason = new("changed my mind")
	t.Run("cancels an order with all it was", func(t *testing.T) {
		domaintest.Given(t, shop.Order, orderPlaced(mugs, lamps)).When(cancel).Then(cancelled)
	})
	t.Run("keeps the lines in the state", func(t *testing.T) {
		domaintest.Given(t, shop.Order, orderPlaced(mugs), orderCancelled(mugs)).ThenState(&retail.Order{
			Status: retail.OrderStatusCancelled, CustomerID: new("17850"), Country: "United Kingdom", PlacedAt: december, Lines: []retail.Line{mugs},
		})
	})
	t.Run("rejects what was never placed", func(t *testing.T) {
		domaintest.Given(t, shop.Order).When(cancel).ThenRejected("order-not-placed")
	})
	t.Run("rejects a second time", func(t *testing.T) {
		domaintest.Given(t, shop.Order, orderPlaced(mugs), orderCancelled(mugs)).When(cancel).ThenRejected("order-already-cancelled")
	})
	t.Run("is validated", func(t *testing.T) {
		domaintest.Given(t, shop.Order).When(&retail.CancelOrder{}).ThenInvalid("/orderId", "id-empty")
	})
}
