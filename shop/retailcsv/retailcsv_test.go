package retailcsv_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

const header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

func source(name string, content []byte) retailcsv.Source {
	return retailcsv.Source{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}

// csv is a source of the header and these lines.
func csv(name string, lines ...string) retailcsv.Source {
	text := header
	for _, l := range lines {
		text += l + "\n"
	}
	return source(name, []byte(text))
}

func packed(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func read(sources ...retailcsv.Source) ([]retailcsv.Command, error) {
	var commands []retailcsv.Command
	for c, err := range retailcsv.Commands(sources...) {
		if err != nil {
			return commands, err
		}
		commands = append(commands, c)
	}
	return commands, nil
}

// jsonOf renders commands as the API takes them, an id before each.
func jsonOf(t testing.TB, commands []retailcsv.Command) string {
	t.Helper()
	var text []byte
	for _, c := range commands {
		text = append(append(text, c.ID...), ' ')
		entry := avro.Sets{retail.Schemas}.Find(c.Record.AvroName())
		var err error
		if text, err = avro.AppendJSON(text, entry.Schema(), c.Record.AppendAvro(nil)); err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
	}
	return string(text)
}

func TestCommands_OfEveryKind(t *testing.T) {
	got, err := read(csv("test.csv",
		`536365,85123A,WHITE HANGING HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom`,
		`536365,84029E,"HEART, ""RED""",2,2010-12-01 08:27:00,10,17850.0,United Kingdom`,
		`536366,22633,,1,2010-12-01 08:28:00,0,,Unspecified`,
		`C536379,D,Discount,-1,2010-12-01 09:41:00,27.5,14527,EIRE`,
		`536589,21777,,-10,2010-12-01 16:50:00,0.0,,United Kingdom`,
		`536589,21777,again,-10,2010-12-01 16:50:00,0,,United Kingdom`,
		`536589,21778,,-1,2010-12-01 16:50:00,0,,United Kingdom`,
		`A563186,B,Adjust bad debt,1,2011-08-12 14:51:00,-11062.06,,United Kingdom`,
	))
	if err != nil {
		t.Fatal(err)
	}
	want := `load:order:536365 {"orderId":"536365","customerId":"17850","country":"United Kingdom","placedAt":"2010-12-01T08:26:00Z","lines":[{"sku":"85123A","description":"WHITE HANGING HEART","quantity":6,"unitPrice":"2.55"},{"sku":"84029E","description":"HEART, \"RED\"","quantity":2,"unitPrice":"10.00"}]}
load:order:536366 {"orderId":"536366","customerId":null,"country":"Unspecified","placedAt":"2010-12-01T08:28:00Z","lines":[{"sku":"22633","description":"","quantity":1,"unitPrice":"0.00"}]}
load:creditnote:C536379 {"creditNoteId":"C536379","customerId":"14527","country":"EIRE","issuedAt":"2010-12-01T09:41:00Z","lines":[{"sku":"D","description":"Discount","quantity":-1,"unitPrice":"27.50"}]}
load:stock:21777:536589 {"sku":"21777","description":"","quantity":-10,"reference":"536589"}
load:stock:21777:536589#2 {"sku":"21777","description":"again","quantity":-10,"reference":"536589#2"}
load:stock:21778:536589 {"sku":"21778","description":"","quantity":-1,"reference":"536589"}
load:ledger:A563186 {"entryId":"A563186","adjustedAt":"2011-08-12T14:51:00Z","amount":"-11062.06","description":"Adjust bad debt"}
`
	if text := jsonOf(t, got); text != want {
		t.Errorf("commands\n%s\nwant\n%s", text, want)
	}
}

const (
	a1 = `1,A,first of 1,1,2010-12-01 08:26:00,1,,EIRE`
	a2 = `1,B,second of 1,1,2010-12-01 08:27:00,1,,EIRE`
	b1 = `2,A,first of 2,1,2010-12-01 08:26:00,1,,EIRE`
	b2 = `2,B,second of 2,1,2010-12-01 08:27:00,1,,EIRE`
)

func TestCommands_LinesThatStandApartAreOneInvoice(t *testing.T) {
	together, err := read(csv("test.csv", a1, a2, b1, b2))
	if err != nil {
		t.Fatal(err)
	}
	want := jsonOf(t, together)
	for name, sources := range map[string][]retailcsv.Source{
		"mixed with another":          {csv("test.csv", a1, b1, a2, b2)},
		"over two files":              {csv("a.csv", a1), csv("b.csv", a2, b1, b2)},
		"mixed with another over two": {csv("a.csv", a1, b1), csv("b.csv", b2, a2)},
		"compressed":                  {source("x.gz", packed([]byte(header+a1+"\n"+b1+"\n"))), csv("b.csv", a2, b2)},
		"with a byte order mark":      {source("x", []byte("\ufeff"+header+a1+"\n"+a2+"\n"+b1+"\n"+b2+"\n"))},
		"a mark in a compressed one":  {source("x.gz", packed([]byte("\ufeff"+header+a1+"\n"+a2+"\n"+b1+"\n"+b2+"\n")))},
		"with carriage returns":       {source("x", []byte(strings.ReplaceAll(header+a1+"\n"+a2+"\n"+b1+"\n"+b2+"\n", "\n", "\r\n")))},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(sources...)
			if err != nil {
				t.Fatal(err)
			}
			if text := jsonOf(t, got); text != want {
				t.Errorf("commands\n%s\nwant\n%s", text, want)
			}
		})
	}
}

func TestCommands_ALateContinuationIsAnotherCommandOfTheSameID(t *testing.T) {
	lines := []string{a1}
	for n := range 1001 {
		lines = append(lines, fmt.Sprintf("%d,A,,1,2010-12-01 08:26:00,1,,EIRE", 1000+n))
	}
	ids := func(lines []string) (count, total int) {
		commands, err := read(csv("test.csv", lines...))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commands {
			if c.ID == "load:order:1" {
				count++
			}
		}
		return count, len(commands)
	}
	if count, total := ids(append(slices.Clone(lines[:1000]), a2)); count != 1 || total != 1000 {
		t.Errorf("a gap of 999 lines: %d commands for the invoice, %d in all; want 1 and 1000", count, total)
	}
	if count, total := ids(append(lines, a2)); count != 2 || total != 1003 {
		t.Errorf("a gap of 1001 lines: %d commands for the invoice, %d in all; want 2 and 1003", count, total)
	}
}

func TestCommands_AnInvoiceThatIsCutOffIsNotHandedOut(t *testing.T) {
	commands, err := read(csv("test.csv", b1, a1, "1,A,,broken"))
	if err == nil || len(commands) != 0 {
		t.Errorf("got %d commands and %v; the invoices may go on after the broken line", len(commands), err)
	}
}

func TestCommands_AFileThatCannotBeOpened(t *testing.T) {
	_, err := read(retailcsv.File(t.TempDir() + "/none.csv"))
	if err == nil || !strings.Contains(err.Error(), "opening ") || !strings.Contains(err.Error(), "none.csv") {
		t.Errorf("error %v", err)
	}
}

func TestCommands_StopsWhenNobodyWantsMore(t *testing.T) {
	lines := []string{}
	for n := range 3000 {
		lines = append(lines, fmt.Sprintf("%d,A,,1,2010-12-01 08:26:00,1,,EIRE", n))
	}
	n := 0
	for _, err := range retailcsv.Commands(csv("test.csv", lines...)) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("got %d commands, want 2", n)
	}
}

func TestCommands_MixedUpInvoicesAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(header)
	for n := range 100_001 {
		fmt.Fprintf(&b, "%d,A,,1,2010-12-01 08:26:00,1,,EIRE\n", n%900)
	}
	_, err := read(source("f.csv", []byte(b.String())))
	if err == nil || !strings.Contains(err.Error(), "more than 100000 lines of invoices that are mixed up") {
		t.Errorf("error %v", err)
	}
}
