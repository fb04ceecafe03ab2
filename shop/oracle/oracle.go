// Package oracle computes the figures that a correct system reports, from the
// lines of the CSV files alone: whole thousandths, the standard library's CSV
// reader, no aggregate, no projection and no code of theirs. Tests compare a
// system with it.
package oracle

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// Figures are those of a system that has loaded the sources. The error says
// which source cannot be read.
func Figures(sources ...retailcsv.Source) (shop.Figures, error) {
	s := newSums()
	for _, source := range sources {
		if err := s.read(source); err != nil {
			return shop.Figures{}, fmt.Errorf("%s: %w", source.Name, err)
		}
	}
	return s.figures(), nil
}

func (s *sums) read(source retailcsv.Source) error {
	file, err := source.Open()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var in io.Reader = file
	if strings.HasSuffix(source.Name, ".gz") {
		if in, err = gzip.NewReader(file); err != nil {
			return err
		}
	}
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil {
		return err
	}
	for _, row := range rows[1:] {
		if err := s.add(row); err != nil {
			return err
		}
	}
	return nil
}

// Differences says where two sets of figures differ, key for key, money as
// numbers; nil means nowhere. The error says which money is none.
func Differences(want, got shop.Figures) ([]string, error) {
	a, err := canonical(want)
	if err != nil {
		return nil, err
	}
	b, err := canonical(got)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, key := range slices.Sorted(maps.Keys(a)) {
		if a[key] != b[key] {
			all = append(all, fmt.Sprintf("%s\n  want %s\n  got  %s", key, a[key], b[key]))
		}
	}
	return all, nil
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

func (s *sums) add(row []string) error {
	number, sku, at, customer, country := row[0], row[1], row[4], strings.TrimSuffix(row[6], ".0"), row[7]
	quantity, err := strconv.ParseInt(row[3], 10, 64)
	if err != nil {
		return err
	}
	price, err := thousandths(row[5])
	if err != nil {
		return err
	}
	value := quantity * price
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
	return nil
}

func thousandths(price string) (int64, error) {
	whole, fraction, _ := strings.Cut(price, ".")
	if len(fraction) > 3 {
		return 0, fmt.Errorf("price %q has more than three decimals", price)
	}
	return strconv.ParseInt(whole+(fraction + "000")[:3], 10, 64)
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

// canonical is the JSON of every key, with money in one form.
func canonical(f shop.Figures) (map[string]string, error) {
	var failed error
	money := func(text string) string {
		amount, err := avro.ParseMilli(text)
		if err != nil {
			failed = fmt.Errorf("%q is no money: %w", text, err)
		}
		return amount.String()
	}
	moneys := func(texts map[string]string) map[string]string {
		out := map[string]string{}
		for key, text := range texts {
			out[key] = money(text)
		}
		return out
	}
	f.Sales, f.Credits, f.Adjustments = money(f.Sales), money(f.Credits), money(f.Adjustments)
	f.SalesByCountry, f.SalesByMonth = moneys(f.SalesByCountry), moneys(f.SalesByMonth)
	if f.LargestOrder != nil {
		f.LargestOrder = &shop.OrderTotal{OrderID: f.LargestOrder.OrderID, Total: money(f.LargestOrder.Total)}
	}
	if failed != nil {
		return nil, failed
	}
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for key, value := range raw {
		out[key] = string(value)
	}
	return out, nil
}
