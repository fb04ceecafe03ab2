package shop

import (
	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// Order is an order by its invoice number: placed once, cancelled at most once.
var Order = domain.NewAggregate("order", 1, evolveOrder,
	domain.IDAt[retail.Order]("/orderId"),
	domain.Handle(func(c *retail.PlaceOrder) string { return c.OrderID }, validatePlaceOrder, placeOrder),
	domain.Handle(func(c *retail.CancelOrder) string { return c.OrderID }, validateCancelOrder, cancelOrder),
	domain.Records[retail.Order, retail.OrderPlaced](),
	domain.Records[retail.Order, retail.OrderCancelled](),
)

func validatePlaceOrder(c *retail.PlaceOrder) []domain.Fault {
	return invoice{
		customerID: c.CustomerID, country: c.Country, time: c.PlacedAt, timeField: "/placedAt",
		lines: c.Lines, sold: true,
	}.faults()
}

func placeOrder(s retail.Order, c *retail.PlaceOrder) ([]domain.Event, *domain.Rejection) {
	if s.Status != retail.OrderStatusNone {
		return nil, domain.Reject("order-already-placed", "order %s was placed before", c.OrderID)
	}
	return []domain.Event{&retail.OrderPlaced{
		OrderID: c.OrderID, CustomerID: c.CustomerID, Country: c.Country, PlacedAt: c.PlacedAt, Lines: c.Lines,
	}}, nil
}

// validateCancelOrder finds nothing: an order id and a reason are never wrong
// in themselves.
func validateCancelOrder(*retail.CancelOrder) []domain.Fault { return nil }

func cancelOrder(s retail.Order, c *retail.CancelOrder) ([]domain.Event, *domain.Rejection) {
	switch s.Status {
	case retail.OrderStatusNone:
		return nil, domain.Reject("order-not-placed", "there is no order %s", c.OrderID)
	case retail.OrderStatusCancelled:
		return nil, domain.Reject("order-already-cancelled", "order %s was cancelled before", c.OrderID)
	}
	return []domain.Event{&retail.OrderCancelled{
		OrderID: c.OrderID, CustomerID: s.CustomerID, Country: s.Country, PlacedAt: s.PlacedAt, Lines: s.Lines, Reason: c.Reason,
	}}, nil
}

func evolveOrder(s retail.Order, e domain.Event) retail.Order {
	switch e := e.(type) {
	case *retail.OrderPlaced:
		return retail.Order{
			Status: retail.OrderStatusPlaced, CustomerID: e.CustomerID, Country: e.Country, PlacedAt: e.PlacedAt, Lines: e.Lines,
		}
	case *retail.OrderCancelled:
		s.Status = retail.OrderStatusCancelled
	}
	return s
}
