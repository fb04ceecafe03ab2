package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

var (
	errLineTooLong = errors.New("line too long")
	errBodyTooLong = errors.New("body too long")
)

// patientBody is a body that may take its time as long as it moves.
type patientBody struct {
	body    io.Reader
	control *http.ResponseController
}

func (p *patientBody) Read(b []byte) (int, error) {
	// Recorders of tests know no deadlines and need none.
	_ = p.control.SetReadDeadline(machineTime(batchIdleMax))
	n, err := p.body.Read(b)
	if err != nil {
		// The last answers may take longer than that, and while they are awaited
		// an expired deadline would look like a client that left.
		_ = p.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// machineTime is a deadline of a connection, which knows no other clock.
func machineTime(after time.Duration) time.Time { return clock.System{}.Now().Add(after) }

// lineReader cuts a body into lines of bounded length.
type lineReader struct {
	in      *bufio.Reader
	long    []byte // a line that is longer than the reader's buffer
	lineMax int
	left    int // bytes that the body may still have
	number  int // of the line last read, from 1
}

func newLineReader(r io.Reader, lineMax, bodyMax int) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, 64<<10), lineMax: lineMax, left: bodyMax}
}

// next returns the next line without white space around it, valid until the
// next call.
//
// Errors: errLineTooLong (the line was stepped over; go on), errBodyTooLong,
// io.EOF, and those of the body.
func (l *lineReader) next() ([]byte, error) {
	l.number++
	line, err := l.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.rest(line)
	} else if l.left -= len(line); l.left < 0 {
		return nil, errBodyTooLong
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, err
	}
	return bytes.TrimSpace(line), nil
}

// rest reads on a line that does not fit the reader's buffer.
func (l *lineReader) rest(line []byte) ([]byte, error) {
	l.long = l.long[:0]
	tooLong := false
	for err := bufio.ErrBufferFull; ; line, err = l.in.ReadSlice('\n') {
		if l.left -= len(line); l.left < 0 {
			return nil, errBodyTooLong
		}
		if tooLong = tooLong || len(l.long)+len(line) > l.lineMax; !tooLong {
			l.long = append(l.long, line...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if tooLong {
			return nil, errLineTooLong
		}
		return l.long, err
	}
}

// lineOfBatch is what a line says.
type lineOfBatch struct {
	kind    string // short name of the command type
	id      string // "" if none is given
	expect  expectation
	command jsontext.Value // valid until the next line is parsed
}

// lineParser parses lines of a batch. It reuses its buffers.
type lineParser struct {
	dec jsontext.Decoder
	buf bytes.Buffer
}

// The parser looks for duplicate members itself, so that the command, which is
// judged by its schema later, is not searched twice.
var lineOptions = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// line parses one line. Faults of the line itself have pointers into the line;
// those of the command, found later, into the command.
func (p *lineParser) line(raw []byte) (lineOfBatch, *problem) {
	p.buf = *bytes.NewBuffer(raw)
	p.dec.Reset(&p.buf, lineOptions...)
	var line lineOfBatch
	if p.dec.PeekKind() != '{' {
		if err := p.dec.SkipValue(); err != nil {
			return line, malformed(err)
		}
		return line, faulty(codeInvalidBatchLine, domain.Faultf("", avro.FaultType, `the line must be an object such as {"type":"…","command":{…}}`))
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return line, malformed(err)
	}
	var faults []domain.Fault
	var seen members
	for p.dec.PeekKind() != '}' {
		name, err := p.dec.ReadToken()
		if err != nil {
			return line, malformed(err)
		}
		member := seen.name(name.String())
		value, err := p.dec.ReadValue()
		if err != nil {
			return line, malformed(err)
		}
		// The decoder's own slice is only good until its next step; the line's is the same bytes.
		end := int(p.dec.InputOffset())
		if f := line.set(&seen, member, raw[end-len(value):end]); f != nil {
			faults = append(faults, *f)
		}
		if len(faults) == faultsMax {
			break
		}
	}
	if len(faults) < faultsMax {
		if no := p.finish(); no != nil {
			return line, no
		}
		faults = append(faults, seen.missing()...)
	}
	if len(faults) > 0 {
		no := faulty(codeInvalidBatchLine, faults...)
		return line, no.of(line.id)
	}
	return line, nil
}

// finish demands that nothing follows the object.
func (p *lineParser) finish() *problem {
	if _, err := p.dec.ReadToken(); err != nil {
		return malformed(err)
	}
	if _, err := p.dec.ReadToken(); err == nil {
		return faulty(codeInvalidBatchLine, domain.Faultf("", avro.FaultTrailing, "the line goes on after the object"))
	} else if !errors.Is(err, io.EOF) {
		return malformed(err)
	}
	return nil
}

func malformed(err error) *problem {
	detail := "the line is not JSON"
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		detail = "the line is not JSON: at byte " + strconv.FormatInt(syntax.ByteOffset, 10) + ": " + syntax.Err.Error()
	}
	return faulty(codeInvalidBatchLine, domain.Faultf("", avro.FaultMalformed, "%s", detail))
}

// members are the members of a line that were seen.
type members struct{ kind, id, version, command bool }

// name returns the member's name, which outlives the decoder's buffer.
func (m *members) name(s string) string {
	switch s {
	case "type":
		return "type"
	case "id":
		return "id"
	case "expectedVersion":
		return "expectedVersion"
	case "command":
		return "command"
	}
	return s
}

func (m *members) missing() (faults []domain.Fault) {
	if !m.kind {
		faults = append(faults, domain.Faultf("/type", avro.FaultMissing, "the type of the command is missing"))
	}
	if !m.command {
		faults = append(faults, domain.Faultf("/command", avro.FaultMissing, "the command is missing"))
	}
	return faults
}

// set takes one member of the line.
func (l *lineOfBatch) set(seen *members, name string, value jsontext.Value) *domain.Fault {
	var f domain.Fault
	var mark *bool
	switch name {
	case "type":
		mark = &seen.kind
	case "id":
		mark = &seen.id
	case "expectedVersion":
		mark = &seen.version
	case "command":
		mark = &seen.command
	default:
		f = domain.Faultf("/"+clip(escapePointer(name)), avro.FaultUnknown, "a line has type, id, expectedVersion and command alone")
		return &f
	}
	if *mark {
		f = domain.Faultf("/"+name, avro.FaultDuplicate, "%s stands twice in the line", name)
		return &f
	}
	*mark = true
	switch name {
	case "type":
		return l.setText(&l.kind, name, value)
	case "id":
		return l.setID(value)
	case "expectedVersion":
		return l.setVersion(value)
	}
	l.command = value
	if value.Kind() != '{' {
		f = domain.Faultf("/command", avro.FaultType, "the command must be an object")
		return &f
	}
	return nil
}

func (l *lineOfBatch) setText(into *string, name string, value jsontext.Value) *domain.Fault {
	if value.Kind() != '"' {
		f := domain.Faultf("/"+name, avro.FaultType, "%s must be a string", name)
		return &f
	}
	// The decoder has checked the syntax; bytes that are no UTF-8 become U+FFFD,
	// which neither a type nor an id may contain.
	text, _ := jsontext.AppendUnquote(nil, value)
	*into = string(text)
	return nil
}

func (l *lineOfBatch) setID(value jsontext.Value) *domain.Fault {
	var id string
	if f := l.setText(&id, "id", value); f != nil {
		return f
	}
	if f := checkCommandID(id); f != nil {
		f.Pointer = "/id"
		return f
	}
	l.id = id
	return nil
}

func (l *lineOfBatch) setVersion(value jsontext.Value) *domain.Fault {
	version, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || version < 0 {
		f := domain.Faultf("/expectedVersion", avro.FaultType, "expectedVersion must be a whole number from 0 to 9223372036854775807")
		return &f
	}
	l.expect = expectation{kind: platform.ExpectationExact, version: version}
	return nil
}
