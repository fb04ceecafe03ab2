package shop_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/domain/domaintest"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
)

var returned = retail.Line{Sku: "22197", Description: "MUG", Quantity: -2, UnitPrice: 2550}

func issueCreditNote(lines ...retail.Line) *retail.IssueCreditNote {
	return &retail.IssueCreditNote{CreditNoteID: "C536379", CustomerID: new("17850"), Country: "France", IssuedAt: december + hour, Lines: lines}
}

func creditNoteIssued(lines ...retail.Line) *retail.CreditNoteIssued {
	return &retail.CreditNoteIssued{CreditNoteID: "C536379", CustomerID: new("17850"), Country: "France", IssuedAt: december + hour, Lines: lines}
}

func TestCreditNote(t *testing.T) {
	t.Run("is issued", func(t *testing.T) {
		domaintest.Given(t, shop.CreditNote).When(issueCreditNote(returned)).Then(creditNoteIssued(returned))
	})
	t.Run("is issued once", func(t *testing.T) {
		domaintest.Given(t, shop.CreditNote, creditNoteIssued(returned)).When(issueCreditNote(returned)).ThenRejected("credit-note-already-issued")
	})
	t.Run("keeps what it was", func(t *testing.T) {
		domaintest.Given(t, shop.CreditNote, creditNoteIssued(returned)).ThenState(&retail.CreditNote{
			Issued: true, CustomerID: new("17850"), Country: "France", IssuedAt: december + hour, Lines: []retail.Line{returned},
		})
	})
	for name, c := range map[string]struct {
		alter         func(*retail.IssueCreditNote)
		pointer, code string
	}{
		"a number without C":  {func(c *retail.IssueCreditNote) { c.CreditNoteID = "536379" }, "/creditNoteId", "wrong-prefix"},
		"an empty customer":   {func(c *retail.IssueCreditNote) { c.CustomerID = new("") }, "/customerId", "empty"},
		"no country":          {func(c *retail.IssueCreditNote) { c.Country = "" }, "/country", "empty"},
		"a time far away":     {func(c *retail.IssueCreditNote) { c.IssuedAt = math.MinInt64 }, "/issuedAt", "out-of-range"},
		"no line":             {func(c *retail.IssueCreditNote) { c.Lines = nil }, "/lines", "empty"},
		"a quantity of 0":     {func(c *retail.IssueCreditNote) { c.Lines[0].Quantity = 0 }, "/lines/0/quantity", "not-negative"},
		"a quantity above 0":  {func(c *retail.IssueCreditNote) { c.Lines[0].Quantity = 2 }, "/lines/0/quantity", "not-negative"},
		"a price below 0":     {func(c *retail.IssueCreditNote) { c.Lines[0].UnitPrice = -1 }, "/lines/0/unitPrice", "negative"},
		"a line worth a lot":  {func(c *retail.IssueCreditNote) { c.Lines[0].UnitPrice = shop.ValueMax }, "/lines/0/unitPrice", "too-large"},
		"the least quantity":  {func(c *retail.IssueCreditNote) { c.Lines[0].Quantity = math.MinInt32 }, "/lines/0/unitPrice", "too-large"},
		"no stock code":       {func(c *retail.IssueCreditNote) { c.Lines[0].Sku = "" }, "/lines/0/sku", "empty"},
		"a strange stockcode": {func(c *retail.IssueCreditNote) { c.Lines[0].Sku = "a\nb" }, "/lines/0/sku", "control-character"},
	} {
		t.Run("with "+name+" is invalid", func(t *testing.T) {
			command := issueCreditNote(returned)
			c.alter(command)
			domaintest.Given(t, shop.CreditNote).When(command).ThenInvalid(c.pointer, c.code)
		})
	}
}

// What people are told is the schema's bound, which the gateway judges first.
func TestFaults_nameTheBoundOfTheSchema(t *testing.T) {
	line := retail.Line{Sku: "", Quantity: 1}
	place := retail.PlaceOrder{OrderID: "1", CustomerID: new(""), Country: "", Lines: []retail.Line{line}}
	receive := retail.ReceiveStock{Sku: "A", Quantity: 1}
	for _, c := range []struct {
		faults []domain.Fault
		bounds map[string]*avro.Field
	}{
		{shop.Order.Validate(&place), map[string]*avro.Field{
			"/customerId": field("shop.order.PlaceOrder", "customerId"), "/country": field("shop.order.PlaceOrder", "country"),
			"/lines/0/sku": field("shop.order.Line", "sku"),
		}},
		{shop.Stock.Validate(&receive), map[string]*avro.Field{"/reference": field("shop.stock.ReceiveStock", "reference")}},
	} {
		if len(c.faults) != len(c.bounds) {
			t.Errorf("faults %v", c.faults)
		}
		for _, f := range c.faults {
			of := c.bounds[f.Pointer].Type()
			if of.Nullable() {
				of = of.NonNull()
			}
			if want := fmt.Sprintf("must be 1 to %d characters", of.MaxLength()); !strings.HasPrefix(f.Detail, want) {
				t.Errorf("%s: %q, want %q", f.Pointer, f.Detail, want)
			}
		}
	}
}

func field(record, name string) *avro.Field {
	return avro.Sets{retail.Schemas}.Find(record).Schema().Field(name)
}

func TestLedger(t *testing.T) {
	adjust := func() *retail.AdjustLedger {
		return &retail.AdjustLedger{EntryID: "A563186", AdjustedAt: december, Amount: -11_062_060, Description: "Adjust bad debt"}
	}
	adjusted := &retail.LedgerAdjusted{EntryID: "A563186", AdjustedAt: december, Amount: -11_062_060, Description: "Adjust bad debt"}
	t.Run("is adjusted", func(t *testing.T) {
		domaintest.Given(t, shop.Ledger).When(adjust()).Then(adjusted)
	})
	t.Run("is adjusted once per entry", func(t *testing.T) {
		domaintest.Given(t, shop.Ledger, adjusted).When(adjust()).ThenRejected("ledger-already-adjusted")
	})
	t.Run("keeps what it was", func(t *testing.T) {
		domaintest.Given(t, shop.Ledger, adjusted).ThenState(&retail.Ledger{
			Adjusted: true, AdjustedAt: december, Amount: -11_062_060, Description: "Adjust bad debt",
		})
	})
	for name, c := range map[string]struct {
		alter         func(*retail.AdjustLedger)
		pointer, code string
	}{
		"a number without A": {func(c *retail.AdjustLedger) { c.EntryID = "563186" }, "/entryId", "wrong-prefix"},
		"a time far away":    {func(c *retail.AdjustLedger) { c.AdjustedAt = math.MaxInt64 }, "/adjustedAt", "out-of-range"},
		"a great amount":     {func(c *retail.AdjustLedger) { c.Amount = shop.ValueMax + 1 }, "/amount", "too-large"},
		"the least amount":   {func(c *retail.AdjustLedger) { c.Amount = math.MinInt64 }, "/amount", "too-large"},
	} {
		t.Run("with "+name+" is invalid", func(t *testing.T) {
			command := adjust()
			c.alter(command)
			domaintest.Given(t, shop.Ledger).When(command).ThenInvalid(c.pointer, c.code)
		})
	}
}

func stockReceived(quantity int32, reference string) *retail.StockReceived {
	return &retail.StockReceived{Sku: "22197", Description: "MUG", Quantity: quantity, Reference: reference}
}

func stockAdjusted(quantity int32, reference string) *retail.StockAdjusted {
	return &retail.StockAdjusted{Sku: "22197", Description: "MUG", Quantity: quantity, Reference: reference}
}

func TestStock(t *testing.T) {
	receive := func(quantity int32, reference string) *retail.ReceiveStock {
		return &retail.ReceiveStock{Sku: "22197", Description: "MUG", Quantity: quantity, Reference: reference}
	}
	adjust := func(quantity int32, reference string) *retail.AdjustStock {
		return &retail.AdjustStock{Sku: "22197", Description: "MUG", Quantity: quantity, Reference: reference}
	}
	t.Run("is received", func(t *testing.T) {
		domaintest.Given(t, shop.Stock).When(receive(12, "PO-1")).Then(stockReceived(12, "PO-1"))
	})
	t.Run("is adjusted, below nothing too", func(t *testing.T) {
		domaintest.Given(t, shop.Stock).When(adjust(-10, "536589")).Then(stockAdjusted(-10, "536589"))
		domaintest.Given(t, shop.Stock, stockAdjusted(-10, "536589")).When(adjust(3, "536590")).Then(stockAdjusted(3, "536590"))
	})
	t.Run("books a reference once, whatever the command", func(t *testing.T) {
		booked := domaintest.Given(t, shop.Stock, stockReceived(12, "PO-2"), stockAdjusted(-1, "PO-1"), stockReceived(5, "PO-3"))
		for _, reference := range []string{"PO-1", "PO-2", "PO-3"} {
			booked.When(receive(1, reference)).ThenRejected("reference-already-booked")
			booked.When(adjust(1, reference)).ThenRejected("reference-already-booked")
		}
		booked.When(adjust(1, "PO-2#2")).Then(stockAdjusted(1, "PO-2#2"))
	})
	t.Run("keeps its references sorted", func(t *testing.T) {
		domaintest.Given(t, shop.Stock, stockReceived(12, "b"), stockAdjusted(-1, "d"), stockReceived(5, "a"), stockAdjusted(-20, "c")).
			ThenState(&retail.Stock{OnHand: -4, References: []string{"a", "b", "c", "d"}})
	})
	t.Run("is validated", func(t *testing.T) {
		domaintest.Given(t, shop.Stock).When(receive(0, "PO-1")).ThenInvalid("/quantity", "not-positive")
		domaintest.Given(t, shop.Stock).When(receive(-1, "PO-1")).ThenInvalid("/quantity", "not-positive")
		domaintest.Given(t, shop.Stock).When(receive(1, "")).ThenInvalid("/reference", "empty")
		domaintest.Given(t, shop.Stock).When(adjust(0, "PO-1")).ThenInvalid("/quantity", "zero")
		domaintest.Given(t, shop.Stock).When(adjust(1, "a\x7f")).ThenInvalid("/reference", "control-character")
		domaintest.Given(t, shop.Stock).When(&retail.AdjustStock{Quantity: 1, Reference: "PO-1"}).ThenInvalid("/sku", "id-empty")
	})
}
