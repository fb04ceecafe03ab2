package program

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/topology"
)

func verifyCommand(t *topology.Topology) *cobra.Command {
	var asJSON, onlyFacts bool
	c := &cobra.Command{
		Use: "verify [DIR]", Short: "Judge topology, schemas, Go source and deploy files by the policies", Args: cobra.MaximumNArgs(1),
		Long: "verify asks every policy about the topology this program is built with, its schemas against each release\n" +
			"in DIR/schemas/avro/history, the Go source of the module in DIR (default: the current folder) and the\n" +
			"deploy files below it. It exits with 1 if a rule is violated.",
		Example: "  nexus verify\n  nexus verify ./myshop --json\n  nexus verify --facts | jq '.source.packages[].calls'",
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			if faults := t.Faults(); len(faults) > 0 {
				return Violated{&system.FaultsError{Gate: "topology", Faults: faults}}
			}
			facts, err := policies.Gather(c.Context(), t.Describe(), dir)
			if err != nil {
				return err
			}
			if onlyFacts {
				return printJSON(c.OutOrStdout(), facts)
			}
			verdict, err := policies.Judge(c.Context(), facts)
			if err != nil {
				return err
			}
			return report(c, verdict, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	c.Flags().BoolVar(&onlyFacts, "facts", false, "print the facts that rules are asked about, as JSON, and judge nothing")
	return c
}

func report(c *cobra.Command, v policies.Verdict, asJSON bool) error {
	out := c.OutOrStdout()
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			return err
		}
	} else {
		for _, violation := range v.Violations {
			fmt.Fprintln(out, violation)
		}
		fmt.Fprintf(out, "%d rules judged, %d violations\n", len(v.Judged), v.Errors())
		for _, rule := range v.NotJudged {
			fmt.Fprintf(out, "not judged here: %s\n", rule)
		}
	}
	if !v.OK() {
		return Violated{fmt.Errorf("%d violations of the policies", v.Errors())}
	}
	return nil
}
