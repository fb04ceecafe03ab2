package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"text/tabwriter"

	"github.com/nexusblueprint/nexus/shop/client"
)

// Figures are the shop's totals, read from its read models alone. Money is a
// decimal string in pounds, "0" where there is nothing to add up; credits are
// negative.
type Figures struct {
	Rows              int64             `json:"rows"`
	Orders            int64             `json:"orders"`
	OrderLines        int64             `json:"order_lines"`
	CreditNotes       int64             `json:"credit_notes"`
	StockAdjustments  int64             `json:"stock_adjustments"`
	LedgerAdjustments int64             `json:"ledger_adjustments"`
	UnitsSold         int64             `json:"units_sold"`
	Sales             string            `json:"sales"`
	Credits           string            `json:"credits"`
	Adjustments       string            `json:"adjustments"`
	Skus              int64             `json:"skus"`
	Customers         int64             `json:"customers"`
	GuestOrders       int64             `json:"guest_orders"`
	SalesByCountry    map[string]string `json:"sales_by_country"` // of countries with orders
	SalesByMonth      map[string]string `json:"sales_by_month"`   // of months with orders
	TopSkusByUnits    []SkuUnits        `json:"top_skus_by_units"`
	LargestOrder      *OrderTotal       `json:"largest_order"` // null without orders
	// LagRecords is how many records of the log the slowest read model has not
	// seen: 0 means that the figures are complete.
	LagRecords int64 `json:"-"`
}

// SkuUnits is [sku, units] in JSON.
type SkuUnits struct {
	Sku   string
	Units int64
}

// MarshalJSON writes a pair.
func (s SkuUnits) MarshalJSON() ([]byte, error) { return json.Marshal([2]any{s.Sku, s.Units}) }

// UnmarshalJSON reads a pair.
func (s *SkuUnits) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &[2]any{&s.Sku, &s.Units}) }

// OrderTotal is [order id, total] in JSON.
type OrderTotal struct {
	OrderID string
	Total   string
}

// MarshalJSON writes a pair.
func (o OrderTotal) MarshalJSON() ([]byte, error) { return json.Marshal([2]string{o.OrderID, o.Total}) }

// UnmarshalJSON reads a pair.
func (o *OrderTotal) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[2]any{&o.OrderID, &o.Total})
}

// ReadFigures asks a server's query API for the figures, in a handful of
// requests.
func ReadFigures(ctx context.Context, server string) (Figures, error) {
	c, err := client.New(server)
	if err != nil {
		return Figures{}, err
	}
	defer c.Close()
	r := &figuresReader{ctx: ctx, client: c}
	r.readTotals()
	r.readSales()
	r.readTops()
	if r.err != nil {
		return Figures{}, fmt.Errorf("reading figures: %w", whatToDo(r.err, hintStart))
	}
	return r.figures, nil
}

// figuresReader reads until the first error.
type figuresReader struct {
	ctx     context.Context
	client  *client.Client
	figures Figures
	err     error
}

// page reads one page, unless there was an error before.
func page[D any](r *figuresReader, model string, query url.Values) client.Page[D] {
	if r.err != nil {
		return client.Page[D]{}
	}
	p, err := client.List[D](r.ctx, r.client, model, query)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", model, err)
	}
	r.figures.LagRecords = max(r.figures.LagRecords, p.LagRecords)
	return p
}

func (r *figuresReader) readTotals() {
	type totals struct {
		Orders, OrderLines, CreditNoteLines, Units, CreditNotes, StockAdjustments, LedgerAdjustments, GuestOrders int64
		Sales, Credits, Adjustments                                                                               string
	}
	var t totals // before the first event there is no document
	if p := page[totals](r, "totals", url.Values{"limit": {"1"}}); len(p.Items) > 0 {
		t = p.Items[0]
	}
	f := &r.figures
	f.Rows = t.OrderLines + t.CreditNoteLines + t.StockAdjustments + t.LedgerAdjustments
	f.Orders, f.OrderLines, f.UnitsSold, f.GuestOrders = t.Orders, t.OrderLines, t.Units, t.GuestOrders
	f.CreditNotes, f.StockAdjustments, f.LedgerAdjustments = t.CreditNotes, t.StockAdjustments, t.LedgerAdjustments
	f.Sales, f.Credits, f.Adjustments = sumOf(t.Orders, t.Sales), sumOf(t.CreditNotes, t.Credits), sumOf(t.LedgerAdjustments, t.Adjustments)
}

// sumOf writes a sum of nothing as the reference figures do, so that the two can
// be compared as text: a sum that comes to nothing is "0.00".
func sumOf(documents int64, sum string) string {
	if documents == 0 {
		return "0"
	}
	return sum
}

func (r *figuresReader) readSales() {
	type sales struct {
		Country, Month, Sales string
		Orders                int64
	}
	all := func(model string, key func(sales) string) map[string]string {
		found := map[string]string{}
		for query := (url.Values{"limit": {"1000"}}); ; {
			p := page[sales](r, model, query)
			for _, s := range p.Items {
				if s.Orders > 0 { // a country that was only credited has no sales
					found[key(s)] = s.Sales
				}
			}
			if p.Next == nil {
				return found
			}
			query.Set("cursor", *p.Next)
		}
	}
	r.figures.SalesByCountry = all("sales-by-country", func(s sales) string { return s.Country })
	r.figures.SalesByMonth = all("sales-by-month", func(s sales) string { return s.Month })
}

func (r *figuresReader) readTops() {
	type product struct {
		Sku       string
		UnitsSold int64
	}
	products := page[product](r, "products", url.Values{"limit": {"10"}, "sort": {"-unitsSold,sku"}})
	r.figures.Skus = products.Total
	r.figures.TopSkusByUnits = []SkuUnits{}
	for _, p := range products.Items {
		if p.UnitsSold > 0 {
			r.figures.TopSkusByUnits = append(r.figures.TopSkusByUnits, SkuUnits{p.Sku, p.UnitsSold})
		}
	}
	r.figures.Customers = page[struct{}](r, "customers", url.Values{"limit": {"1"}}).Total
	largest := page[struct{ OrderID, Total string }](r, "orders", url.Values{"limit": {"1"}, "sort": {"-total,orderId"}, "filter[status]": {"PLACED"}})
	if len(largest.Items) > 0 {
		r.figures.LargestOrder = new(OrderTotal(largest.Items[0]))
	}
}

// WriteJSON writes the figures for programs, in the form of the reference
// figures.
func (f Figures) WriteJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(f)
}

// WriteTable writes the figures for people.
func (f Figures) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	line("invoice lines", f.Rows)
	line("orders", fmt.Sprintf("%d (%d lines, %d units, %d by guests)", f.Orders, f.OrderLines, f.UnitsSold, f.GuestOrders))
	line("credit notes", f.CreditNotes)
	line("stock adjustments", f.StockAdjustments)
	line("ledger adjustments", f.LedgerAdjustments)
	line("sales", f.Sales)
	line("credits", f.Credits)
	line("adjustments", f.Adjustments)
	line("products", f.Skus)
	line("customers", f.Customers)
	if f.LargestOrder != nil {
		line("largest order", f.LargestOrder.OrderID+" ("+f.LargestOrder.Total+")")
	}
	line("\nsales by month", "")
	for _, month := range slices.Sorted(maps.Keys(f.SalesByMonth)) {
		line("  "+month, f.SalesByMonth[month])
	}
	line("\nsales by country", "")
	for _, country := range slices.Sorted(maps.Keys(f.SalesByCountry)) {
		line("  "+country, f.SalesByCountry[country])
	}
	line("\nmost sold", "units")
	for _, top := range f.TopSkusByUnits {
		line("  "+top.Sku, top.Units)
	}
	return w.Flush()
}
