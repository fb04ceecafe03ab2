package shop

import (
	"strconv"
	"strings"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// Bounds of one invoice.
const (
	// LinesMax is the greatest number of lines of an order or credit note.
	LinesMax = 5000
	// ValueMax is the greatest value of an order, credit note or ledger entry,
	// a billion pounds: read models add up millions of them in 64 bits.
	ValueMax avro.Milli = 1_000_000_000_000

	// The schemas' bounds of texts, in characters: of codes, which are ids,
	// numbers of documents and references, and of countries.
	codeMax    = 64
	countryMax = 100

	// faultsMax bounds the answer to an invoice that is wrong in every line.
	faultsMax = 20
)

// invoice is what orders and credit notes have in common, to be judged.
type invoice struct {
	customerID *string
	country    string
	time       avro.Millis
	timeField  string // JSON pointer
	lines      []retail.Line
	sold       bool // quantities are positive; else negative
}

// faults finds what is wrong in the order of the fields, at most faultsMax.
func (i invoice) faults() []domain.Fault {
	var faults []domain.Fault
	if i.customerID != nil {
		faults = append(faults, textFaults("/customerId", *i.customerID, codeMax)...)
	}
	faults = append(faults, textFaults("/country", i.country, countryMax)...)
	faults = append(faults, timeFaults(i.timeField, i.time)...)
	switch n := len(i.lines); {
	case n == 0:
		return append(faults, domain.Faultf("/lines", "empty", "there must be at least one line"))
	case n > LinesMax:
		return append(faults, domain.Faultf("/lines", "too-many", "%d lines, at most %d are allowed", n, LinesMax))
	}
	var value avro.Milli
	for n, line := range i.lines {
		of, found := i.lineFaults(n, line)
		faults, value = append(faults, found...), value+of
		if len(faults) >= faultsMax {
			return faults[:faultsMax]
		}
	}
	if value > ValueMax {
		faults = append(faults, domain.Faultf("/lines", "too-large", "the lines are worth more than %s pounds", ValueMax))
	}
	return faults
}

// lineFaults judges line n and returns its value without the sign, or 0 and
// faults. Pointers are made for faults alone: most lines have none.
func (i invoice) lineFaults(n int, l retail.Line) (avro.Milli, []domain.Fault) {
	var faults []domain.Fault
	pointer := func(field string) string { return "/lines/" + strconv.Itoa(n) + "/" + field }
	if domain.ValidID(l.Sku) != nil {
		faults = textFaults(pointer("sku"), l.Sku, codeMax)
	}
	units := int64(l.Quantity)
	switch {
	case i.sold && units <= 0:
		faults = append(faults, domain.Faultf(pointer("quantity"), "not-positive", "an ordered quantity is at least 1, got %d", units))
	case !i.sold && units >= 0:
		faults = append(faults, domain.Faultf(pointer("quantity"), "not-negative", "a credited quantity is at most -1, got %d", units))
	}
	units = max(units, -units, 1)
	switch {
	case l.UnitPrice < 0:
		faults = append(faults, domain.Faultf(pointer("unitPrice"), "negative", "a price is at least 0, got %s", l.UnitPrice))
	case l.UnitPrice > ValueMax/avro.Milli(units):
		faults = append(faults, domain.Faultf(pointer("unitPrice"), "too-large", "the line is worth more than %s pounds", ValueMax))
	}
	if len(faults) > 0 {
		return 0, faults
	}
	return avro.Milli(units) * l.UnitPrice, nil
}

// textFaults judges a text that is the key of a document or a reference: the
// rules of an aggregate id. The schema's bound, which the gateway has judged, is
// what people are told.
func textFaults(pointer, text string, most int) []domain.Fault {
	faults := domain.ValidID(text)
	for i, f := range faults {
		faults[i] = domain.Faultf(pointer, strings.TrimPrefix(f.Code, "id-"),
			"must be 1 to %d characters of UTF-8, none of them a control character", most)
	}
	return faults
}

// timeFaults refuses times that have no form in JSON.
func timeFaults(pointer string, at avro.Millis) []domain.Fault {
	if year := at.Time().Year(); year < 1 || year > 9999 {
		return []domain.Fault{domain.Faultf(pointer, "out-of-range", "the time lies outside of the years 1 to 9999")}
	}
	return nil
}

// value is what the lines are worth: negative for a credit note.
func value(lines []retail.Line) avro.Milli {
	var sum avro.Milli
	for _, l := range lines {
		sum += avro.Milli(l.Quantity) * l.UnitPrice
	}
	return sum
}

func units(lines []retail.Line) int64 {
	var sum int64
	for _, l := range lines {
		sum += int64(l.Quantity)
	}
	return sum
}
