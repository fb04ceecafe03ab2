package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/archive"
	"github.com/nexusblueprint/nexus/internal/check"
	"github.com/nexusblueprint/nexus/internal/datadir"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

func eventsImportCommand(t *topology.Topology) *cobra.Command {
	var data, file string
	var asJSON bool
	c := &cobra.Command{
		Use: "import FILES…", Short: "Restore a system from exported events: into a new data folder, or onto Kafka", Args: cobra.MinimumNArgs(1),
		Long: "import makes a system from the files of nexus events export, or from a folder with them: the events with their\n" +
			"ids, versions, metadata and hash chain, the tables and read models that they fold to. The files are read through\n" +
			"first: one that is cut off, altered or of another program is refused, with the record and field at fault. Of the\n" +
			"commands from before the export the last eight accepted ones of each aggregate are remembered.\n\n" +
			"With --data it makes a data folder of nexus dev. No system may run on the folder, and it must be new, or hold a\n" +
			"system that has taken no command yet. The restored system is checked as nexus check does; only then the folder\n" +
			"gets its name, so a failed import leaves it as it was. What one that was killed left beside it, the next removes.\n\n" +
			"With --config it fills the Kafka that the file names: it registers the schemas, creates the topics, which must be\n" +
			"unused, and writes events and tables. No instance may run, and none starts before the import is complete. One\n" +
			"that was interrupted goes on where it was when it is called again with the same files. Then: nexus run.",
		Example: "  nexus events import ./backup --data ./restored\n  nexus events import order.avro stock.avro --data ./restored && nexus dev --data ./restored\n" +
			"  nexus events import ./backup --config nexus.yaml && nexus run --config nexus.yaml",
		RunE: func(c *cobra.Command, args []string) error {
			text := c.OutOrStdout()
			if asJSON {
				text = c.ErrOrStderr()
			}
			var result any
			var err error
			again := "nothing was kept of it; call it again, and it begins anew"
			if file != "" {
				again = "call it again with the same files, and it goes on where it was; no instance starts on half a log"
				result, err = importOntoKafka(c, t, args, file, text)
			} else {
				result, err = importEvents(c.Context(), t, args, data, text)
			}
			if result != nil && asJSON {
				err = errors.Join(err, printJSON(c.OutOrStdout(), result))
			}
			var fault *archive.FaultError
			var faults *system.FaultsError
			switch {
			case errors.As(err, &fault) || errors.As(err, &faults) || errors.Is(err, archive.ErrOther) || errors.Is(err, ports.ErrIncompatible):
				return Violated{err}
			case err != nil && c.Context().Err() != nil: // what each part says of it helps nobody
				return fmt.Errorf("the import was interrupted: %s", again)
			}
			return err
		},
	}
	c.Flags().StringVar(&data, "data", "./nexus-data", "`folder` of all data, to be made")
	c.Flags().StringVar(&file, "config", "", "`file` of settings of nexus run: import onto the Kafka that it names")
	c.MarkFlagsMutuallyExclusive("data", "config")
	c.Flags().BoolVar(&asJSON, "json", false, "print the verdict of the check as JSON; with --config how many events were imported")
	return c
}

// importEvents restores a system beside the folder, checks it, and gives it the
// folder's name.
func importEvents(ctx context.Context, t *topology.Topology, paths []string, data string, out io.Writer) (result any, err error) {
	target, err := claim(data, t, out)
	if err != nil {
		return nil, err
	}
	defer target.release()
	a, err := openArchive(ctx, t, paths, out)
	if err != nil {
		return nil, err
	}
	report, err := restore(ctx, t, a, target.workshop(), out)
	if err != nil {
		return nil, err
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

func openArchive(ctx context.Context, t *topology.Topology, paths []string, out io.Writer) (*archive.Archive, error) {
	a, err := archive.Open(ctx, t, paths)
	if err == nil {
		fmt.Fprintf(out, "%d events are whole and fit this program\n", a.Events())
	}
	return a, err
}

// importOntoKafka fills the topics of a context that nothing has used yet.
func importOntoKafka(c *cobra.Command, t *topology.Topology, paths []string, file string, out io.Writer) (result any, err error) {
	settings, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	if settings.Bus.Embedded() {
		return nil, fmt.Errorf("%s names the embedded broker, which lives in a data folder: leave --config out, and name that folder with --data", file)
	}
	a, err := openArchive(c.Context(), t, paths, out)
	if err != nil {
		return nil, err
	}
	b := newBar(out, "importing  ")
	logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	err = system.Import(c.Context(), t, *settings, seedOf(a, b), logger)
	b.clear()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "imported onto %s: nexus run --config %s\n", settings.Bus.URL, file)
	return map[string]int64{"events": a.Events()}, nil
}

// seedOf fills a system with an archive.
func seedOf(a *archive.Archive, b *bar) system.Seed {
	return system.Seed{
		Register: func(ctx context.Context, registry ports.SchemaRegistry) error {
			for _, s := range a.Schemas() {
				_, err := registry.Lookup(ctx, s)
				if errors.Is(err, ports.ErrUnknownSchema) {
					_, err = registry.Register(ctx, s)
				}
				if err != nil {
					return fmt.Errorf("preparing the archive's schemas: %w", err)
				}
			}
			return nil
		},
		Fill: func(ctx context.Context, broker []kgo.Opt, registry ports.SchemaRegistry, framer *serde.Serde) error {
			return a.Restore(ctx, archive.Target{Framer: framer, Registry: registry, Broker: broker, Progress: b.set})
		},
	}
}

// restore runs a whole system on a new folder, filled with the archive, until it
// has been checked.
func restore(ctx context.Context, t *topology.Topology, a *archive.Archive, dir string, out io.Writer) (report *check.Report, err error) {
	b := newBar(out, "restoring  ")
	defer b.clear()
	seed := seedOf(a, b)
	const anyPort = "127.0.0.1:0"
	d, err := system.Start(ctx, t, system.Config{
		Data: dir, Listen: anyPort, BusListen: anyPort, RegistryListen: anyPort, Version: Version(), Seed: &seed,
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

// target is a data folder to be made.
type target struct {
	path string
	old  io.Closer    // holds what is there already; may be nil
	site string       // a folder beside it, where the work is done
	held *datadir.Dir // in the site, until the work is done or given up: whose it is
}

// What a site holds.
const (
	siteHeld = "held"
	siteNew  = "data" // the folder in the making
	siteOld  = "old"  // what stood in its place
)

// claim makes sure that nothing stands at path that a restore would bury, and
// removes the sites of imports that were killed.
func claim(path string, t *topology.Topology, out io.Writer) (*target, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	tg := &target{path: abs}
	if tg.old, err = unused(abs, t); err != nil {
		return nil, err
	}
	if err := tg.open(out); err != nil {
		tg.release()
		return nil, err
	}
	return tg, nil
}

func (tg *target) open(out io.Writer) error {
	dir, prefix := filepath.Dir(tg.path), filepath.Base(tg.path)+".import-"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), prefix) {
			clearSite(filepath.Join(dir, e.Name()), out)
		}
	}
	if tg.site, err = os.MkdirTemp(dir, prefix); err != nil {
		return err
	}
	tg.held, err = datadir.Open(filepath.Join(tg.site, siteHeld), false)
	return err
}

// clearSite removes what an import left that was killed: a living one holds its
// site. A folder with anything else in it is no site, whatever its name.
func clearSite(site string, out io.Writer) {
	entries, err := os.ReadDir(site)
	if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return !slices.Contains([]string{siteHeld, siteNew, siteOld}, e.Name())
	}) {
		return
	}
	// An empty one may be about to be held: whoever made it makes it again.
	remove, why := os.Remove, "which is empty"
	if len(entries) > 0 {
		held, err := datadir.Open(filepath.Join(site, siteHeld), false)
		if err != nil {
			return
		}
		defer func() { _ = held.Close() }()
		remove, why = os.RemoveAll, "which an interrupted import left"
	}
	if err := remove(site); err != nil {
		fmt.Fprintf(out, "%s, %s, cannot be removed: %v\n", site, why, err)
		return
	}
	fmt.Fprintf(out, "removed %s, %s\n", site, why)
}

// workshop is where the folder is made.
func (tg *target) workshop() string { return filepath.Join(tg.site, siteNew) }

// finish puts the new folder in its place.
func (tg *target) finish() error {
	old := filepath.Join(tg.site, siteOld)
	if err := os.Rename(tg.path, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(tg.workshop(), tg.path); err != nil {
		return errors.Join(err, ignoreGone(os.Rename(old, tg.path)))
	}
	return nil
}

// release takes away what is left of the work.
func (tg *target) release() {
	if tg.old != nil {
		_ = tg.old.Close() // it was only held
	}
	if tg.site != "" {
		_ = os.RemoveAll(tg.site) // a folder of a name that nobody else uses
	}
	if tg.held != nil {
		_ = tg.held.Close()
	}
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
