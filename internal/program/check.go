package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/check"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

func checkCommand(t *topology.Topology) *cobra.Command {
	var server string
	var asJSON bool
	c := &cobra.Command{
		Use: "check", Short: "Recompute the invariants of a running system from its topics", Args: cobra.NoArgs,
		Long: "check reads commands, events, outcomes, tables and read models of a running system and recomputes what must\n" +
			"hold: one outcome per command, unique event ids, contiguous versions, tables and read models equal to the\n" +
			"fold of the log, an unbroken hash chain. It exits with 1 if something does not hold, or could not be judged.",
		Example: "  nexus check\n  nexus check --json --server http://127.0.0.1:8080",
		RunE: func(c *cobra.Command, _ []string) error {
			report, err := runCheck(c.Context(), t, server)
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
	serverFlag(c, &server)
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

// apiPatience bounds one request of a tool: the server itself answers waits
// within 30 s.
const apiPatience = 45 * time.Second

func api(server string) check.API {
	return check.API{URL: server, Client: &http.Client{Timeout: apiPatience}}
}

func runCheck(ctx context.Context, t *topology.Topology, server string) (*check.Report, error) {
	r, err := connect(ctx, t, server)
	if err != nil {
		return nil, err
	}
	if err := r.framer.Load(ctx); err != nil {
		return nil, err
	}
	return check.Run(ctx, check.Config{Topology: t, Framer: r.framer, Broker: r.broker, Queries: api(server)})
}

// running is a system that a tool looks into.
type running struct {
	endpoints check.Endpoints
	broker    []kgo.Opt // read access
	registry  ports.SchemaRegistry
	framer    *serde.Serde // reads; to know the program's own ids it must be loaded
}

// connect asks the server where its parts are.
func connect(ctx context.Context, t *topology.Topology, server string) (*running, error) {
	e, err := api(server).Endpoints(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking %s where the broker is (is the system running? start it with nexus dev, or name it with --server): %w", server, err)
	}
	cl, err := confluent.New(confluent.Config{URLs: []string{e.Registry}})
	if err != nil {
		return nil, err
	}
	return &running{
		endpoints: e, registry: cl, framer: serde.New(cl, t.Schemas),
		broker: []kgo.Opt{kgo.SeedBrokers(e.Bus), kgo.ClientID("nexus-tool")},
	}, nil
}
