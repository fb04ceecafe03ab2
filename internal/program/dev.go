package program

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/topology"
)

func devCommand(t *topology.Topology, o Options) *cobra.Command {
	var cfg system.Config
	var noSample, verbose bool
	var durability string
	c := &cobra.Command{
		Use: "dev", Short: "Run the whole platform in one process", Args: cobra.NoArgs,
		Long: "dev runs everything in one process: broker, schema registry and search store are embedded, and all data\n" +
			"is in one folder. Kafka's tools and clients reach the broker, read-only. A new folder is filled with the\n" +
			"sample data first. Ctrl-C drains and stops; the next start goes on from the folder.",
		Example: "  nexus dev\n  nexus dev --data /tmp/shop --listen 127.0.0.1:0 --no-sample\n  nexus dev --durability sync",
		RunE: func(c *cobra.Command, _ []string) error {
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelDebug
			}
			cfg.Logger = slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			cfg.Version = Version()
			switch durability {
			case "process":
			case "sync":
				cfg.Sync = true
			default:
				return fmt.Errorf("--durability %q: process (survives kill -9) and sync (survives power loss, slower) are known", durability)
			}
			return dev(c, t, cfg, o.Sample, !noSample)
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.Data, "data", "./nexus-data", "`folder` of all data")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:8080", "`host:port` of the API")
	f.StringVar(&cfg.BusListen, "bus-listen", "127.0.0.1:9092", "`host:port` of the broker")
	f.StringVar(&cfg.RegistryListen, "registry-listen", "127.0.0.1:8081", "`host:port` of the schema registry")
	f.StringVar(&cfg.Governance, "governance", config.Enforce, "what violations of the policies do to the start: `enforce|warn` (stop it, or be shown)")
	f.BoolVar(&cfg.Reset, "reset", false, "empty the data folder first")
	f.BoolVar(&noSample, "no-sample", false, "do not load the sample data into a new folder")
	f.StringVar(&durability, "durability", "process", "what survives: process (kill -9) or sync (power loss, slower)")
	f.BoolVarP(&verbose, "verbose", "v", false, "log everything")
	return c
}

// dev runs the system until it is told to stop.
func dev(c *cobra.Command, t *topology.Topology, cfg system.Config, sample *Sample, wanted bool) error {
	ctx, out := c.Context(), c.OutOrStdout()
	fmt.Fprintf(out, "starting %s, data in %s\n", t.Context, cfg.Data)
	d, err := system.Start(ctx, t, cfg)
	if err != nil {
		return err
	}
	welcome(out, d)
	failed := sampleData(ctx, out, d, sample, wanted)
	if failed == nil {
		select {
		case failed = <-d.Failed():
		case <-ctx.Done():
		}
	}
	fmt.Fprintln(out, "\ndraining")
	err = d.Stop()
	if failed != nil {
		return failed
	}
	if err == nil {
		fmt.Fprintln(out, "stopped")
	}
	return err
}

func welcome(out io.Writer, d *system.System) {
	e := d.Endpoints()
	fmt.Fprintf(out, "ready\n  API       %s\n  OpenAPI   %s/api/openapi.json\n  broker    %s (Kafka protocol, read-only for guests)\n  registry  %s\n", e.API, e.API, e.Bus, e.Registry)
	if rules := d.NotJudged(); len(rules) > 0 {
		fmt.Fprintf(out, "  policies  judged in CI, by nexus verify, not here: %s\n", strings.Join(rules, ", "))
	}
}
