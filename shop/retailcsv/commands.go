package retailcsv

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// Bounds of what is kept in memory.
const (
	// gapMax is how many lines of others may stand between two lines of one
	// invoice, across files too. In the dataset it is two.
	gapMax = 1000
	// invoiceLinesMax bounds one invoice; the dataset's longest has 1,114 lines.
	invoiceLinesMax = 10_000
	// openLinesMax bounds all invoices that are not handed out yet.
	openLinesMax = 100_000
)

// Command is a command of the shop with the id it always has: loading a file
// twice sends the same commands under the same ids.
type Command struct {
	ID     string // such as "load:order:536365"
	Record domain.Command
}

// Commands reads the sources one after the other and yields their commands, in
// the order of the invoices' first lines. A line that continues an invoice more
// than 1,000 lines later begins it anew, as another command under the same id,
// which the platform refuses.
//
// The first error, an *Error where the content is at fault, ends it. Invoices
// that were not complete by then are not yielded.
func Commands(sources ...Source) iter.Seq2[Command, error] {
	return func(yield func(Command, error) bool) {
		g := &grouper{open: map[string]*invoice{}, yield: yield}
		for _, s := range sources {
			if err := g.source(s); err != nil {
				if !g.stopped {
					yield(Command{}, err)
				}
				return
			}
		}
		g.release(math.MaxInt)
	}
}

// invoice is one that more lines may come for.
type invoice struct {
	first row
	lines []retail.Line
	last  int // number of its last line over all sources
}

// grouper gathers the rows of an invoice that do not stand together.
type grouper struct {
	open    map[string]*invoice
	queue   []*invoice // the open ones in the order of their first lines
	latest  *invoice   // of the last row
	rows    int
	lines   int // of all open invoices
	yield   func(Command, error) bool
	stopped bool
}

// errStopped ends the reading when nobody wants more commands.
var errStopped = fmt.Errorf("reading was stopped")

func (g *grouper) source(s Source) error {
	file, err := s.Open()
	if err != nil {
		return fmt.Errorf("opening %s: %w", s.Name, err)
	}
	defer func() { _ = file.Close() }() // only read from
	lines, err := newLineReader(s.Name, file)
	if err != nil {
		return err
	}
	rows := &rowReader{lineReader: lines}
	for {
		r, err := rows.row()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if want := g.add(r); want != "" {
			return &Error{File: s.Name, Line: lines.line, Column: columns[0], Value: r.number, Want: want}
		}
		if g.release(g.rows); g.stopped {
			return errStopped
		}
	}
}

// add puts the row into its invoice and says what is wrong if it does not fit.
func (g *grouper) add(r row) (want string) {
	in := g.latest
	if in == nil || in.first.number != r.number {
		in = g.open[r.number]
	}
	if in == nil {
		in = &invoice{first: r}
		g.open[r.number] = in
		g.queue = append(g.queue, in)
	}
	switch first := in.first; {
	case first.kind != r.kind:
		return fmt.Sprintf("the invoice mixes %s and %s: its quantities must have one sign", first.kind, r.kind)
	case first.customerID != r.customerID:
		return fmt.Sprintf("the invoice has two customers, %q and %q", first.customerID, r.customerID)
	case first.country != r.country:
		return fmt.Sprintf("the invoice has two countries, %q and %q", first.country, r.country)
	case r.kind == ledger && len(in.lines) > 0:
		return "a ledger entry has one line"
	case r.kind == ledger && overflows(r.Line):
		return "the amount is beyond 64 bits"
	case len(in.lines) == invoiceLinesMax:
		return fmt.Sprintf("the invoice has more than %d lines", invoiceLinesMax)
	case g.lines == openLinesMax:
		return fmt.Sprintf("more than %d lines of invoices that are mixed up with each other; sort the file by invoice", openLinesMax)
	}
	in.lines = append(in.lines, r.Line)
	in.last = g.rows
	g.rows++
	g.lines++
	g.latest = in
	return ""
}

func overflows(l retail.Line) bool {
	amount := avro.Milli(l.Quantity) * l.UnitPrice
	return amount/avro.Milli(l.Quantity) != l.UnitPrice || l.UnitPrice == math.MinInt64
}

// release yields the invoices that had no line for a while at row now.
func (g *grouper) release(now int) {
	for len(g.queue) > 0 && now-g.queue[0].last > gapMax && !g.stopped {
		in := g.queue[0]
		g.queue[0] = nil
		g.queue = g.queue[1:]
		delete(g.open, in.first.number)
		g.lines -= len(in.lines)
		if g.latest == in {
			g.latest = nil
		}
		for _, c := range in.commands() {
			if g.stopped = !g.yield(c, nil); g.stopped {
				return
			}
		}
	}
}

func (in *invoice) commands() []Command {
	first := in.first
	var customerID *string
	if first.customerID != "" {
		customerID = &first.customerID
	}
	switch first.kind {
	case sale:
		return []Command{{ID: "load:order:" + first.number, Record: &retail.PlaceOrder{
			OrderID: first.number, CustomerID: customerID, Country: first.country, PlacedAt: first.at, Lines: in.lines,
		}}}
	case credit:
		return []Command{{ID: "load:creditnote:" + first.number, Record: &retail.IssueCreditNote{
			CreditNoteID: first.number, CustomerID: customerID, Country: first.country, IssuedAt: first.at, Lines: in.lines,
		}}}
	case ledger:
		return []Command{{ID: "load:ledger:" + first.number, Record: &retail.AdjustLedger{
			EntryID: first.number, AdjustedAt: first.at, Description: first.Description,
			Amount: avro.Milli(first.Quantity) * first.UnitPrice,
		}}}
	}
	return in.writeOffs()
}

// writeOffs makes a command per line. A sku books a reference once, so the
// second line of one sku refers to "536589#2", the third to "536589#3".
func (in *invoice) writeOffs() []Command {
	commands := make([]Command, len(in.lines))
	times := map[string]int{}
	for n, l := range in.lines {
		reference := in.first.number
		if times[l.Sku]++; times[l.Sku] > 1 {
			reference += "#" + strconv.Itoa(times[l.Sku])
		}
		commands[n] = Command{ID: "load:stock:" + l.Sku + ":" + reference, Record: &retail.AdjustStock{
			Sku: l.Sku, Description: l.Description, Quantity: l.Quantity, Reference: reference,
		}}
	}
	return commands
}
