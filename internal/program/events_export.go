package program

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/internal/archive"
	"github.com/nexusblueprint/nexus/topology"
)

func eventsExportCommand(t *topology.Topology) *cobra.Command {
	var at remote
	var chosen []string
	var asJSON bool
	c := &cobra.Command{
		Use: "export DIR", Short: "Write all events to Avro files", Args: cobra.ExactArgs(1),
		Long: "export writes the events of a running system, as of now, to one Avro object container file per aggregate type:\n" +
			"each event with its metadata, byte for byte, in the order of its aggregate. Any Avro reader opens the files, and\n" +
			"nexus events import restores a system from them. A file has its name only once the whole export is complete.",
		Example: "  nexus events export ./backup\n  nexus events export ./orders --aggregate order",
		RunE: func(c *cobra.Command, args []string) error {
			aggregates, err := aggregatesOf(t, chosen)
			if err != nil {
				return err
			}
			r, err := connect(c.Context(), t, at)
			if err != nil {
				return err
			}
			b := newBar(c.OutOrStdout(), "exporting")
			done, err := archive.Export(c.Context(), archive.Source{
				Topology: t, Framer: r.framer, Registry: r.registry, Broker: r.broker, Progress: b.set,
			}, args[0], aggregates)
			b.clear()
			var fault *archive.FaultError
			if errors.As(err, &fault) {
				return Violated{err}
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{"files": done})
			}
			for _, f := range done {
				fmt.Fprintf(c.OutOrStdout(), "%s: %d events, %d bytes\n", f.File, f.Events, f.Bytes)
			}
			return nil
		},
	}
	at.flags(c)
	aggregatesFlag(c, &chosen)
	c.Flags().BoolVar(&asJSON, "json", false, "print the files as JSON")
	return c
}
