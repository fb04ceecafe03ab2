package program

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/topology"
)

func topologyCommand(t *topology.Topology) *cobra.Command {
	var format string
	var at remote
	c := &cobra.Command{
		Use: "topology", Short: "Describe aggregates, projections, topics and schemas", Args: cobra.NoArgs,
		Long: "topology describes what the program declares. With --server it shows what runs: which instance holds which\n" +
			"partitions of each group.",
		Example: "  nexus topology\n  nexus topology --server http://127.0.0.1:8080\n  nexus topology --format mermaid > flow.mmd\n  nexus topology --format json | jq '.topics[].name'",
		RunE: func(c *cobra.Command, _ []string) error {
			if faults := t.Faults(); len(faults) > 0 {
				return Violated{&system.FaultsError{Gate: "topology", Faults: faults}}
			}
			if c.Flags().Changed("server") {
				return showAssignment(c, t, at, format)
			}
			text, err := describe(t.Describe(), format)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
			return err
		},
	}
	at.flags(c)
	c.Flags().StringVar(&format, "format", "text", "text, mermaid or json")
	c.Flags().Bool("json", false, "the same as --format json")
	c.PreRun = func(c *cobra.Command, _ []string) {
		if short, _ := c.Flags().GetBool("json"); short {
			format = "json"
		}
	}
	return c
}

func showAssignment(c *cobra.Command, t *topology.Topology, at remote, format string) error {
	r, err := connect(c.Context(), t, at)
	if err != nil {
		return err
	}
	groups, err := r.assignment(c.Context(), t)
	if err != nil {
		return err
	}
	switch format {
	case "text":
		return printAssignment(c.OutOrStdout(), groups)
	case "json":
		return printJSON(c.OutOrStdout(), map[string]any{"groups": groups})
	}
	return fmt.Errorf("--format %q: with --server text and json are known", format)
}

func describe(d topology.Description, format string) (string, error) {
	switch format {
	case "text":
		return d.Text(), nil
	case "mermaid":
		return d.Mermaid(), nil
	case "json":
		text, err := json.MarshalIndent(d, "", "  ")
		return string(text) + "\n", err
	}
	return "", fmt.Errorf("--format %q: text, mermaid and json are known", format)
}
