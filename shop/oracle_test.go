package shop_test

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/data"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// figuresOf computes the figures from the lines of CSV files alone: whole
// thousandths, the standard library's CSV reader, no aggregate, no projection
// and no code of theirs.
func figuresOf(t testing.TB, sources ...retailcsv.Source) shop.Figures {
	t.Helper()
	s := newSums()
	for _, source := range sources {
		file, err := source.Open()
		if err != nil {
			t.Fatal(err)
		}
		var in io.Reader = file
		if strings.HasSuffix(source.Name, ".gz") {
			if in, err = gzip.NewReader(file); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := csv.NewReader(in).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			s.add(t, row)
		}
		file.Close()
	}
	return s.figures()
}

// sums gathers rows; money is in thousandths.
type sums struct {
	f                                       shop.Figures
	orders, guests, notes, skus, customers  map[string]bool
	sales, credits, adjustments             int64
	byCountry, byMonth, byOrder, unitsBySku map[string]int64
	firstTimeOf                             map[string]string
}

func newSums() *sums {
	set, numbers := func() map[string]bool { return map[string]bool{} }, func() map[string]int64 { return map[string]int64{} }
	return &sums{
		orders: set(), guests: set(), notes: set(), skus: set(), customers: set(),
		byCountry: numbers(), byMonth: numbers(), byOrder: numbers(), unitsBySku: numbers(), firstTimeOf: map[string]string{},
	}
}

func (s *sums) add(t testing.TB, row []string) {
	t.Helper()
	number, sku, at, customer, country := row[0], row[1], row[4], strings.TrimSuffix(row[6], ".0"), row[7]
	quantity, err := strconv.ParseInt(row[3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	value := quantity * thousandths(t, row[5])
	s.f.Rows++
	if number[0] != 'A' { // a ledger entry is about no product
		s.skus[sku] = true
	}
	if customer != "" {
		s.customers[customer] = true
	}
	switch {
	case number[0] == 'C':
		s.notes[number] = true
		s.credits += value
	case number[0] == 'A':
		s.f.LedgerAdjustments++
		s.adjustments += value
	case quantity < 0:
		s.f.StockAdjustments++
	default:
		s.orders[number] = true
		s.guests[number] = customer == ""
		if s.firstTimeOf[number] == "" {
			s.firstTimeOf[number] = at
		}
		s.f.OrderLines++
		s.f.UnitsSold += quantity
		s.sales += value
		s.byCountry[country] += value
		s.byMonth[s.firstTimeOf[number][:7]] += value
		s.byOrder[number] += value
		s.unitsBySku[sku] += quantity
	}
}

func thousandths(t testing.TB, price string) int64 {
	t.Helper()
	whole, fraction, _ := strings.Cut(price, ".")
	if len(fraction) > 3 {
		t.Fatalf("price %q", price)
	}
	n, err := strconv.ParseInt(whole+(fraction + "000")[:3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func pounds(thousandths int64) string { return big.NewRat(thousandths, 1000).FloatString(3) }

func (s *sums) figures() shop.Figures {
	f := s.f
	f.Orders, f.CreditNotes, f.Skus, f.Customers = int64(len(s.orders)), int64(len(s.notes)), int64(len(s.skus)), int64(len(s.customers))
	for _, guest := range s.guests {
		if guest {
			f.GuestOrders++
		}
	}
	f.Sales, f.Credits, f.Adjustments = pounds(s.sales), pounds(s.credits), pounds(s.adjustments)
	f.SalesByCountry, f.SalesByMonth = texts(s.byCountry), texts(s.byMonth)
	for _, sku := range greatest(s.unitsBySku, 10) {
		f.TopSkusByUnits = append(f.TopSkusByUnits, shop.SkuUnits{Sku: sku, Units: s.unitsBySku[sku]})
	}
	for _, id := range greatest(s.byOrder, 1) {
		f.LargestOrder = &shop.OrderTotal{OrderID: id, Total: pounds(s.byOrder[id])}
	}
	return f
}

func texts(sums map[string]int64) map[string]string {
	out := map[string]string{}
	for key, sum := range sums {
		out[key] = pounds(sum)
	}
	return out
}

// greatest are the keys of the greatest values, by key where they are equal.
func greatest(sums map[string]int64, n int) []string {
	var keys []string
	for key := range sums {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(sums[b], sums[a]), strings.Compare(a, b))
	})
	return keys[:min(n, len(keys))]
}

// sameFigures compares two sets of figures key for key, money as numbers.
func sameFigures(t testing.TB, want, got shop.Figures) {
	t.Helper()
	a, b := canonical(t, want), canonical(t, got)
	for key := range a {
		if a[key] != b[key] {
			t.Errorf("%s\n  want %s\n  got  %s", key, a[key], b[key])
		}
	}
}

// canonical is the JSON of every key, with money in one form.
func canonical(t testing.TB, f shop.Figures) map[string]string {
	t.Helper()
	money := func(text string) string {
		amount, err := avro.ParseMilli(text)
		if err != nil {
			t.Fatalf("%q is no money: %v", text, err)
		}
		return amount.String()
	}
	f.Sales, f.Credits, f.Adjustments = money(f.Sales), money(f.Credits), money(f.Adjustments)
	countries, months := map[string]string{}, map[string]string{}
	for country, sales := range f.SalesByCountry {
		countries[country] = money(sales)
	}
	for month, sales := range f.SalesByMonth {
		months[month] = money(sales)
	}
	f.SalesByCountry, f.SalesByMonth = countries, months
	if f.LargestOrder != nil {
		f.LargestOrder = &shop.OrderTotal{OrderID: f.LargestOrder.OrderID, Total: money(f.LargestOrder.Total)}
	}
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for key, value := range raw {
		out[key] = string(value)
	}
	return out
}

// shipped are the figures that the data came with.
func shipped(t testing.TB) shop.Figures {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(data.Figures)))
	decoder.DisallowUnknownFields()
	var f shop.Figures
	if err := decoder.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFiguresOf_TheSixMonthsAreTheShippedOnes(t *testing.T) {
	sameFigures(t, shipped(t), figuresOf(t, shop.Sample()...))
}
