package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/topology"
)

func doctorCommand(t *topology.Topology) *cobra.Command {
	d := &doctor{topology: t}
	var asJSON bool
	c := &cobra.Command{
		Use: "doctor", Short: "Say what is wrong with a system, and what to do about it", Args: cobra.NoArgs,
		Long: "doctor looks at the data folder, the ports, the API, the broker with its topics, the registry with its schemas,\n" +
			"and the clock. With --config it connects to all that the file names, whether an instance runs or not. Each line is\n" +
			"ok, warn or fail; it exits with 1 if anything fails. It changes nothing.",
		Example: "  nexus doctor --config nexus.yaml\n  nexus doctor\n  nexus doctor --server http://127.0.0.1:9090 --data /tmp/shop\n  nexus doctor --json | jq '.findings[] | select(.verdict != \"ok\")'",
		RunE: func(c *cobra.Command, _ []string) error {
			findings := d.examine(c.Context())
			failed := 0
			for _, f := range findings {
				if f.Verdict == fails {
					failed++
				}
			}
			if asJSON {
				if err := printJSON(c.OutOrStdout(), map[string]any{"ok": failed == 0, "findings": findings}); err != nil {
					return err
				}
			} else {
				printFindings(c.OutOrStdout(), findings)
			}
			if failed > 0 {
				return Violated{fmt.Errorf("%d of %d findings are failures", failed, len(findings))}
			}
			return nil
		},
	}
	d.at.flags(c)
	c.Flags().StringVar(&d.data, "data", "./nexus-data", "`folder` of all data")
	c.PreRun = func(c *cobra.Command, _ []string) { d.chosen = c.Flags().Changed }
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// The verdicts of a finding.
const (
	fine  = "ok"
	warns = "warn"
	fails = "fail"
)

// finding is one thing that was looked at.
type finding struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`           // what is, in words
	Advice  string `json:"advice,omitempty"` // what to do
}

// doctor gathers findings.
type doctor struct {
	topology *topology.Topology
	at       remote
	data     string
	chosen   func(flag string) bool // on the command line
	findings []finding
}

func (d *doctor) ok(name, format string, args ...any) {
	d.findings = append(d.findings, finding{Name: name, Verdict: fine, Detail: fmt.Sprintf(format, args...)})
}

func (d *doctor) warn(name, advice, format string, args ...any) {
	d.findings = append(d.findings, finding{Name: name, Verdict: warns, Detail: fmt.Sprintf(format, args...), Advice: advice})
}

func (d *doctor) fail(name, advice, format string, args ...any) {
	d.findings = append(d.findings, finding{Name: name, Verdict: fails, Detail: fmt.Sprintf(format, args...), Advice: advice})
}

// examinePatience bounds one examination: each part answers within seconds, or
// that is the finding.
const examinePatience = 30 * time.Second

func (d *doctor) examine(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, examinePatience)
	defer cancel()
	if d.at.file != "" {
		d.configured(ctx)
		return d.findings
	}
	d.folder()
	if !d.api(ctx) {
		d.ports(ctx)
		return d.findings
	}
	r, err := connect(ctx, d.topology, d.at)
	if err != nil {
		d.fail("endpoints", "ask whoever runs the server for its release: this program cannot see its broker and registry", "the API does not say where its parts are: %v", err)
		return d.findings
	}
	d.broker(ctx, r)
	d.registry(ctx, r)
	return d.findings
}

func printFindings(w io.Writer, findings []finding) {
	for _, f := range findings {
		fmt.Fprintf(w, "%-4s  %-13s %s\n", f.Verdict, f.Name, indentLines(f.Detail))
		if f.Advice != "" {
			fmt.Fprintf(w, "      %-13s → %s\n", "", f.Advice)
		}
	}
}

func indentLines(s string) string { return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", 20)) }

// seconds is a context for one question.
func seconds(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, time.Duration(n)*time.Second, errors.New("no answer in time"))
}
