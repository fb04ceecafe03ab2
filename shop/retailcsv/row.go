package retailcsv

import (
	"bytes"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// kind is what an invoice is; no invoice mixes kinds.
type kind int

const (
	sale kind = iota
	writeOff
	credit
	ledger
)

func (k kind) String() string {
	return [...]string{"an order", "a write-off", "a credit note", "a ledger entry"}[k]
}

// row is one line of an invoice.
type row struct {
	number     string
	kind       kind
	at         avro.Millis
	customerID string // "" for guests
	country    string
	retail.Line
}

// rowReader parses lines into rows. It keeps the texts that mostly repeat from
// line to line, instead of allocating them anew.
type rowReader struct {
	*lineReader
	last     row
	lastDate []byte
}

// row reads the next row, or returns io.EOF.
func (r *rowReader) row() (row, error) {
	if err := r.read(); err != nil {
		return row{}, err
	}
	var next row
	// In the order of the columns, so that the first mistake is named.
	for n, value := range r.fields {
		if want := r.parse(n, value, &next); want != "" {
			return row{}, r.fault(columns[n], value, want)
		}
	}
	if column, want := next.settle(); want != "" {
		return row{}, r.fault(columns[column], r.fields[column], want)
	}
	r.last = next
	return next, nil
}

// parse takes the value of column n over. Like the functions it calls, it
// returns what is expected where the value is not that, else "".
func (r *rowReader) parse(n int, value []byte, into *row) string {
	switch n {
	case 0:
		return r.number(value, into)
	case 1:
		into.Sku = string(value)
		return text(value, 1, 64)
	case 2:
		into.Description = string(value)
		return text(value, 0, 1000)
	case 3:
		return quantity(value, into)
	case 4:
		return r.date(value, into)
	case 5:
		return price(value, into)
	case 6:
		return r.customer(value, into)
	}
	into.country = again(value, r.last.country)
	return text(value, 1, 100)
}

func (r *rowReader) number(value []byte, into *row) string {
	digits := bytes.TrimLeft(value, "AC")
	if len(value)-len(digits) > 1 || len(digits) == 0 || len(value) > 64 || !allDigits(digits) {
		return "want an invoice number: digits, with a C before those of a credit note and an A before those of a ledger entry"
	}
	into.number = again(value, r.last.number)
	return ""
}

func quantity(value []byte, into *row) string {
	n, err := strconv.ParseInt(string(value), 10, 32)
	if err != nil || n == 0 || value[0] == '+' {
		return "want a whole number of at most 32 bits that is not 0"
	}
	into.Quantity = int32(n)
	return ""
}

func (r *rowReader) date(value []byte, into *row) string {
	if into.at = r.last.at; bytes.Equal(value, r.lastDate) {
		return ""
	}
	at, err := time.Parse(time.DateTime, string(value))
	if err != nil || len(value) != len(time.DateTime) {
		return "want a time in UTC such as 2010-12-01 08:26:00"
	}
	into.at = avro.MillisOf(at)
	r.lastDate = append(r.lastDate[:0], value...)
	return ""
}

func price(value []byte, into *row) string {
	var err error
	into.UnitPrice, err = avro.ParseMilli(string(value))
	switch {
	case errors.Is(err, avro.ErrDecimals):
		return "want a price of at most three decimals"
	case err != nil:
		return "want a price in pounds such as 2.55"
	}
	return ""
}

func (r *rowReader) customer(value []byte, into *row) string {
	id := bytes.TrimSuffix(value, []byte(".0")) // the dataset writes it as a float
	if len(value) > 0 && (!allDigits(id) || len(id) > 64) {
		return "want a customer number such as 17850 or 17850.0, or nothing for a guest"
	}
	into.customerID = again(id, r.last.customerID)
	return ""
}

// settle finds what kind of invoice the row belongs to and checks what that
// kind demands. It returns the column at fault and what is expected there.
func (w *row) settle() (column int, want string) {
	switch {
	case w.number[0] == 'A':
		w.kind = ledger
		return 0, ""
	case w.number[0] == 'C':
		w.kind = credit
		if w.Quantity > 0 {
			return 3, "want a quantity below 0 in a credit note"
		}
	case w.Quantity < 0:
		w.kind = writeOff
		if w.UnitPrice != 0 {
			return 5, "want a price of 0 where stock is written off: no money moves"
		}
	}
	if w.UnitPrice < 0 {
		return 5, "want a price of at least 0 in " + w.kind.String()
	}
	return 0, ""
}

func text(value []byte, least, most int) string {
	if n := utf8.RuneCount(value); n < least || n > most {
		return "want " + strconv.Itoa(least) + " to " + strconv.Itoa(most) + " characters"
	}
	return ""
}

func allDigits(value []byte) bool {
	for _, c := range value {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(value) > 0
}

// again is the value as a string: the one of the last row if that is equal.
func again(value []byte, last string) string {
	if string(value) == last {
		return last
	}
	return string(value)
}
