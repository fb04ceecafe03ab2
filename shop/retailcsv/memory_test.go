package retailcsv_test

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// endless makes lines of ever new invoices as they are read.
type endless struct {
	next, lines int
	buf         []byte
}

func (e *endless) Read(b []byte) (int, error) {
	for len(e.buf) == 0 {
		if e.next == e.lines {
			return 0, io.EOF
		}
		e.buf = fmt.Appendf(nil, "%d,%d,SOMETHING LIKE A DESCRIPTION,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n", e.next/20, e.next)
		if e.next == 0 {
			e.buf = append([]byte(header), e.buf...)
		}
		e.next++
	}
	n := copy(b, e.buf)
	e.buf = e.buf[n:]
	return n, nil
}

func TestCommands_MemoryDoesNotGrowWithTheFile(t *testing.T) {
	const lines = 100_000 // some 9 MB
	source := retailcsv.Source{Name: "endless", Open: func() (io.ReadCloser, error) { return io.NopCloser(&endless{lines: lines}), nil }}
	most, commands := uint64(0), 0
	var m runtime.MemStats
	for _, err := range retailcsv.Commands(source) {
		if err != nil {
			t.Fatal(err)
		}
		if commands++; commands%1000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	if commands != lines/20 {
		t.Errorf("%d commands, want %d", commands, lines/20)
	}
	if most == 0 || most > 4<<20 {
		t.Errorf("%d bytes were in use while reading, want at most 4 MiB", most)
	}
}
