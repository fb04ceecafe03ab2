package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/internal/check"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/topology"
)

func checkCommand(t *topology.Topology) *cobra.Command {
	var at remote
	var asJSON bool
	c := &cobra.Command{
		Use: "check", Short: "Recompute the invariants of a running system from its topics", Args: cobra.NoArgs,
		Long: "check reads commands, events, outcomes, tables and read models of a running system and recomputes what must\n" +
			"hold: one outcome per command, unique event ids, contiguous versions, tables and read models equal to the\n" +
			"fold of the log, an unbroken hash chain. It exits with 1 if something does not hold, or could not be judged.",
		Example: "  nexus check\n  nexus check --json --server http://127.0.0.1:8080",
		RunE: func(c *cobra.Command, _ []string) error {
			report, err := runCheck(c.Context(), t, at)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				if err := e.Encode(report); err != nil {
					return err
				}
			} else {
				fmt.Fprint(c.OutOrStdout(), report.Text())
			}
			if !report.OK {
				return Violated{errors.New("not every invariant holds")}
			}
			return nil
		},
	}
	at.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

// apiPatience bounds one request of a tool: the server itself answers waits
// within 30 s.
const apiPatience = 45 * time.Second

func api(server string) check.API {
	return check.API{URL: server, Client: &http.Client{Timeout: apiPatience}}
}

func runCheck(ctx context.Context, t *topology.Topology, at remote) (*check.Report, error) {
	r, err := connect(ctx, t, at)
	if err != nil {
		return nil, err
	}
	if err := r.framer.Load(ctx); errors.Is(err, serde.ErrNotRegistered) {
		return nil, fmt.Errorf("%w: check with the nexus of the release that the server runs", err)
	} else if err != nil {
		return nil, err
	}
	report, err := check.Run(ctx, check.Config{Topology: t, Framer: r.framer, Broker: r.broker, Queries: api(at.server)})
	return report, r.denied(ctx, t, err)
}
