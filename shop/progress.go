package shop

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// progress shows how a load goes on: a bar on a terminal, else a line now and
// then. It judges what is left by the bytes read of the files and by the
// commands read from them that are not answered yet.
type progress struct {
	writing  sync.Mutex
	out      io.Writer // nil: show nothing
	terminal bool
	loader   *loader
	total    int64 // bytes of all files, 0 if one is not known
	read     atomic.Int64
	stop     chan struct{}
	stopped  sync.WaitGroup
}

func newProgress(out io.Writer, l *loader, sources []retailcsv.Source) *progress {
	p := &progress{out: out, loader: l, stop: make(chan struct{})}
	if file, ok := out.(*os.File); ok {
		p.terminal = term.IsTerminal(int(file.Fd()))
	}
	for _, s := range sources {
		if s.Bytes == 0 {
			p.total = 0
			break
		}
		p.total += s.Bytes
	}
	return p
}

// counted are the sources, counted while they are read.
func (p *progress) counted(sources []retailcsv.Source) []retailcsv.Source {
	counted := make([]retailcsv.Source, len(sources))
	for i, s := range sources {
		counted[i] = s
		counted[i].Open = func() (io.ReadCloser, error) {
			file, err := s.Open()
			if err != nil {
				return nil, err
			}
			return &countedFile{ReadCloser: file, read: &p.read}, nil
		}
	}
	return counted
}

type countedFile struct {
	io.ReadCloser
	read *atomic.Int64
}

func (f *countedFile) Read(b []byte) (int, error) {
	n, err := f.ReadCloser.Read(b)
	f.read.Add(int64(n))
	return n, err
}

// begin starts showing progress until end.
func (p *progress) begin() {
	if p.out == nil {
		return
	}
	every := 2 * time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	p.stopped.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.show()
			case <-p.stop:
				return
			}
		}
	})
}

func (p *progress) end() {
	close(p.stop)
	p.stopped.Wait()
	if p.terminal {
		p.printf("\r\x1b[K")
	}
}

// tell shows a line beside the progress.
func (p *progress) tell(format string, args ...any) {
	if p.terminal {
		format = "\r\x1b[K" + format
	}
	p.printf(format+"\n", args...)
}

func (p *progress) show() {
	p.loader.mu.Lock()
	report := p.loader.report
	p.loader.mu.Unlock()
	done := p.fraction(report.Commands())
	text := progressText(report, now().Sub(p.loader.start), done)
	if p.terminal {
		p.printf("\r\x1b[K%s %s", bar(done), text)
	} else {
		p.printf("%s\n", text)
	}
}

// fraction of the load that is done: 0 to 1, 0 while that is not known.
func (p *progress) fraction(answered int) float64 {
	read := p.loader.read.Load()
	if p.total == 0 || read == 0 {
		return 0
	}
	return min(1, float64(p.read.Load())/float64(p.total)*float64(answered)/float64(read))
}

func bar(fraction float64) string {
	const width = 24
	full := int(fraction * width)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "]"
}

func progressText(r LoadReport, elapsed time.Duration, fraction float64) string {
	seconds := max(elapsed.Seconds(), 0.001)
	text := fmt.Sprintf("%3.0f%%  %d commands (%.0f/s)  %d events (%.0f/s)", fraction*100,
		r.Commands(), float64(r.Commands())/seconds, r.Events, float64(r.Events)/seconds)
	if r.Failed > 0 {
		text += fmt.Sprintf("  %d failed", r.Failed)
	}
	if fraction > 0.02 {
		left := time.Duration(seconds * (1 - fraction) / fraction * float64(time.Second))
		text += fmt.Sprintf("  %s left", left.Round(time.Second))
	}
	return text
}

// answered shows the result of the command path, with the first failures.
func (p *progress) answered(r LoadReport) {
	p.printf("%d commands in %.1f s (%.0f/s): %d accepted, %d already there, %d failed\n", r.Commands(), r.Answered.Seconds(),
		float64(r.Commands())/max(r.Answered.Seconds(), 0.001), r.Accepted, r.AlreadyThere, r.Failed)
	for _, f := range r.Failures {
		p.printf("  %s\n", f)
	}
	if more := r.Failed - len(r.Failures); more > 0 {
		p.printf("  and %d more\n", more)
	}
}

func (p *progress) visible(r LoadReport) {
	p.printf("the read models have it all after %.1f s\n", r.Visible.Seconds())
}

func (p *progress) printf(format string, args ...any) {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.out != nil {
		// A load goes on when nobody can see it.
		_, _ = fmt.Fprintf(p.out, format, args...)
	}
}
