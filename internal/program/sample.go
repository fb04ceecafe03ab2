package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/nexusblueprint/nexus/internal/system"
)

// Sample is data that a new system starts with.
type Sample struct {
	Name string
	// Load fills the system behind the API. It may be interrupted and called again:
	// what was loaded before is counted as done.
	Load func(ctx context.Context, server string, out io.Writer) error
	// Try are command lines for a first look at the data, and Begin are those that
	// need none; %s stands for the API's address.
	Try, Begin []string
}

// The marks of a sample in the data folder: loading begins with the first and
// ends with the second.
const (
	sampleBegun = "sample.begun"
	sampleDone  = "sample.done"
)

// sampleData loads the sample into a new folder, unless it is not wanted, or goes
// on with a load that was interrupted. It returns an error only for a role that
// failed meanwhile.
func sampleData(ctx context.Context, out io.Writer, d *system.System, sample *Sample, wanted bool) error {
	if sample == nil {
		return nil
	}
	if d.New() && wanted {
		if err := mark(d.Path(sampleBegun)); err != nil {
			return err
		}
	}
	if wanted && exists(d.Path(sampleBegun)) && !exists(d.Path(sampleDone)) {
		if failed := load(ctx, out, d, sample); failed != nil || ctx.Err() != nil {
			return failed
		}
	}
	lines := sample.Begin
	if exists(d.Path(sampleDone)) {
		lines = slices.Concat(sample.Try, sample.Begin)
	}
	fmt.Fprintln(out, "try")
	for _, line := range lines {
		fmt.Fprintf(out, "  "+line+"\n", d.Endpoints().API)
	}
	return nil
}

// load runs beside the roles: one that fails ends it.
func load(ctx context.Context, out io.Writer, d *system.System, sample *Sample) error {
	fmt.Fprintf(out, "loading %s\n", sample.Name)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- sample.Load(ctx, d.Endpoints().API, out) }()
	select {
	case failed := <-d.Failed():
		cancel()
		<-done //nolint:errcheck // it ends because the system has failed
		return failed
	case err := <-done:
		if err == nil {
			return mark(d.Path(sampleDone))
		}
		if !errors.Is(err, context.Canceled) {
			fmt.Fprintf(out, "loading %s stopped: %v; the next start goes on with it\n", sample.Name, err)
		}
		return nil
	}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func mark(file string) error {
	if err := os.WriteFile(file, []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
		return fmt.Errorf("noting the sample: %w", err)
	}
	return nil
}
