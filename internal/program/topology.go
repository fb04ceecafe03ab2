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
	c := &cobra.Command{
		Use: "topology", Short: "Describe aggregates, projections, topics and schemas", Args: cobra.NoArgs,
		Example: "  nexus topology\n  nexus topology --format mermaid > flow.mmd\n  nexus topology --format json | jq '.topics[].name'",
		RunE: func(c *cobra.Command, _ []string) error {
			if faults := t.Faults(); len(faults) > 0 {
				return Violated{&system.FaultsError{Gate: "topology", Faults: faults}}
			}
			text, err := describe(t.Describe(), format)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text, mermaid or json")
	c.Flags().Bool("json", false, "the same as --format json")
	c.PreRun = func(c *cobra.Command, _ []string) {
		if short, _ := c.Flags().GetBool("json"); short {
			format = "json"
		}
	}
	return c
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
