package shop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexusblueprint/nexus/shop/client"
	"github.com/nexusblueprint/nexus/shop/data"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// What to do where no server answers.
const (
	hintStart = "start it with nexus dev, or name another with --server"
	hintAgain = "start it again and run the same command: it goes on where it stopped"
)

// whatToDo adds the hint to the error of a server that does not answer.
func whatToDo(err error, hint string) error {
	if errors.Is(err, client.ErrUnreachable) {
		return fmt.Errorf("%w: %s", err, hint)
	}
	return err
}

// DefaultServer is where `nexus dev` listens.
const DefaultServer = "http://127.0.0.1:8080"

const (
	// batchesInFlight keeps the server busy while answers are on their way.
	batchesInFlight = 4
	// A batch is full at either of these.
	batchCommandsMax = 250
	batchBytesMax    = 512 << 10
	// failuresKept bounds the list of failures in a report.
	failuresKept = 10
	// patienceDefault bounds how long a load goes on without any answer.
	patienceDefault = time.Minute
)

// LoadOptions say what to load, where to, and how to show it.
type LoadOptions struct {
	// Server is the platform's address; "" means DefaultServer.
	Server string
	// Sources are read one after the other; none means Sample(), all months.
	// Those whose size is known are read through before the first command is sent.
	Sources []retailcsv.Source
	// Out takes progress and the result: a bar on a terminal, else plain lines.
	// Nil means silence.
	Out io.Writer
	// Patience is how long to go on trying without any answer; 0 means a minute.
	Patience time.Duration
}

// LoadReport is what became of a load. Every command counts once.
type LoadReport struct {
	Accepted     int // by this load
	AlreadyThere int // by an earlier load or attempt, or by somebody else
	Failed       int
	Events       int       // recorded by this load
	Failures     []Failure // the first ones
	// Answered is the time until every command had its answer, Visible until
	// the read models had all of it.
	Answered, Visible time.Duration
}

// Commands is how many commands were settled.
func (r LoadReport) Commands() int { return r.Accepted + r.AlreadyThere + r.Failed }

// Failure is a command that was refused.
type Failure struct {
	CommandID string
	Status    int
	Code      string
	Detail    string
}

func (f Failure) String() string {
	return fmt.Sprintf("%s: %d %s: %s", f.CommandID, f.Status, f.Code, f.Detail)
}

// Sample is the data that the program ships with: the named months, such as
// "2010-12", or all of them. A month it does not have fails when it is opened.
func Sample(months ...string) []retailcsv.Source {
	if len(months) == 0 {
		months = data.Months
	}
	sources := make([]retailcsv.Source, len(months))
	for i, month := range months {
		name := month + ".csv.gz"
		sources[i] = retailcsv.Source{Name: name, Open: func() (io.ReadCloser, error) { return data.Files.Open(name) }}
		if info, err := fs.Stat(data.Files, name); err == nil {
			sources[i].Bytes = info.Size()
		}
	}
	return sources
}

// Load sends the invoices of the sources as commands through the HTTP API and
// returns when the read models have all of them. Loading the same again changes
// nothing: each command has the id it always has, and the aggregates know the
// numbers of their invoices. Memory does not grow with the sources.
//
// What the server refuses for good is counted in the report, not an error.
// Errors: a *retailcsv.Error where a file is not as it should be, a server that
// cannot be reached at the start or does not answer for longer than Patience, and
// those of ctx. After an error the load can be repeated; what was accepted stays.
func Load(ctx context.Context, o LoadOptions) (LoadReport, error) {
	if o.Server == "" {
		o.Server = DefaultServer
	}
	if len(o.Sources) == 0 {
		o.Sources = Sample()
	}
	if o.Patience == 0 {
		o.Patience = patienceDefault
	}
	c, err := client.New(o.Server)
	if err != nil {
		return LoadReport{}, err
	}
	defer c.Close()
	if err := checked(ctx, o.Sources); err != nil {
		return LoadReport{}, fmt.Errorf("nothing was loaded: %w", err)
	}
	l := &loader{client: c, patience: o.Patience, positions: positions{}, start: now()}
	l.lastAnswer = l.start
	p := newProgress(o.Out, l, o.Sources)
	l.tell = p.tell
	p.begin()
	err = l.run(ctx, p.counted(o.Sources))
	answered := now().Sub(l.start)
	p.end()
	l.report.Answered = answered // nobody else reads the report any more
	switch {
	case err != nil && !l.answers:
		return l.report, fmt.Errorf("nothing was loaded: %w", whatToDo(err, hintStart))
	case err != nil:
		return l.report, fmt.Errorf("loading stopped after %d commands: %w", l.report.Commands(), whatToDo(err, hintAgain))
	}
	p.answered(l.report)
	if err := l.awaitReadModels(ctx); err != nil {
		return l.report, fmt.Errorf("waiting for the read models: %w", whatToDo(err, hintAgain))
	}
	l.report.Visible = now().Sub(l.start)
	p.visible(l.report)
	return l.report, nil
}

// checked reads the files through: what a damaged one holds is known to be wrong
// only at its end, where its checksum is, and events are for ever. A pipe, which
// has no size, can be read only once and is taken as it comes.
func checked(ctx context.Context, sources []retailcsv.Source) error {
	files := make([]retailcsv.Source, 0, len(sources))
	for _, s := range sources {
		if s.Bytes > 0 {
			files = append(files, s)
		}
	}
	for _, err := range retailcsv.Commands(files...) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// now is the clock of progress and patience.
var now = time.Now

// loader is one run of Load.
type loader struct {
	client   *client.Client
	patience time.Duration
	start    time.Time
	read     atomic.Int64 // commands that the sources gave
	tell     func(format string, args ...any)

	mu         sync.Mutex // guards what is below
	report     LoadReport
	positions  positions
	lastAnswer time.Time
	answers    bool // the server has answered at least once
	told       bool // people were told why nothing is answered any more
}

// run reads the sources and sends their commands, several batches at a time.
// It owns the senders and returns when they have.
func (l *loader) run(ctx context.Context, sources []retailcsv.Source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan batch)
	var senders sync.WaitGroup
	for range batchesInFlight {
		senders.Go(func() {
			for b := range batches {
				if err := l.send(ctx, b); err != nil {
					cancel(err) // the first one counts
				}
			}
		})
	}
	err := l.cut(ctx, sources, batches)
	close(batches)
	senders.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// cut makes batches of the commands of the sources.
func (l *loader) cut(ctx context.Context, sources []retailcsv.Source, batches chan<- batch) error {
	var b batch
	hand := func() error {
		select {
		case batches <- b:
			b = batch{}
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for command, err := range retailcsv.Commands(sources...) {
		if err != nil {
			return err
		}
		if err := b.add(command); err != nil {
			return err
		}
		l.read.Add(1)
		if b.full() {
			if err := hand(); err != nil {
				return err
			}
		}
	}
	if len(b.commands) == 0 {
		return nil
	}
	return hand()
}
