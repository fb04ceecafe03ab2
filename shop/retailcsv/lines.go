package retailcsv

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// header is the first line of every file.
const header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"

var columns = strings.Split(header, ",")

// lineBytesMax bounds one line, and with it the memory a broken file can take.
const lineBytesMax = 64 << 10

// Source is a CSV file, plain or compressed with gzip, whatever its name.
type Source struct {
	Name string // for messages
	// Open opens the file for one reading from its start.
	Open func() (io.ReadCloser, error)
	// Bytes is the size of the file as it is stored, 0 if it is not known. Only
	// who shows progress needs it.
	Bytes int64
}

// File is the source of a file on disk.
func File(path string) Source {
	s := Source{Name: path, Open: func() (io.ReadCloser, error) { return os.Open(path) }}
	if info, err := os.Stat(path); err == nil { // else opening it will say why
		s.Bytes = info.Size()
	}
	return s
}

// lineReader reads the lines of one file and splits them into fields.
type lineReader struct {
	name   string
	r      *bufio.Reader
	line   int // number of the line read last
	fields [8][]byte
	text   []byte // unescaped text of quoted fields
}

// newLineReader unpacks the file if it is compressed and reads the header.
func newLineReader(name string, file io.Reader) (*lineReader, error) {
	l := &lineReader{name: name, r: bufio.NewReaderSize(file, lineBytesMax)}
	if magic, _ := l.r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(l.r)
		if err != nil {
			return nil, l.readError(err)
		}
		l.r = bufio.NewReaderSize(unpacked, lineBytesMax)
	}
	// Spreadsheets begin UTF-8 with a byte order mark, which says nothing here.
	if mark, _ := l.r.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = l.r.Discard(3)
	}
	first, err := l.next()
	if errors.Is(err, io.EOF) {
		return nil, &Error{File: name, Want: "the file is empty; want the header " + header}
	}
	if err != nil {
		return nil, err
	}
	if string(first) != header {
		return nil, &Error{File: name, Line: 1, Value: short(first), Want: "want the header " + header}
	}
	return l, nil
}

// next returns the next line without its end, valid until the next call, or
// io.EOF.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	switch {
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err == io.EOF:
		return nil, &Error{
			File: l.name, Line: l.line + 1, Value: short(line),
			Want: "the last line has no line end, so the file may be cut off; if it is whole, end it with one",
		}
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, &Error{File: l.name, Line: l.line + 1, Value: short(line), Want: "the line is longer than 64 KiB"}
	case err != nil:
		return nil, l.readError(err)
	}
	l.line++
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

// readError says what a failed read means, the kinds of broken gzip above all.
func (l *lineReader) readError(err error) error {
	want := "reading it: " + err.Error()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		want = "the compressed file ends too early: it is cut off"
	case errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader):
		want = "the compressed file is damaged: " + err.Error()
	}
	if l.line > 0 {
		return &Error{File: l.name, Line: l.line + 1, Want: want}
	}
	return &Error{File: l.name, Want: want}
}

// read fills fields with the next line, or returns io.EOF. The fields are
// valid until the next call.
func (l *lineReader) read() error {
	rest, err := l.next()
	if err != nil {
		return err
	}
	l.text = l.text[:0]
	n, more := 0, true
	for ; more; n++ {
		if n == len(l.fields) {
			return l.fault("", rest, "more than 8 columns; a description with a comma in it must be quoted")
		}
		if l.fields[n], rest, more, err = l.field(rest, columns[n]); err != nil {
			return err
		}
		if !utf8.Valid(l.fields[n]) {
			return l.fault(columns[n], l.fields[n], "not valid UTF-8")
		}
		if hasControl(l.fields[n]) {
			return l.fault(columns[n], l.fields[n], "contains a control character")
		}
	}
	if n < len(l.fields) {
		return &Error{File: l.name, Line: l.line, Want: "the line ends before column " + columns[n] + "; want the 8 columns " + header}
	}
	return nil
}

// hasControl looks for control characters in valid UTF-8: U+0000 to U+001F,
// and U+007F to U+009F, of which all but the first have two bytes.
func hasControl(text []byte) bool {
	for i, c := range text {
		if c < 0x20 || c == 0x7f || c == 0xc2 && text[i+1] < 0xa0 {
			return true
		}
	}
	return false
}

// field splits the first field off the line; more says whether another follows.
func (l *lineReader) field(line []byte, column string) (value, rest []byte, more bool, err error) {
	if len(line) == 0 || line[0] != '"' {
		value, rest, more = bytes.Cut(line, []byte{','})
		if bytes.IndexByte(value, '"') >= 0 {
			return nil, nil, false, l.fault(column, value, "a quote inside a field that does not begin with one")
		}
		return value, rest, more, nil
	}
	start, text := len(l.text), line[1:]
	for {
		end := bytes.IndexByte(text, '"')
		if end < 0 {
			return nil, nil, false, l.fault(column, line, "the quote is not closed on this line")
		}
		l.text = append(l.text, text[:end]...)
		text = text[end+1:]
		if len(text) == 0 || text[0] != '"' {
			break
		}
		l.text = append(l.text, '"') // a doubled quote stands for one
		text = text[1:]
	}
	if len(text) > 0 && text[0] != ',' {
		return nil, nil, false, l.fault(column, line, "text after the closing quote")
	}
	if len(text) > 0 {
		rest, more = text[1:], true
	}
	return l.text[start:], rest, more, nil
}

func (l *lineReader) fault(column string, value []byte, want string) error {
	return &Error{File: l.name, Line: l.line, Column: column, Value: short(value), Want: want}
}
