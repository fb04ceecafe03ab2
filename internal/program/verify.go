package program

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/topology"
)

func verifyCommand(t *topology.Topology) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "verify [DIR]", Short: "Judge topology, schemas and Go source by the policies", Args: cobra.MaximumNArgs(1),
		Long: "verify asks every policy about the topology this program is built with, its schemas against each release\n" +
			"in DIR/schemas/avro/history, and the Go source of the module in DIR (default: the current folder).\n" +
			"It exits with 1 if a rule is violated.",
		Example: "  nexus verify\n  nexus verify ./myshop --json",
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			if faults := t.Faults(); len(faults) > 0 {
				return Violated{&system.FaultsError{Gate: "topology", Faults: faults}}
			}
			facts, err := sourceFacts(t, dir)
			if err != nil {
				return err
			}
			verdict, err := policies.Judge(c.Context(), facts)
			if err != nil {
				return err
			}
			return report(c, verdict, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	return c
}

// sourceFacts are what can be judged without a running system.
func sourceFacts(t *topology.Topology, dir string) (policies.Facts, error) {
	d := t.Describe()
	facts := policies.Facts{Topology: &d}
	var err error
	if facts.Source, err = policies.ReadSource(dir); err != nil {
		return facts, err
	}
	releases := filepath.Join(dir, "schemas", "avro", "history")
	if _, err := os.Stat(releases); errors.Is(err, fs.ErrNotExist) {
		facts.History = &policies.History{} // nothing was released yet
		return facts, nil
	}
	facts.History, err = policies.ReadHistory(d, os.DirFS(releases))
	return facts, err
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
		fmt.Fprintf(out, "%d rules judged, %d violations\n", len(v.Judged), len(v.Violations))
		for _, rule := range v.NotJudged {
			fmt.Fprintf(out, "not judged here: %s\n", rule)
		}
	}
	if !v.OK() {
		return Violated{fmt.Errorf("%d violations of the policies", len(v.Violations))}
	}
	return nil
}
