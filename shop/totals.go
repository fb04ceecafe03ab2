package shop

import (
	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// TotalsKey is the key of the one document of TotalsModel.
const TotalsKey = "all"

// TotalsModel adds the whole shop up in one document. A cancelled order is
// taken out of orders, orderLines, units, sales and guestOrders;
// stockAdjustments counts corrections of the stock, not receipts. Everything
// is a sum, so no order of events matters.
var TotalsModel = domain.NewProjection("totals", 1,
	domain.From[retail.Totals](func(e *retail.OrderPlaced) []domain.Change { return orderTotals(e.CustomerID, 1, e.Lines) }),
	domain.From[retail.Totals](func(e *retail.OrderCancelled) []domain.Change { return orderTotals(e.CustomerID, -1, e.Lines) }),
	domain.From[retail.Totals](func(e *retail.CreditNoteIssued) []domain.Change {
		return inTotals(retail.TotalsChange{CreditNotes: 1, CreditNoteLines: int64(len(e.Lines)), Credits: value(e.Lines)})
	}),
	domain.From[retail.Totals](func(*retail.StockAdjusted) []domain.Change {
		return inTotals(retail.TotalsChange{StockAdjustments: 1})
	}),
	domain.From[retail.Totals](func(e *retail.LedgerAdjusted) []domain.Change {
		return inTotals(retail.TotalsChange{LedgerAdjustments: 1, Adjustments: e.Amount})
	}),
	domain.Apply(func(d *retail.Totals, c *retail.TotalsChange) {
		d.Orders += c.Orders
		d.OrderLines += c.OrderLines
		d.CreditNoteLines += c.CreditNoteLines
		d.Units += c.Units
		d.Sales += c.Sales
		d.Credits += c.Credits
		d.Adjustments += c.Adjustments
		d.CreditNotes += c.CreditNotes
		d.StockAdjustments += c.StockAdjustments
		d.LedgerAdjustments += c.LedgerAdjustments
		d.GuestOrders += c.GuestOrders
	}),
)

// orderTotals is one order that comes in (sign 1) or is taken out again (-1).
func orderTotals(customerID *string, sign int64, lines []retail.Line) []domain.Change {
	c := retail.TotalsChange{
		Orders: sign, OrderLines: sign * int64(len(lines)), Units: sign * units(lines), Sales: avro.Milli(sign) * value(lines),
	}
	if customerID == nil {
		c.GuestOrders = sign
	}
	return inTotals(c)
}

func inTotals(c retail.TotalsChange) []domain.Change {
	return []domain.Change{{Key: TotalsKey, Record: &c}}
}
