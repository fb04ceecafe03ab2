package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/adapters/kafka"
	"github.com/nexusblueprint/nexus/internal/check"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

// remote is a running system that a tool looks into: it asks the server where
// broker and registry are. Where they want TLS or credentials, those come from a
// configuration file, and the addresses with them.
type remote struct{ server, file string }

func (at *remote) flags(c *cobra.Command) {
	c.Flags().StringVar(&at.server, "server", "http://127.0.0.1:8080", "`URL` of the running system's API")
	c.Flags().StringVar(&at.file, "config", "", "`file` of settings, for a broker or registry that wants TLS or credentials")
}

func loadConfig(file string) (*config.Config, error) {
	return config.Load(config.Sources{File: file, Lookup: os.LookupEnv})
}

// running is a system that a tool looks into.
type running struct {
	endpoints check.Endpoints
	broker    []kgo.Opt // read access
	user      string    // of the broker
	registry  ports.SchemaRegistry
	framer    *serde.Serde // reads; to know the program's own ids it must be loaded
}

// connect asks the server where its parts are.
func connect(ctx context.Context, t *topology.Topology, at remote) (*running, error) {
	e, err := api(at.server).Endpoints(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking %s where the broker is (is the system running? start it with nexus dev, or name it with --server): %w", at.server, err)
	}
	bus, registry := config.Bus{URL: "kafka://" + e.Bus}, config.Registry{URL: e.Registry}
	if at.file != "" {
		settings, err := loadConfig(at.file)
		if err != nil {
			return nil, err
		}
		if !settings.Bus.Embedded() {
			bus, registry = settings.Bus, settings.Registry
		}
	}
	return reach(t, e, bus, registry)
}

// reach makes the clients; it connects nothing.
func reach(t *topology.Topology, e check.Endpoints, bus config.Bus, registry config.Registry) (*running, error) {
	opts, err := kafka.Options(bus)
	if err != nil {
		return nil, err
	}
	r, err := confluent.New(registry)
	if err != nil {
		return nil, err
	}
	return &running{
		endpoints: e, registry: r, framer: serde.New(r, t),
		broker: append(opts, kgo.ClientID("nexus-tool"), kgo.DisableClientMetrics()), user: bus.User,
	}, nil
}

// denied adds to an error of the broker which rights are missing, if it is that.
func (r *running) denied(ctx context.Context, t *topology.Topology, err error) error {
	if !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.GroupAuthorizationFailed) {
		return err
	}
	cl, clientErr := kgo.NewClient(r.broker...)
	if clientErr != nil {
		return err
	}
	defer cl.Close()
	if denials, judgeErr := system.JudgeToolRights(ctx, t, cl, r.user); judgeErr == nil && len(denials) > 0 {
		return fmt.Errorf("%s (docs/how-to/operate.md lists what tools need): %w", strings.Join(denials, "; "), err)
	}
	return err
}
