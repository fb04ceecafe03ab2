package shop

import (
	"cmp"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// Products sums up orders, credit notes and stock bookings by product. A
// cancelled order is taken out of the sums.
//
// The description is that of the greatest (time, document number, line) of all
// orders and credit notes. Cancelling does not take a description back: what
// was invoiced was called so, and only a greatest value over documents that
// never shrink in number is the same in every order of events. While nothing
// but stock bookings names a product, the greatest of their descriptions
// stands: they carry no time.
var Products = domain.NewProjection("products", 1,
	domain.From[retail.Product](func(e *retail.OrderPlaced) []domain.Change {
		return perProduct(e.Lines, e.PlacedAt, e.OrderID, func(c *retail.ProductChange, l retail.Line) {
			c.Units += int64(l.Quantity)
			c.Sales += avro.Milli(l.Quantity) * l.UnitPrice
		})
	}),
	domain.From[retail.Product](func(e *retail.OrderCancelled) []domain.Change {
		return perProduct(e.Lines, e.PlacedAt, e.OrderID, func(c *retail.ProductChange, l retail.Line) {
			c.Units -= int64(l.Quantity)
			c.Sales -= avro.Milli(l.Quantity) * l.UnitPrice
		})
	}),
	domain.From[retail.Product](func(e *retail.CreditNoteIssued) []domain.Change {
		return perProduct(e.Lines, e.IssuedAt, e.CreditNoteID, func(c *retail.ProductChange, l retail.Line) {
			c.Credits += avro.Milli(l.Quantity) * l.UnitPrice
		})
	}),
	domain.From[retail.Product](func(e *retail.StockReceived) []domain.Change { return booked(e.Sku, e.Description, e.Quantity) }),
	domain.From[retail.Product](func(e *retail.StockAdjusted) []domain.Change { return booked(e.Sku, e.Description, e.Quantity) }),
	domain.Apply(sellProduct),
	domain.Apply(bookProduct),
)

// perProduct makes one change per product of a document: its lines added up,
// described by the last of them.
func perProduct(lines []retail.Line, at avro.Millis, document string, add func(*retail.ProductChange, retail.Line)) []domain.Change {
	changes := make([]domain.Change, 0, len(lines))
	bySku := make(map[string]*retail.ProductChange, len(lines))
	for n, l := range lines {
		c := bySku[l.Sku]
		if c == nil {
			c = &retail.ProductChange{Sku: l.Sku, At: at, Document: document}
			bySku[l.Sku] = c
			changes = append(changes, domain.Change{Key: l.Sku, Record: c})
		}
		c.Description, c.Line = l.Description, int32(n)
		add(c, l)
	}
	return changes
}

func booked(sku, description string, quantity int32) []domain.Change {
	return []domain.Change{{Key: sku, Record: &retail.StockChange{Sku: sku, Description: description, Quantity: int64(quantity)}}}
}

func sellProduct(d *retail.Product, c *retail.ProductChange) {
	d.Sku = c.Sku
	d.UnitsSold += c.Units
	d.Sales += c.Sales
	d.Credits += c.Credits
	later := cmp.Or(
		cmp.Compare(c.At, d.DescribedAt), cmp.Compare(c.Document, d.DescribedBy), cmp.Compare(c.Line, d.DescribedLine),
		cmp.Compare(c.Description, d.Description), // an order and a credit note may share a number
	)
	if d.DescribedBy == "" || later > 0 {
		d.Description, d.DescribedAt, d.DescribedBy, d.DescribedLine = c.Description, c.At, c.Document, c.Line
	}
}

func bookProduct(d *retail.Product, c *retail.StockChange) {
	d.Sku = c.Sku
	d.OnHand += c.Quantity
	if d.DescribedBy == "" {
		d.Description = max(d.Description, c.Description)
	}
}
