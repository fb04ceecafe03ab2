// Package system wires the rooms into a running whole: construct, connect, run,
// close. It decides nothing.
package system

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/adapters/embedded/broker"
	"github.com/nexusblueprint/nexus/adapters/embedded/registry"
	"github.com/nexusblueprint/nexus/adapters/embedded/search"
	"github.com/nexusblueprint/nexus/emitters"
	"github.com/nexusblueprint/nexus/gateway"
	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/datadir"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/processors"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/sink"
	"github.com/nexusblueprint/nexus/topology"
	"github.com/nexusblueprint/nexus/views"
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

// Dev is such a system. Make one with Start, and end it with Stop.
type Dev struct {
	cfg       Config
	topology  *topology.Topology
	dir       *datadir.Dir
	broker    *broker.Broker
	registry  *registry.Registry
	search    *search.Store
	local     *localstore.Store
	tables    *engine.Store // in local
	client    *kgo.Client
	schemas   ports.SchemaRegistry
	serde     *serde.Serde
	commands  *emitters.Commands
	listener  net.Listener
	roles     *roles
	metrics   *prometheus.Registry
	endpoints Endpoints
	verdict   policies.Verdict
	checks    []gateway.Check
	closers   []func() error // in the order of opening
}

// Start brings the system up, in this order: configuration → topology →
// policies over topology and schemas → broker, registry → topics → policies
// over live facts → roles. It returns once all of it is ready, or with what
// kept it from starting.
func Start(ctx context.Context, t *topology.Topology, cfg Config) (_ *Dev, err error) {
	d := &Dev{cfg: cfg, topology: t, metrics: prometheus.NewRegistry(), roles: newRoles(cfg.Logger)}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop())
		}
	}()
	for _, step := range []func(context.Context) error{
		d.judgeDeclaration, d.openFolder, d.openBroker, d.openRegistry, d.openTopics, d.judgeLive, d.fill,
		d.openStores, d.openGateway, d.awaitReady,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Endpoints are the addresses of the system.
func (d *Dev) Endpoints() Endpoints { return d.endpoints }

// New says that the data folder was empty when the system started.
func (d *Dev) New() bool { return d.dir.New }

// Path names a file in the data folder.
func (d *Dev) Path(name string) string { return d.dir.Path(name) }

// NotJudged are the policies whose facts a running program cannot see.
func (d *Dev) NotJudged() []string { return d.verdict.NotJudged }

// Failed delivers the error of a role that ended by itself.
func (d *Dev) Failed() <-chan error { return d.roles.failed }

// Stop ends the system in the order of the data: intake, then what was taken
// in, then the stores. It may be called once.
func (d *Dev) Stop() error {
	var errs []error
	if d.dir != nil {
		errs = append(errs, removeEndpoints(d.dir.Path()))
	}
	errs = append(errs, d.roles.stop())
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}

func (d *Dev) onStop(f func() error) { d.closers = append(d.closers, f) }

func (d *Dev) judgeDeclaration(ctx context.Context) error {
	if faults := d.topology.Faults(); len(faults) > 0 {
		return &FaultsError{Gate: "topology", Faults: faults}
	}
	description := d.topology.Describe()
	return d.judge(ctx, policies.Facts{Topology: &description})
}

func (d *Dev) judge(ctx context.Context, facts policies.Facts) error {
	verdict, err := policies.Judge(ctx, facts)
	if err != nil {
		return err
	}
	d.verdict = verdict
	if verdict.OK() {
		return nil
	}
	faults := make([]string, len(verdict.Violations))
	for i, v := range verdict.Violations {
		faults[i] = v.String()
	}
	return &FaultsError{Gate: "governance", Faults: faults}
}

func (d *Dev) openFolder(context.Context) (err error) {
	if d.dir, err = datadir.Open(d.cfg.Data, d.cfg.Reset); err != nil {
		return err
	}
	d.onStop(d.dir.Close)
	return removeEndpoints(d.dir.Path()) // of a process that was killed
}

const closePatience = 30 * time.Second

func (d *Dev) openBroker(ctx context.Context) (err error) {
	// The port first: a port in use must not cost a look at the whole log.
	d.broker, err = broker.Open(ctx, broker.Config{
		Dir: d.dir.Path("broker"), Listen: d.cfg.BusListen, Sync: d.cfg.Sync, Logger: d.cfg.Logger,
		OwnGroups: []string{d.topology.Context + "."},
	})
	if err != nil {
		return err
	}
	d.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		return d.broker.Close(ctx)
	})
	if d.client, err = kgo.NewClient(d.broker.ClientOpts()...); err != nil {
		return fmt.Errorf("connecting to the embedded broker: %w", err)
	}
	d.onStop(func() error { d.client.Close(); return nil })
	return nil
}

func (d *Dev) openRegistry(ctx context.Context) (err error) {
	d.registry, err = registry.Open(ctx, registry.Config{Listen: d.cfg.RegistryListen, ClientOpts: d.broker.ClientOpts(), Logger: d.cfg.Logger})
	if err != nil {
		return err
	}
	d.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		return d.registry.Close(ctx)
	})
	cl, err := confluent.New(confluent.Config{URLs: []string{d.registry.URL()}})
	if err != nil {
		return err
	}
	if d.cfg.Seed != nil {
		if err := d.cfg.Seed.Register(ctx, cl); err != nil {
			return err
		}
	}
	d.schemas, d.serde = cl, serde.New(cl, d.topology.Schemas)
	return d.serde.Register(ctx)
}

func (d *Dev) fill(ctx context.Context) error {
	if d.cfg.Seed == nil {
		return nil
	}
	return d.cfg.Seed.Fill(ctx, d.broker.ClientOpts(), d.schemas, d.serde)
}

func (d *Dev) openTopics(ctx context.Context) error {
	return provisionTopics(ctx, kadm.NewClient(d.client), d.topology, 1)
}

func (d *Dev) judgeLive(ctx context.Context) error {
	actual, err := ActualTopics(ctx, kadm.NewClient(d.client), d.topology)
	if err != nil {
		return err
	}
	live := &policies.Live{Topics: map[string]policies.LiveTopic{}, Registry: &policies.LiveRegistry{Subjects: []string{}}}
	for name, topic := range actual {
		live.Topics[name] = policies.LiveTopic(topic)
	}
	for _, subject := range d.topology.Subjects() {
		if _, registered := d.serde.ID(subject); registered {
			live.Registry.Subjects = append(live.Registry.Subjects, subject)
		}
	}
	description := d.topology.Describe()
	return d.judge(ctx, policies.Facts{Topology: &description, Live: live})
}

func (d *Dev) openStores(ctx context.Context) (err error) {
	var report search.Report
	if d.search, report, err = search.Open(ctx, search.Config{Path: d.dir.Path("search.db"), Logger: d.cfg.Logger}); err != nil {
		return err
	}
	d.onStop(d.search.Close)
	if report.Recreated && !d.dir.New {
		d.cfg.Logger.Warn("the search store is filled anew from the tables", "reason", report.Reason)
	}
	if d.local, err = localstore.Open(d.dir.Path("local"), localstore.Options{Logger: d.cfg.Logger}); err != nil {
		return err
	}
	d.onStop(d.local.Close)
	d.tables, err = engine.NewStore(d.local)
	return err
}

// openGateway makes the roles and starts them, the gateway first: it answers
// /readyz while the others recover.
func (d *Dev) openGateway(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if d.listener, err = lc.Listen(ctx, "tcp", d.cfg.Listen); err != nil {
		return fmt.Errorf("listening for the API on %s: %w: stop what uses the address, or choose another with --listen", d.cfg.Listen, err)
	}
	d.onStop(func() error {
		if err := d.listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	d.endpoints = Endpoints{API: "http://" + d.listener.Addr().String(), Bus: d.broker.Addr(), Registry: d.registry.URL(), PID: os.Getpid()}
	d.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	vc := views.Config{Topology: d.topology, Store: d.local, Framer: d.serde, Client: d.broker.ClientOpts(), Logger: d.cfg.Logger}
	outcomes, states, history, positions := views.NewOutcomes(vc), views.NewStates(vc), views.NewHistory(vc), views.NewPositions(vc)
	if d.commands, err = emitters.NewCommands(emitters.Config{Topology: d.topology, Framer: d.serde, Client: d.broker.ClientOpts(), Logger: d.cfg.Logger}); err != nil {
		return err
	}
	ps, err := processors.New(processors.Config{
		Topology: d.topology, Framer: d.serde, Brokers: []string{d.broker.Addr()}, ClientOpts: d.broker.ClientOpts(), Client: d.client,
		Store: d.tables, InstanceID: "dev", Epoch: uuid.NewString(), History: history, Clock: clock.System{}, Logger: d.cfg.Logger, Registry: d.metrics,
	})
	if err != nil {
		return err
	}
	sinks := sink.New(sink.Config{
		Topology: d.topology, Framer: d.serde, Store: d.search, Brokers: []string{d.broker.Addr()}, ClientOpts: d.broker.ClientOpts(), Client: d.client,
		InstanceID: "dev", Clock: clock.System{}, Logger: d.cfg.Logger, Registry: d.metrics,
	})
	d.checks = readiness(ps, sinks, map[string]readyView{"outcomes": outcomes, "states": states, "history": history})
	gw, err := gateway.New(gateway.Options{
		Topology: d.topology, Emitter: d.commands, Outcomes: expectations{outcomes}, States: states, History: history, Positions: positions,
		Search: d.search, Checks: append(d.checks, logTakesWrites(d.broker.Refusal)), Endpoints: gateway.Endpoints{API: d.endpoints.API, Bus: d.endpoints.Bus, Registry: d.endpoints.Registry},
		Version: d.cfg.Version, Metrics: d.metrics, Clock: clock.System{}, Random: rand.Reader, Log: d.cfg.Logger,
	})
	if err != nil {
		return err
	}
	d.roles.start("gateway", func(ctx context.Context) error { return gw.Run(ctx, d.listener) })
	d.roles.start("emitter", func(ctx context.Context) error {
		<-ctx.Done()
		return d.commands.Close()
	})
	d.roles.start("processors", ps.Run)
	d.roles.start("sinks", sinks.Run)
	d.roles.start("outcomes view", outcomes.Run)
	d.roles.start("states view", states.Run)
	d.roles.start("history view", history.Run)
	d.roles.start("positions", positions.Run)
	return nil
}

// expectations gives the gateway's own name to a view's type.
type expectations struct{ *views.Outcomes }

func (e expectations) Expect(commandID string) gateway.Expectation {
	return e.Outcomes.Expect(commandID)
}
