package shop

import (
	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// SalesByCountry sums up orders and credit notes by country. A cancelled order
// is taken out again. Everything is a sum, so no order of events matters; the
// document of a country stays when all its orders are cancelled.
var SalesByCountry = domain.NewProjection("sales-by-country", 1,
	domain.From[retail.CountrySales](func(e *retail.OrderPlaced) []domain.Change { return ordered(e.Country, 1, e.Lines) }),
	domain.From[retail.CountrySales](func(e *retail.OrderCancelled) []domain.Change { return ordered(e.Country, -1, e.Lines) }),
	domain.From[retail.CountrySales](func(e *retail.CreditNoteIssued) []domain.Change { return credited(e.Country, e.Lines) }),
	domain.Apply(func(d *retail.CountrySales, c *retail.SalesChange) {
		d.Country = c.Key
		d.Orders += c.Orders
		d.Units += c.Units
		d.Sales += c.Sales
		d.Credits += c.Credits
	}),
)

// SalesByMonth sums up orders and credit notes by the month of their time in
// UTC. A cancelled order is taken out of the month it was placed in.
var SalesByMonth = domain.NewProjection("sales-by-month", 1,
	domain.From[retail.MonthSales](func(e *retail.OrderPlaced) []domain.Change { return ordered(month(e.PlacedAt), 1, e.Lines) }),
	domain.From[retail.MonthSales](func(e *retail.OrderCancelled) []domain.Change { return ordered(month(e.PlacedAt), -1, e.Lines) }),
	domain.From[retail.MonthSales](func(e *retail.CreditNoteIssued) []domain.Change { return credited(month(e.IssuedAt), e.Lines) }),
	domain.Apply(func(d *retail.MonthSales, c *retail.SalesChange) {
		d.Month = c.Key
		d.Orders += c.Orders
		d.Units += c.Units
		d.Sales += c.Sales
		d.Credits += c.Credits
	}),
)

// ordered is one order that comes in (sign 1) or is taken out again (-1).
func ordered(key string, sign int64, lines []retail.Line) []domain.Change {
	return []domain.Change{{Key: key, Record: &retail.SalesChange{
		Key: key, Orders: sign, Units: sign * units(lines), Sales: avro.Milli(sign) * value(lines),
	}}}
}

func credited(key string, lines []retail.Line) []domain.Change {
	return []domain.Change{{Key: key, Record: &retail.SalesChange{Key: key, Credits: value(lines)}}}
}

func month(at avro.Millis) string { return at.Time().Format("2006-01") }
