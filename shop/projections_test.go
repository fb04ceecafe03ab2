package shop_test

import (
	"testing"

	"github.com/nexusblueprint/nexus/domain/domaintest"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
)

// order is OrderPlaced of another order than orderPlaced.
func order(id string, customerID *string, country string, at avro.Millis, lines ...retail.Line) *retail.OrderPlaced {
	return &retail.OrderPlaced{OrderID: id, CustomerID: customerID, Country: country, PlacedAt: at, Lines: lines}
}

func named(line retail.Line, description string) retail.Line {
	line.Description = description
	return line
}

func TestOrders(t *testing.T) {
	want := &retail.OrderDocument{
		OrderID: "536365", CustomerID: new("17850"), Country: "United Kingdom", Status: retail.OrderStatusPlaced,
		PlacedAt: december, Units: 14, Total: 50_610, Lines: []retail.Line{mugs, lamps, mugs},
	}
	domaintest.Project(t, shop.Orders, orderPlaced(mugs, lamps, mugs)).Document("536365", want).Keys("536365")
	cancelled := *want
	cancelled.Status = retail.OrderStatusCancelled
	domaintest.Project(t, shop.Orders, orderPlaced(mugs, lamps, mugs), orderCancelled(mugs, lamps, mugs)).Document("536365", &cancelled)
}

func TestSalesByCountry(t *testing.T) {
	sales := domaintest.Project(t, shop.SalesByCountry, orderPlaced(mugs, lamps), creditNoteIssued(returned), order("536370", nil, "France", december, mugs))
	sales.Document("United Kingdom", &retail.CountrySales{Country: "United Kingdom", Orders: 1, Units: 8, Sales: 35_310})
	sales.Document("France", &retail.CountrySales{Country: "France", Orders: 1, Units: 6, Sales: 15_300, Credits: -5100})
	sales.Keys("United Kingdom", "France")
	domaintest.Project(t, shop.SalesByCountry, orderPlaced(mugs), orderCancelled(mugs)).
		Document("United Kingdom", &retail.CountrySales{Country: "United Kingdom"})
}

func TestSalesByMonth(t *testing.T) {
	newYear := avro.Millis(1293840000000) // 2011-01-01T00:00:00Z
	sales := domaintest.Project(t, shop.SalesByMonth, orderPlaced(mugs), creditNoteIssued(returned),
		order("1", nil, "France", newYear-1, lamps), order("2", nil, "France", newYear, lamps))
	sales.Document("2010-12", &retail.MonthSales{Month: "2010-12", Orders: 2, Units: 8, Sales: 35_310, Credits: -5100})
	sales.Document("2011-01", &retail.MonthSales{Month: "2011-01", Orders: 1, Units: 2, Sales: 20_010})
	domaintest.Project(t, shop.SalesByMonth, orderPlaced(mugs), orderCancelled(mugs)).Document("2010-12", &retail.MonthSales{Month: "2010-12"})
}

func TestProducts(t *testing.T) {
	t.Run("adds the lines of a document up", func(t *testing.T) {
		domaintest.Project(t, shop.Products, orderPlaced(mugs, lamps, named(mugs, "BIG MUG")), creditNoteIssued(returned), stockAdjusted(-3, "1"), stockReceived(1, "2")).
			Document("22197", &retail.Product{
				Sku: "22197", Description: "MUG", UnitsSold: 12, Sales: 30_600, Credits: -5100, OnHand: -2,
				DescribedAt: december + hour, DescribedBy: "C536379",
			}).
			Document("71053", &retail.Product{
				Sku: "71053", Description: "LAMP", UnitsSold: 2, Sales: 20_010, DescribedAt: december, DescribedBy: "536365", DescribedLine: 1,
			}).
			Keys("22197", "71053")
	})
	t.Run("takes a cancelled order out, but not its description", func(t *testing.T) {
		domaintest.Project(t, shop.Products, orderPlaced(mugs), orderCancelled(mugs)).
			Document("22197", &retail.Product{Sku: "22197", Description: "MUG", DescribedAt: december, DescribedBy: "536365"})
	})
	t.Run("describes by the greatest time, number and line", func(t *testing.T) {
		of := func(events ...*retail.OrderPlaced) string {
			doc := shop.Products.NewDocument().(*retail.Product)
			for _, e := range events {
				shop.Products.Apply(doc, shop.Products.Split(e)[0].Record)
			}
			return doc.Description
		}
		early, late := order("9", nil, "EIRE", december, named(mugs, "early")), order("1", nil, "EIRE", december+1, named(mugs, "late"))
		high := order("8", nil, "EIRE", december+1, named(mugs, "high"))
		unnamed := order("7", nil, "EIRE", december+2, named(mugs, ""))
		lines := order("6", nil, "EIRE", december-hour, named(mugs, "first line"), named(mugs, "last line"))
		ancient := order("5", nil, "EIRE", -hour, named(mugs, "before 1970"))
		if of(early, late) != "late" || of(late, early) != "late" {
			t.Error("the later time does not win")
		}
		if of(late, high) != "high" || of(high, late) != "high" {
			t.Error("at one time, the greater number does not win")
		}
		if of(unnamed, high) != "" || of(high, unnamed) != "" {
			t.Error("the latest document does not win when its description is empty")
		}
		if of(lines) != "last line" {
			t.Error("the last line of a document does not win")
		}
		if of(ancient) != "before 1970" {
			t.Error("a document from before 1970 does not describe a product that nothing else names")
		}
	})
	t.Run("names what only stock bookings know by the greatest of their descriptions", func(t *testing.T) {
		lost := stockAdjusted(-3, "1")
		lost.Description = "thrown away"
		unnamed := stockAdjusted(-3, "2")
		unnamed.Description = ""
		want := &retail.Product{Sku: "22197", Description: "thrown away", OnHand: 6}
		domaintest.Project(t, shop.Products, stockReceived(12, "3"), lost, unnamed).Document("22197", want)
		domaintest.Project(t, shop.Products, unnamed, lost, stockReceived(12, "3")).Document("22197", want)
	})
}

func TestCustomers(t *testing.T) {
	t.Run("adds orders and credit notes up", func(t *testing.T) {
		domaintest.Project(t, shop.Customers, creditNoteIssued(returned), orderPlaced(mugs), order("536370", nil, "France", december, mugs)).
			Document("17850", &retail.Customer{
				CustomerID: "17850", Country: "France", Orders: 1, Sales: 15_300, Credits: -5100, LastOrderAt: new(december),
				SeenAt: december + hour, SeenIn: "C536379",
			}).
			Keys("17850")
	})
	t.Run("knows who only returned things", func(t *testing.T) {
		domaintest.Project(t, shop.Customers, creditNoteIssued(returned)).Document("17850", &retail.Customer{
			CustomerID: "17850", Country: "France", Credits: -5100, SeenAt: december + hour, SeenIn: "C536379",
		})
	})
	t.Run("takes a cancelled order out, but not that it was placed", func(t *testing.T) {
		domaintest.Project(t, shop.Customers, orderPlaced(mugs), orderCancelled(mugs)).Document("17850", &retail.Customer{
			CustomerID: "17850", Country: "United Kingdom", LastOrderAt: new(december), SeenAt: december, SeenIn: "536365",
		})
	})
}

func TestTotals(t *testing.T) {
	guest := order("536370", nil, "France", december, mugs)
	cancelled := &retail.OrderCancelled{OrderID: "536370", Country: "France", PlacedAt: december, Lines: guest.Lines}
	domaintest.Project(t, shop.TotalsModel,
		orderPlaced(mugs, lamps), guest, creditNoteIssued(returned, returned), stockAdjusted(-3, "1"), stockReceived(3, "2"),
		&retail.LedgerAdjusted{EntryID: "A1", Amount: -100}, &retail.LedgerAdjusted{EntryID: "A2", Amount: 30}).
		Document(shop.TotalsKey, &retail.Totals{
			Orders: 2, OrderLines: 3, CreditNoteLines: 2, Units: 14, Sales: 50_610, Credits: -10_200, Adjustments: -70,
			CreditNotes: 1, StockAdjustments: 1, LedgerAdjustments: 2, GuestOrders: 1,
		})
	domaintest.Project(t, shop.TotalsModel, orderPlaced(mugs, lamps), guest, cancelled).
		Document(shop.TotalsKey, &retail.Totals{Orders: 1, OrderLines: 2, Units: 8, Sales: 35_310})
}
