package shop

import (
	"cmp"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// Customers sums up orders and credit notes by customer; guests have none. A
// cancelled order is taken out of the sums.
//
// The country is that of the greatest (time, document number), lastOrderAt the
// greatest time of an order. Cancelling takes neither back: that the customer
// ordered then, from there, stays true, and only a greatest value over
// documents that never shrink in number is the same in every order of events.
var Customers = domain.NewProjection("customers", 1,
	domain.From[retail.Customer](func(e *retail.OrderPlaced) []domain.Change {
		return ofCustomer(e.CustomerID, retail.CustomerChange{
			Country: e.Country, Orders: 1, Sales: value(e.Lines), At: e.PlacedAt, Document: e.OrderID, Order: true,
		})
	}),
	domain.From[retail.Customer](func(e *retail.OrderCancelled) []domain.Change {
		return ofCustomer(e.CustomerID, retail.CustomerChange{
			Country: e.Country, Orders: -1, Sales: -value(e.Lines), At: e.PlacedAt, Document: e.OrderID, Order: true,
		})
	}),
	domain.From[retail.Customer](func(e *retail.CreditNoteIssued) []domain.Change {
		return ofCustomer(e.CustomerID, retail.CustomerChange{
			Country: e.Country, Credits: value(e.Lines), At: e.IssuedAt, Document: e.CreditNoteID,
		})
	}),
	domain.Apply(serveCustomer),
)

func ofCustomer(id *string, c retail.CustomerChange) []domain.Change {
	if id == nil {
		return nil
	}
	c.CustomerID = *id
	return []domain.Change{{Key: *id, Record: &c}}
}

func serveCustomer(d *retail.Customer, c *retail.CustomerChange) {
	d.CustomerID = c.CustomerID
	d.Orders += c.Orders
	d.Sales += c.Sales
	d.Credits += c.Credits
	if c.Order && (d.LastOrderAt == nil || c.At > *d.LastOrderAt) {
		d.LastOrderAt = new(c.At)
	}
	later := cmp.Or(
		cmp.Compare(c.At, d.SeenAt), cmp.Compare(c.Document, d.SeenIn),
		cmp.Compare(c.Country, d.Country), // an order and a credit note may share a number
	)
	if d.SeenIn == "" || later > 0 {
		d.Country, d.SeenAt, d.SeenIn = c.Country, c.At, c.Document
	}
}
