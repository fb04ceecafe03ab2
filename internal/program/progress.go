package program

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// bar shows on a terminal how far something is; elsewhere it is silent.
type bar struct {
	mu   sync.Mutex
	out  io.Writer // nil: silent
	what string
	last time.Time
	left bool // a line stands there
}

const barTick = 100 * time.Millisecond

func newBar(out io.Writer, what string) *bar {
	b := &bar{what: what}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		b.out = out
	}
	return b
}

// set shows that done of total are done.
func (b *bar) set(done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.out == nil || total <= 0 || time.Since(b.last) < barTick {
		return
	}
	const width = 30
	full := int(min(done, total) * width / total)
	fmt.Fprintf(b.out, "\r%s [%-*s] %3d%%", b.what, width, "##############################"[:full], min(done, total)*100/total)
	b.last, b.left = time.Now(), true
}

// clear takes the bar away.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left {
		fmt.Fprint(b.out, "\r\033[K")
		b.left = false
	}
}
