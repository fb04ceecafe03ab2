package retailcsv_test

import (
	"bytes"
	stdcsv "encoding/csv"
	"errors"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// FuzzCSV reads arbitrary bytes as a file. What always holds:
//
//   - it ends, without a panic, with commands or with an error that names the
//     file: an *Error, in a message of bounded length;
//   - without an error, every line of the file is in exactly one command, with
//     the stock code and description that the standard library reads;
//   - every command is one the shop takes, except for values and numbers of
//     lines beyond its bounds;
//   - command ids are unique, unless an invoice begins anew after a gap;
//   - the same file compressed, and the same file cut in two between any two
//     lines, gives the same commands.
func FuzzCSV(f *testing.F) {
	for _, lines := range []string{
		"", a1 + "\n", a1 + "\n" + b1 + "\n" + a2 + "\n" + b2 + "\n",
		`536365,84029E,"HEART, ""RED""",2,2010-12-01 08:27:00,10.005,17850.0,United Kingdom` + "\n",
		"C5,D,Discount,-1,2010-12-01 09:41:00,27.5,14527,EIRE\r\n",
		"6,21777,,-10,2010-12-01 16:50:00,0.0,,United Kingdom\n6,21777,,-10,2010-12-01 16:50:00,0,,United Kingdom\n",
		"A7,B,Adjust bad debt,1,2011-08-12 14:51:00,-11062.06,,United Kingdom\n",
		"1,A,\"open,1,2010-12-01 08:26:00,1,,EIRE\n", "1,A,\xff,1,2010-12-01 08:26:00,1,,EIRE\n",
	} {
		f.Add([]byte(header+lines), uint16(2))
	}
	f.Add(packed([]byte(header+a1+"\n")), uint16(0))
	f.Add([]byte{0x1f, 0x8b}, uint16(0))
	f.Add([]byte(a1+"\n"+b1+"\n"+a2+"\n"), uint16(1))
	f.Fuzz(func(t *testing.T, content []byte, cut uint16) {
		if len(content) > 0 && content[0] != 'I' && content[0] != 0x1f {
			content = append([]byte(header), content...) // else few inputs would come past the header
		}
		commands, err := read(source("f.csv", content))
		if err != nil {
			var wrong *retailcsv.Error
			if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), "f.csv") || len(err.Error()) > 1000 {
				t.Fatalf("error %v", err)
			}
			return
		}
		checkCommands(t, commands)
		if bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
			return
		}
		checkLines(t, content, commands)
		want := jsonOf(t, commands)
		same := func(how string, sources ...retailcsv.Source) {
			again, err := read(sources...)
			if err != nil {
				t.Fatalf("%s: %v", how, err)
			}
			if got := jsonOf(t, again); got != want {
				t.Fatalf("%s\n%s\nwant\n%s", how, got, want)
			}
		}
		same("compressed", source("f.csv", packed(content)))
		lines := bytes.SplitAfter(content, []byte{'\n'})
		at := 1 + int(cut)%max(1, len(lines)-1)
		second := append([]byte(header), bytes.Join(lines[at:], nil)...)
		same("cut in two", source("1", bytes.Join(lines[:at], nil)), source("2", second))
	})
}

func checkCommands(t *testing.T, commands []retailcsv.Command) {
	t.Helper()
	topology := shop.Topology()
	seen := map[string]bool{}
	for _, c := range commands {
		if seen[c.ID] && len(commands) < 1000 {
			t.Fatalf("two commands have the id %s", c.ID)
		}
		seen[c.ID] = true
		a, _, ok := topology.AggregateOfCommand(c.Record.AvroName())
		if !ok {
			t.Fatalf("nobody takes %s", c.Record.AvroName())
		}
		for _, fault := range a.Validate(c.Record) {
			if fault.Code != "too-large" && fault.Code != "too-many" && fault.Code != "out-of-range" {
				t.Fatalf("%s: %+v", c.ID, fault)
			}
		}
	}
}

// checkLines compares with the standard library, line by line but sorted:
// commands gather lines that stand apart.
func checkLines(t *testing.T, content []byte, commands []retailcsv.Command) {
	t.Helper()
	rows, err := stdcsv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		t.Fatalf("the standard library refuses it: %v", err)
	}
	left := map[string]int{}
	for _, row := range rows[1:] {
		sku := row[1]
		if row[0][0] == 'A' {
			sku = ""
		}
		left[strings.Join([]string{row[0], sku, row[2]}, "\x00")]++
	}
	take := func(number, sku, description string) {
		key := strings.Join([]string{number, sku, description}, "\x00")
		if left[key]--; left[key] < 0 {
			t.Fatalf("line %q is in no row, or in two commands", key)
		}
		if left[key] == 0 {
			delete(left, key)
		}
	}
	for _, c := range commands {
		switch c := c.Record.(type) {
		case *retail.PlaceOrder:
			takeLines(take, c.OrderID, c.Lines)
		case *retail.IssueCreditNote:
			takeLines(take, c.CreditNoteID, c.Lines)
		case *retail.AdjustLedger:
			take(c.EntryID, "", c.Description)
		case *retail.AdjustStock:
			number, _, _ := strings.Cut(c.Reference, "#")
			take(number, c.Sku, c.Description)
		}
	}
	if len(left) > 0 {
		t.Fatalf("rows are in no command: %v", left)
	}
}

func takeLines(take func(number, sku, description string), number string, lines []retail.Line) {
	for _, l := range lines {
		take(number, l.Sku, l.Description)
	}
}
