package shop

import (
	"slices"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// Stock is the stock of one product by its stock code. Every booking names the
// document it comes from, and a document is booked once: loading the same
// documents again changes nothing.
var Stock = domain.NewAggregate("stock", 1, evolveStock,
	domain.IDAt[retail.Stock]("/sku"),
	domain.Handle(func(c *retail.ReceiveStock) string { return c.Sku }, validateReceiveStock, receiveStock),
	domain.Handle(func(c *retail.AdjustStock) string { return c.Sku }, validateAdjustStock, adjustStock),
	domain.Records[retail.Stock, retail.StockReceived](),
	domain.Records[retail.Stock, retail.StockAdjusted](),
)

func validateReceiveStock(c *retail.ReceiveStock) []domain.Fault {
	faults := textFaults("/reference", c.Reference, codeMax)
	if c.Quantity <= 0 {
		faults = append(faults, domain.Faultf("/quantity", "not-positive", "received units must be at least 1, got %d", c.Quantity))
	}
	return faults
}

func validateAdjustStock(c *retail.AdjustStock) []domain.Fault {
	faults := textFaults("/reference", c.Reference, codeMax)
	if c.Quantity == 0 {
		faults = append(faults, domain.Faultf("/quantity", "zero", "an adjustment of 0 units adjusts nothing"))
	}
	return faults
}

func receiveStock(s retail.Stock, c *retail.ReceiveStock) ([]domain.Event, *domain.Rejection) {
	if no := bookedBefore(s, c.Sku, c.Reference); no != nil {
		return nil, no
	}
	return []domain.Event{&retail.StockReceived{
		Sku: c.Sku, Description: c.Description, Quantity: c.Quantity, Reference: c.Reference,
	}}, nil
}

func adjustStock(s retail.Stock, c *retail.AdjustStock) ([]domain.Event, *domain.Rejection) {
	if no := bookedBefore(s, c.Sku, c.Reference); no != nil {
		return nil, no
	}
	return []domain.Event{&retail.StockAdjusted{
		Sku: c.Sku, Description: c.Description, Quantity: c.Quantity, Reference: c.Reference,
	}}, nil
}

func bookedBefore(s retail.Stock, sku, reference string) *domain.Rejection {
	if _, booked := slices.BinarySearch(s.References, reference); booked {
		return domain.Reject("reference-already-booked", "%s was booked for %s before", reference, sku)
	}
	return nil
}

func evolveStock(s retail.Stock, e domain.Event) retail.Stock {
	switch e := e.(type) {
	case *retail.StockReceived:
		return book(s, e.Quantity, e.Reference)
	case *retail.StockAdjusted:
		return book(s, e.Quantity, e.Reference)
	}
	return s
}

// book makes a new list of references: the old state still shows the old one.
func book(s retail.Stock, quantity int32, reference string) retail.Stock {
	at, _ := slices.BinarySearch(s.References, reference)
	return retail.Stock{
		OnHand:     s.OnHand + int64(quantity),
		References: slices.Concat(s.References[:at], []string{reference}, s.References[at:]),
	}
}
