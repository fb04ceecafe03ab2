package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/archive"
	"github.com/nexusblueprint/nexus/internal/check"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

func eventsImportCommand(t *topology.Topology) *cobra.Command {
	var data string
	var asJSON bool
	c := &cobra.Command{
		Use: "import FILES…", Short: "Restore a system into a new data folder from exported events", Args: cobra.MinimumNArgs(1),
		Long: "import makes a data folder from the files of nexus events export, or from a folder with them: the events with\n" +
			"their ids, versions, metadata and hash chain, the tables and read models that they fold to. No system may run on\n" +
			"the folder, and it must be new, or hold a system that has taken no command yet. The files are read through first:\n" +
			"one that is cut off, altered or of another program is refused, with the record and field at fault. The restored\n" +
			"system is checked as nexus check does; only then the folder gets its name, so a failed import leaves it as it was.\n" +
			"Command ids from before the export are not remembered.",
		Example: "  nexus events import ./backup --data ./restored\n  nexus events import order.avro stock.avro --data ./restored && nexus dev --data ./restored",
		RunE: func(c *cobra.Command, args []string) error {
			text := c.OutOrStdout()
			if asJSON {
				text = c.ErrOrStderr()
			}
			report, err := importEvents(c.Context(), t, args, data, text)
			if report != nil && asJSON {
				err = errors.Join(err, printJSON(c.OutOrStdout(), report))
			}
			var fault *archive.FaultError
			if errors.As(err, &fault) {
				return Violated{err}
			}
			return err
		},
	}
	c.Flags().StringVar(&data, "data", "./nexus-data", "`folder` of all data, to be made")
	c.Flags().BoolVar(&asJSON, "json", false, "print the verdict of the check as JSON")
	return c
}

// importEvents restores a system beside the folder, checks it, and gives it the
// folder's name.
func importEvents(ctx context.Context, t *topology.Topology, paths []string, data string, out io.Writer) (*check.Report, error) {
	target, err := claim(data, t)
	if err != nil {
		return nil, err
	}
	defer target.release()
	a, err := archive.Open(ctx, t, paths)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "%d events are whole and fit this program\n", a.Events())
	report, err := restore(ctx, t, a, target.workshop, out)
	if err != nil {
		return report, err
	}
	fmt.Fprint(out, report.Text())
	if !report.OK {
		return report, Violated{errors.New("the restored system does not pass the check; nothing was kept of it")}
	}
	if err := target.finish(); err != nil {
		return report, err
	}
	fmt.Fprintf(out, "restored into %s: nexus dev --data %s\n", data, data)
	return report, nil
}

// restore runs a whole system on a new folder, filled with the archive, until it
// has been checked.
func restore(ctx context.Context, t *topology.Topology, a *archive.Archive, dir string, out io.Writer) (report *check.Report, err error) {
	b := newBar(out, "restoring  ")
	defer b.clear()
	seed := &system.Seed{
		Register: func(ctx context.Context, registry ports.SchemaRegistry) error {
			for _, s := range a.Schemas() {
				if _, err := registry.Register(ctx, s); err != nil {
					return fmt.Errorf("preparing the archive's schemas: %w", err)
				}
			}
			return nil
		},
		Fill: func(ctx context.Context, broker []kgo.Opt, registry ports.SchemaRegistry, framer *serde.Serde) error {
			return a.Restore(ctx, archive.Target{Framer: framer, Registry: registry, Broker: broker, Progress: b.set})
		},
	}
	const anyPort = "127.0.0.1:0"
	d, err := system.Start(ctx, t, system.Config{
		Data: dir, Listen: anyPort, BusListen: anyPort, RegistryListen: anyPort, Version: Version(), Seed: seed,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	b.clear()
	if err := caughtUp(ctx, d, newBar(out, "read models")); err != nil {
		return nil, err
	}
	return runCheck(ctx, t, remote{server: d.Endpoints().API})
}

const (
	catchUpTick = 50 * time.Millisecond
	// catchUpPatience is how long the lag may stay the same.
	catchUpPatience = 2 * time.Minute
)

// caughtUp waits until every read model has every event.
func caughtUp(ctx context.Context, d *system.System, b *bar) error {
	defer b.clear()
	tick := time.NewTicker(catchUpTick)
	defer tick.Stop()
	last, since, most := int64(-1), time.Now(), int64(0)
	for {
		left, err := api(d.Endpoints().API).LagRecords(ctx)
		if err != nil {
			return fmt.Errorf("waiting for the read models: %w", err)
		}
		if left == 0 {
			return nil
		}
		most = max(most, left)
		b.set(most-left, most)
		if left != last {
			last, since = left, time.Now()
		}
		if time.Since(since) > catchUpPatience {
			return fmt.Errorf("the read models stay %d records behind the log", left)
		}
		select {
		case err := <-d.Failed():
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// target is a data folder to be made, and the folder beside it where it is made.
type target struct {
	path     string
	workshop string
	old      io.Closer // holds what is there already; may be nil
}

// claim makes sure that nothing stands at path that a restore would bury.
func claim(path string, t *topology.Topology) (*target, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	tg := &target{path: abs}
	if tg.old, err = unused(abs, t); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o700); err != nil {
		return nil, err
	}
	tg.workshop, err = os.MkdirTemp(filepath.Dir(abs), filepath.Base(abs)+".import-")
	if err != nil {
		tg.release()
		return nil, err
	}
	return tg, nil
}

// finish puts the new folder in its place.
func (tg *target) finish() error {
	buried := tg.workshop + ".old"
	err := os.Rename(tg.path, buried)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(tg.workshop, tg.path); err != nil {
		return errors.Join(err, ignoreGone(os.Rename(buried, tg.path)))
	}
	return os.RemoveAll(buried)
}

// release takes away what is left of the work.
func (tg *target) release() {
	if tg.old != nil {
		_ = tg.old.Close() // it was only held
	}
	if tg.workshop != "" {
		_ = os.RemoveAll(tg.workshop) // a folder of a name that nobody else uses
	}
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
