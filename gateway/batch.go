package gateway

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// Bounds of one batch.
const (
	batchLinesMax  = 10_000
	batchBytesMax  = 64 << 20
	batchAheadMax  = 2_048 // lines read and not yet answered
	batchGroupMax  = 512   // commands that share one question to the view, and answers that share one look at the positions
	batchIdleMax   = 30 * time.Second
	lineExtraBytes = 1 << 10 // what a line may have around its command
)

// postBatch is POST /api/commands: a line in, a line out, in their order.
//
// Three parties work at once, because clients may write all before they read
// anything: the reader logs commands, the collector waits for their outcomes in
// order, and the request's own goroutine writes what is ready.
func (g *Gateway) postBatch(c *gin.Context) {
	if no := mediaType(c.Request.Header, "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"); no != nil {
		fail(c, no)
		return
	}
	if !g.batches.enter() {
		fail(c, overloaded("batches"))
		return
	}
	defer g.batches.leave()
	control := http.NewResponseController(c.Writer)
	if err := control.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		fail(c, problemf(codeInternal, "the connection cannot be read and written at the same time"))
		return
	}
	wait, applied := preferredWait(c.Request.Header)
	if applied {
		c.Header("Preference-Applied", preferenceApplied(wait))
	}
	c.Header("Content-Type", "application/x-ndjson")
	ctx, cancel := context.WithCancel(c.Request.Context())
	defer cancel()
	b := &batch{
		Gateway: g, ctx: ctx, wait: wait, trace: traceparent(c.Request.Header),
		lines: make(chan batchLine, batchAheadMax), out: newOutbox(),
	}
	body := &patientBody{body: c.Request.Body, control: control}
	var parties sync.WaitGroup
	parties.Go(func() { b.read(newLineReader(body, bodyBytesMax+lineExtraBytes, batchBytesMax)) })
	parties.Go(b.collect)
	if err := b.write(c.Writer, control); err != nil {
		// Nobody reads the answers: stop waiting. What was logged stays logged.
		cancel()
		_ = control.SetReadDeadline(machineTime(0))
	}
	parties.Wait()
}

// batch is one request with many commands.
type batch struct {
	*Gateway
	ctx   context.Context
	wait  time.Duration
	trace *string
	ahead []batchLine    // read and not yet logged; the reader's own
	lines chan batchLine // in the order of the body
	out   *outbox
}

// batchLine is a line that was read: a command under way, or what is wrong.
type batchLine struct {
	number int // from 1
	ticket *ticket
	no     *problem
}

// read logs the commands of the body, line by line.
func (b *batch) read(lines *lineReader) {
	defer close(b.lines)
	defer b.launch()
	var parse lineParser
	for commands := 0; ; {
		raw, err := lines.next()
		line := batchLine{number: lines.number}
		switch {
		case err != nil:
			if line.no = b.ending(err); line.no != nil {
				b.ahead = append(b.ahead, line)
			}
			if !errors.Is(err, errLineTooLong) {
				return
			}
			commands++
		case len(raw) == 0:
		case commands == batchLinesMax:
			line.no = problemf(codeBatchTooLarge, "the batch has more than %d commands; this one and what follows was not read", batchLinesMax)
			b.ahead = append(b.ahead, line)
			return
		default:
			commands++
			line.ticket, line.no = b.board(&parse, raw)
			b.ahead = append(b.ahead, line)
		}
		if len(b.ahead) == batchGroupMax || lines.in.Buffered() == 0 {
			b.launch()
		}
	}
}

// ending says how the end of the body is answered, nil for the usual end.
func (b *batch) ending(err error) *problem {
	switch {
	case errors.Is(err, errLineTooLong):
		return problemf(codeBodyTooLarge, "the line has more than %d bytes", bodyBytesMax+lineExtraBytes)
	case errors.Is(err, errBodyTooLong):
		return problemf(codeBatchTooLarge, "the batch has more than %d bytes; this line and what follows was not read", batchBytesMax)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemf(codeRequestTimeout, "the next line did not arrive in time")
	}
	return nil
}

// board takes the command of one line as far as its flight.
func (b *batch) board(parse *lineParser, raw []byte) (*ticket, *problem) {
	line, no := parse.line(raw)
	if no != nil {
		return nil, no
	}
	kind, ok := b.kinds[line.kind]
	if !ok {
		return nil, problemf(codeUnknownCommand, "no aggregate takes a command %q", clip(line.kind)).of(line.id)
	}
	fresh := line.id == ""
	if fresh {
		id, err := b.newCommandID()
		if err != nil {
			return nil, problemf(codeInternal, "no command id could be made")
		}
		line.id = id
	}
	o, no := b.decode(kind, line.command, line.id, line.expect, b.trace)
	if no != nil {
		b.metrics.commands.failed(kind, no)
		return nil, no
	}
	o.fresh = fresh
	if !b.admit() {
		return nil, overloaded("commands").of(o.id)
	}
	t, no := b.Gateway.board(o, b.wait)
	if no != nil {
		b.lots.leave()
		b.metrics.commands.failed(kind, no)
		return nil, no
	}
	return t, nil
}

// admit waits for room among the commands of all batches. What this batch holds
// back goes first: batches that wait for each other's held back commands would
// wait for ever.
func (b *batch) admit() bool {
	if b.lots.enter() {
		return true
	}
	b.launch()
	return b.lots.enterWithin(b.ctx, b.wait)
}

// launch logs the commands that were read ahead, in their order. The view is
// asked for all of them at once: it answers when it has stored what it heard,
// and waiting for that line by line would cost a batch its pace.
func (b *batch) launch() {
	var asked sync.WaitGroup
	for _, line := range b.ahead {
		if t := line.ticket; t != nil && !t.fresh {
			asked.Go(func() { t.lookup = b.known(b.ctx, t.order) })
		}
	}
	asked.Wait()
	for _, line := range b.ahead {
		if t := line.ticket; t != nil {
			if no := b.depart(b.ctx, t); no != nil {
				b.lots.leave()
				b.close(t)
				b.metrics.commands.failed(t.kind, no)
				line.ticket, line.no = nil, no.of(t.id)
			}
		}
		b.lines <- line
	}
	b.ahead = b.ahead[:0]
}

// collect waits for the outcomes in order and renders the answers, as many at
// once as are ready.
func (b *batch) collect() {
	defer b.out.close()
	var group []settledLine
	var carried *batchLine
	for {
		line, ok := b.nextLine(carried)
		if !ok {
			return
		}
		carried = nil
		group = append(group[:0], b.settle(line))
		for len(group) < batchGroupMax {
			next, more := b.pollLine()
			if !more {
				break
			}
			if ready, no := b.isReady(next); ready {
				group = append(group, b.settledAs(next, no))
				continue
			}
			carried = &next
			break
		}
		b.render(group)
	}
}

func (b *batch) nextLine(carried *batchLine) (batchLine, bool) {
	if carried != nil {
		return *carried, true
	}
	line, ok := <-b.lines
	return line, ok
}

func (b *batch) pollLine() (batchLine, bool) {
	select {
	case line, ok := <-b.lines:
		return line, ok
	default:
		return batchLine{}, false
	}
}

// settledLine is a line with its answer.
type settledLine struct {
	number  int
	ticket  *ticket
	outcome *platform.Outcome // nil: pending, or no
	no      *problem
}

// settle waits for the line's outcome.
func (b *batch) settle(line batchLine) settledLine {
	if line.no != nil {
		return settledLine{number: line.number, no: line.no}
	}
	return b.settledAs(line, b.await(b.ctx, line.ticket))
}

func (b *batch) isReady(line batchLine) (bool, *problem) {
	if line.no != nil {
		return true, line.no
	}
	return line.ticket.ready()
}

// settledAs ends the line's ticket.
func (b *batch) settledAs(line batchLine, no *problem) settledLine {
	t := line.ticket
	if t == nil {
		return settledLine{number: line.number, no: no}
	}
	b.lots.leave()
	b.close(t)
	b.metrics.commands.ended(t, no)
	if no != nil {
		return settledLine{number: line.number, no: no.of(t.id)}
	}
	return settledLine{number: line.number, ticket: t, outcome: t.outcome}
}
