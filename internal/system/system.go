// Package system wires the rooms into a running whole: construct, connect, run,
// close. It decides nothing. There is one wiring; what a configuration chooses is
// behind openBus, openRegistry and openSearch, by the scheme of an address.
package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/gateway"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/datadir"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/topology"
)

// Config of a system that runs in one process, on the embedded broker, registry
// and search store.
type Config struct {
	Data           string // folder
	Listen         string // host:port of the API; port 0 takes a free one, here as below
	BusListen      string // host:port of the broker
	RegistryListen string // host:port of the registry
	Sync           bool   // fsync every write before it is acknowledged
	Reset          bool   // empty the folder first
	Seed           *Seed  // fills a new system before anything of it runs; may be nil
	Governance     string // config.Enforce or config.Warn; empty: Enforce
	Version        string
	Logger         *slog.Logger
}

// Seed is what a system begins with that is not made by its own commands.
type Seed struct {
	// Register puts schemas of earlier releases into the registry, before the
	// program's own.
	Register func(ctx context.Context, registry ports.SchemaRegistry) error
	// Fill writes to the topics, which are there and empty.
	Fill func(ctx context.Context, broker []kgo.Opt, registry ports.SchemaRegistry, framer *serde.Serde) error
}

// System is one running instance. Make one with Start or Run, and end it with Stop.
type System struct {
	settings    config.Config
	sync, reset bool
	seed        *Seed
	version     string
	logger      *slog.Logger

	topology  *topology.Topology
	dir       *datadir.Dir
	bus       *bus
	registry  ports.SchemaRegistry
	endpoint  string // of the registry
	serde     *serde.Serde
	search    ports.SearchStore
	local     *localstore.Store
	tables    *engine.Store // in local
	listener  net.Listener
	roles     *roles
	metrics   *prometheus.Registry
	endpoints Endpoints
	history   *policies.History // today's schemas and those of the registry, once they are compared
	verdict   policies.Verdict
	judging   time.Duration // what the verdict took
	checks    []gateway.Check
	closers   []func() error // in the order of opening
}

// Start brings a system up on the embedded parts, as [Run] does for others.
func Start(ctx context.Context, t *topology.Topology, cfg Config) (*System, error) {
	settings := *config.Default()
	settings.Data, settings.Listen, settings.Instance = cfg.Data, cfg.Listen, "dev"
	settings.Bus.Listen, settings.Registry.Listen = cfg.BusListen, cfg.RegistryListen
	if cfg.Governance != "" {
		if err := config.SetGovernance(&settings, cfg.Governance); err != nil {
			return nil, fmt.Errorf("governance: %w", err)
		}
	}
	s := &System{settings: settings, sync: cfg.Sync, reset: cfg.Reset, seed: cfg.Seed, version: cfg.Version, logger: cfg.Logger, topology: t}
	return s.start(ctx)
}

// Run brings an instance up, in this order: configuration → topology → policies
// over topology and schemas → broker, registry → topics → policies over live
// facts → roles. It returns once all of it is ready, or with what kept it from
// starting; then nothing of it runs.
func Run(ctx context.Context, t *topology.Topology, settings config.Config, version string, logger *slog.Logger) (*System, error) {
	for _, text := range settings.Warnings() {
		logger.Warn("the configuration may not be meant so", "why", text)
	}
	s := &System{settings: settings, version: version, logger: logger.With("instance", settings.Instance), topology: t}
	return s.start(ctx)
}

func (s *System) start(ctx context.Context) (*System, error) {
	s.metrics, s.roles = prometheus.NewRegistry(), newRoles(s.logger)
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, step := range []func(context.Context) error{
		s.judgeDeclaration, s.openFolder, s.openBus, s.openRegistry, s.openTopics, s.judgeLive, s.sayVerdict, s.fill,
		s.openSearch, s.openLocal, s.openListener, s.startRoles, s.awaitReady,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(s.notWritable(s.notGoverned(err)), s.Stop())
		}
	}
	return s, nil
}

// Endpoints are the addresses of the system.
func (s *System) Endpoints() Endpoints { return s.endpoints }

// New says that the data folder was empty when the system started.
func (s *System) New() bool { return s.dir.New }

// Path names a file in the data folder.
func (s *System) Path(name string) string { return s.dir.Path(name) }

// NotJudged are the policies whose facts a running program cannot see.
func (s *System) NotJudged() []string { return s.verdict.NotJudged }

// Failed delivers the error of a role that ended by itself.
func (s *System) Failed() <-chan error { return s.roles.failed }

// Stop ends the system in the order of the data: intake, then what was taken
// in, then the stores. It may be called once.
func (s *System) Stop() error {
	var errs []error
	if s.dir != nil {
		errs = append(errs, removeEndpoints(s.dir.Path()))
	}
	if s.local != nil {
		s.local.StopWaiting()
	}
	errs = append(errs, s.roles.stop())
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

func (s *System) onStop(f func() error) { s.closers = append(s.closers, f) }

func (s *System) openFolder(context.Context) (err error) {
	if s.dir, err = datadir.Open(s.settings.Data, s.reset); err != nil {
		return err
	}
	s.onStop(s.dir.Close)
	return removeEndpoints(s.dir.Path()) // of a process that was killed
}

func (s *System) fill(ctx context.Context) error {
	if s.seed == nil {
		return nil
	}
	return s.seed.Fill(ctx, s.bus.opts, s.registry, s.serde)
}

// openLocal opens what the roles that read tables or logs keep on this disk.
func (s *System) openLocal(context.Context) (err error) {
	if !s.settings.Has(config.Gateway) && !s.settings.Has(config.Processors) {
		return nil
	}
	if s.local, err = localstore.Open(s.dir.Path("local"), localstore.Options{Logger: s.logger}); err != nil {
		return err
	}
	s.onStop(s.local.Close)
	s.tables, err = engine.NewStore(s.local)
	return err
}

func (s *System) openListener(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", s.settings.Listen); err != nil {
		return fmt.Errorf("listening for the API on %s: %w: stop what uses the address, or choose another with --listen", s.settings.Listen, err)
	}
	s.onStop(func() error {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return nil
}

// epoch is part of the transactional ids where broker and processors die
// together; see "Brokers" in the engine's DESIGN.md.
func (s *System) epoch() string {
	if s.settings.Bus.Embedded() {
		return uuid.NewString()
	}
	return ""
}
