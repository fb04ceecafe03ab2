package program

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/topology"
)

func runCommand(t *topology.Topology) *cobra.Command {
	var file string
	var verbose bool
	c := &cobra.Command{
		Use: "run", Short: "Run one instance on Kafka, a schema registry and a search store", Args: cobra.NoArgs,
		Long: "run runs the roles of one instance: gateway, processors, sink, alone or together, in any number of instances.\n" +
			"Settings come from the file, then NEXUS_… variables, then flags. Topics that are missing are created, those that\n" +
			"disagree stop the start; schemas are never registered: nexus schemas register does that before a release.\n" +
			"An interrupt drains and stops; its partitions wait for a restart, or move at once with --leave-on-stop true.",
		Example: "  nexus run --config nexus.yaml\n  nexus run --config nexus.yaml --roles processors --instance p-1 --data /var/lib/nexus/p-1 --listen 127.0.0.1:8091",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := config.Load(config.Sources{File: file, Lookup: os.LookupEnv, Flags: c.Flags()})
			if err != nil {
				return err
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			return runInstance(c, t, *settings, slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
		},
	}
	config.AddFlags(c.Flags())
	c.Flags().StringVar(&file, "config", "", "`file` of settings, YAML")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "log everything")
	return c
}

// runInstance runs until it is told to stop, or a role ends by itself.
func runInstance(c *cobra.Command, t *topology.Topology, settings config.Config, logger *slog.Logger) error {
	ctx, out := c.Context(), c.OutOrStdout()
	fmt.Fprintf(out, "starting %s as %s (%s), data in %s\n", t.Context, settings.Instance, strings.Join(settings.Roles, ", "), settings.Data)
	s, err := system.Run(ctx, t, settings, Version(), logger)
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(out, "stopped before it was ready")
		return nil
	}
	var faults *system.FaultsError
	if errors.As(err, &faults) || system.Fenced(err) {
		return Violated{err}
	}
	if err != nil {
		return err
	}
	e := s.Endpoints()
	fmt.Fprintf(out, "ready\n  API       %s\n  broker    %s\n  registry  %s\n", e.API, e.Bus, e.Registry)
	var failed error
	select {
	case failed = <-s.Failed():
	case <-ctx.Done():
	}
	fmt.Fprintln(out, "draining")
	err = s.Stop()
	if failed != nil {
		return Violated{system.Ended(failed)}
	}
	if err == nil {
		fmt.Fprintln(out, "stopped")
	}
	return err
}
