package retailcsv_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

func TestCommands_SayWhatIsWrongAndWhere(t *testing.T) {
	good := header + a1 + "\n"
	row := func(format string, args ...any) string { return good + fmt.Sprintf(format, args...) + "\n" }
	for name, c := range map[string]struct {
		content string
		want    string
	}{
		"an empty file":                    {"", "f.csv: the file is empty; want the header InvoiceNo,"},
		"a wrong header":                   {"Invoice,StockCode\n" + a1, `f.csv, line 1: "Invoice,StockCode": want the header`},
		"two byte order marks":             {"\ufeff\ufeff" + good, `f.csv, line 1: "\ufeffInvoiceNo`},
		"no header":                        {a1 + "\n", "line 1"},
		"a missing column":                 {row("2,A,,1,2010-12-01 08:26:00,1,"), "f.csv, line 3: the line ends before column Country"},
		"a column too many":                {row(a1 + ",x"), "f.csv, line 3: \"x\": more than 8 columns"},
		"an empty line":                    {row(""), "f.csv, line 3: the line ends before column StockCode"},
		"no invoice number":                {row(",A,,1,2010-12-01 08:26:00,1,,EIRE"), `line 3, column InvoiceNo: "": want an invoice number`},
		"a strange number":                 {row("X12,A,,1,2010-12-01 08:26:00,1,,EIRE"), `column InvoiceNo: "X12"`},
		"two letters":                      {row("AC12,A,,1,2010-12-01 08:26:00,1,,EIRE"), `column InvoiceNo: "AC12"`},
		"no stock code":                    {row("1,,,1,2010-12-01 08:26:00,1,,EIRE"), `column StockCode: "": want 1 to 64 characters`},
		"a long description":               {row("1,A,%s,1,2010-12-01 08:26:00,1,,EIRE", strings.Repeat("x", 1001)), "column Description"},
		"a quantity in words":              {row("1,A,,six,2010-12-01 08:26:00,1,,EIRE"), `f.csv, line 3, column Quantity: "six": want a whole number`},
		"a quantity of 0":                  {row("1,A,,0,2010-12-01 08:26:00,1,,EIRE"), `column Quantity: "0"`},
		"a fractional quantity":            {row("1,A,,1.5,2010-12-01 08:26:00,1,,EIRE"), `column Quantity: "1.5"`},
		"a quantity of 33 bits":            {row("1,A,,4294967296,2010-12-01 08:26:00,1,,EIRE"), `column Quantity`},
		"a quantity with a plus":           {row("1,A,,+1,2010-12-01 08:26:00,1,,EIRE"), `column Quantity`},
		"no quantity":                      {row("1,A,,,2010-12-01 08:26:00,1,,EIRE"), `column Quantity: ""`},
		"a price in words":                 {row("1,A,,1,2010-12-01 08:26:00,free,,EIRE"), `column UnitPrice: "free": want a price in pounds`},
		"a price of 4 decimals":            {row("1,A,,1,2010-12-01 08:26:00,1.0001,,EIRE"), `column UnitPrice: "1.0001": want a price of at most three decimals`},
		"a price as a power":               {row("1,A,,1,2010-12-01 08:26:00,1e3,,EIRE"), `column UnitPrice: "1e3"`},
		"a price below 0":                  {row("1,A,,1,2010-12-01 08:26:00,-1,,EIRE"), `column UnitPrice: "-1": want a price of at least 0 in an order`},
		"a date of another form":           {row("1,A,,1,01/12/2010 08:26,1,,EIRE"), `column InvoiceDate: "01/12/2010 08:26": want a time in UTC`},
		"a date that is not":               {row("1,A,,1,2010-02-30 08:26:00,1,,EIRE"), `column InvoiceDate: "2010-02-30 08:26:00"`},
		"a fraction of a second":           {row("1,A,,1,2010-12-01 08:26:00.5,1,,EIRE"), `column InvoiceDate`},
		"a named customer":                 {row("2,A,,1,2010-12-01 08:26:00,1,Smith,EIRE"), `column CustomerID: "Smith": want a customer number`},
		"half a customer":                  {row("2,A,,1,2010-12-01 08:26:00,1,17850.5,EIRE"), `column CustomerID: "17850.5"`},
		"no country":                       {row("2,A,,1,2010-12-01 08:26:00,1,,"), `column Country: "": want 1 to 100 characters`},
		"invalid UTF-8":                    {row("1,A,\xff\xfe,1,2010-12-01 08:26:00,1,,EIRE"), `line 3, column Description: "\xff\xfe": not valid UTF-8`},
		"a control character":              {row("1,A,a\x00b,1,2010-12-01 08:26:00,1,,EIRE"), `column Description: "a\x00b": contains a control character`},
		"a control character of two bytes": {row("1,A,a\u0085b,1,2010-12-01 08:26:00,1,,EIRE"), `contains a control character`},
		"an open quote":                    {row("1,A,\"open,1,2010-12-01 08:26:00,1,,EIRE\n" + a1), "line 3, column Description: \"\\\"open,1"},
		"a quote inside":                   {row("1,A,in\"side,1,2010-12-01 08:26:00,1,,EIRE"), "a quote inside a field"},
		"text after the quote":             {row("1,A,\"x\"y,1,2010-12-01 08:26:00,1,,EIRE"), "text after the closing quote"},
		"an endless line":                  {row("1,A,%s", strings.Repeat("x", 70_000)), "the line is longer than 64 KiB"},
		"no line end":                      {good + "2,A,,1,2010-12-01 08:26:00,1,,United King", "the last line has no line end"},
		"mixed signs":                      {row("1,A,,-1,2010-12-01 08:26:00,0,,EIRE"), `f.csv, line 3, column InvoiceNo: "1": the invoice mixes an order and a write-off`},
		"two customers":                    {row("1,A,,1,2010-12-01 08:26:00,1,17850.0,EIRE"), `line 3, column InvoiceNo: "1": the invoice has two customers, "" and "17850"`},
		"two countries":                    {row("1,A,,1,2010-12-01 08:26:00,1,,Malta"), `the invoice has two countries, "EIRE" and "Malta"`},
		"a written-off price":              {row("2,A,,-1,2010-12-01 08:26:00,0.01,,EIRE"), `column UnitPrice: "0.01": want a price of 0`},
		"a credit above 0":                 {row("C2,A,,1,2010-12-01 08:26:00,1,,EIRE"), `column Quantity: "1": want a quantity below 0 in a credit note`},
		"a credit of a low price":          {row("C2,A,,-1,2010-12-01 08:26:00,-1,,EIRE"), `want a price of at least 0 in a credit note`},
		"a ledger entry of two":            {row("A2,A,,1,2010-12-01 08:26:00,1,,EIRE\nA2,A,,1,2010-12-01 08:26:00,1,,EIRE"), `line 4, column InvoiceNo: "A2": a ledger entry has one line`},
		"a ledger entry too big":           {row("A2,A,,2000,2010-12-01 08:26:00,9223372036854775,,EIRE"), "the amount is beyond 64 bits"},
		"an endless invoice":               {good + strings.Repeat(a1+"\n", 10_001), "the invoice has more than 10000 lines"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, c.content, c.want) })
	}
}

func TestCommands_RefuseBrokenCompression(t *testing.T) {
	content := []byte(header)
	for n := range 2000 {
		content = fmt.Appendf(content, "%d,A,%x,1,2010-12-01 08:26:00,1.%d,,EIRE\n", n, n*n*7919, n%100)
	}
	whole := packed(content)
	damaged := slices.Clone(whole)
	damaged[len(damaged)-6] ^= 1 // in the checksum
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 0xff
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"cut in the head":       {whole[:5], "f.csv: the compressed file ends too early"},
		"cut in the middle":     {whole[:len(whole)/2], "the compressed file ends too early: it is cut off"},
		"without its end":       {whole[:len(whole)-3], "the compressed file ends too early: it is cut off"},
		"with a wrong checksum": {damaged, "the compressed file is damaged: gzip: invalid checksum"},
		"with a flipped byte":   {flipped, "f.csv"},
		"followed by something": {append(slices.Clone(whole), "more than ten bytes"...), "the compressed file is damaged: gzip: invalid header"},
		"of something else":     {packed([]byte("hello\n")), `f.csv, line 1: "hello": want the header`},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, string(c.content), c.want) })
	}
}

func refuses(t *testing.T, content, want string) {
	t.Helper()
	commands, err := read(source("f.csv", []byte(content)))
	var wrong *retailcsv.Error
	if !errors.As(err, &wrong) {
		t.Fatalf("got %d commands and %v, want an *Error", len(commands), err)
	}
	if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "f.csv") {
		t.Errorf("error\n  %v\nwant it to say\n  %s", err, want)
	}
	if len(err.Error()) > 600 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}
