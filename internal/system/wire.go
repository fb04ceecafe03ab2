package system

import (
	"context"
	"crypto/rand"
	"os"
	"sync"

	"github.com/nexusblueprint/nexus/emitters"
	"github.com/nexusblueprint/nexus/gateway"
	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/processors"
	"github.com/nexusblueprint/nexus/sink"
	"github.com/nexusblueprint/nexus/views"
)

// parts are what the chosen roles consist of; what is not needed is nil.
type parts struct {
	commands   *emitters.Commands
	outcomes   *views.Outcomes
	states     *views.States
	history    *views.History
	positions  *views.Positions
	processors *processors.Processors
	sinks      *sink.Sinks
	onDemand   *onDemand // history of a process without a gateway
}

// startRoles makes the chosen roles and starts them, what listens first: it
// answers /readyz while the others recover.
func (s *System) startRoles(context.Context) error {
	s.endpoints = Endpoints{API: "http://" + s.listener.Addr().String(), Bus: s.bus.address(), Registry: s.endpoint, PID: os.Getpid()}
	var p parts
	if s.settings.Has(config.Gateway) || s.settings.Has(config.Processors) {
		p.history = views.NewHistory(s.viewsConfig())
	}
	for _, construct := range []func(*parts) error{s.makeProcessors, s.makeSinks, s.makeGateway} {
		if err := construct(&p); err != nil {
			return err
		}
	}
	if p.processors != nil {
		s.roles.start("processors", p.processors.Run)
	}
	if p.sinks != nil {
		s.roles.start("sinks", p.sinks.Run)
	}
	s.startViews(&p)
	return nil
}

func (s *System) viewsConfig() views.Config {
	return views.Config{Topology: s.topology, Store: s.local, Framer: s.serde, Client: s.bus.opts, Logger: s.logger}
}

func (s *System) makeProcessors(p *parts) (err error) {
	if !s.settings.Has(config.Processors) {
		return nil
	}
	p.processors, err = processors.New(processors.Config{
		Topology: s.topology, Framer: s.serde, Brokers: s.bus.brokers, ClientOpts: s.bus.opts, Client: s.bus.client,
		Store: s.tables, InstanceID: s.settings.Instance, Static: !s.settings.Bus.Embedded(), Leave: s.settings.LeaveOnStop,
		Standby: s.settings.Standby, Epoch: s.epoch(), History: s.refolds(p), Clock: clock.System{}, Logger: s.logger, Registry: s.metrics,
	})
	return err
}

func (s *System) makeSinks(p *parts) error {
	if !s.settings.Has(config.Sink) {
		return nil
	}
	p.sinks = sink.New(sink.Config{
		Topology: s.topology, Framer: s.serde, Store: s.search, Brokers: s.bus.brokers, ClientOpts: s.bus.opts, Client: s.bus.client,
		InstanceID: s.settings.Instance, Static: !s.settings.Bus.Embedded(), Leave: s.settings.LeaveOnStop,
		Clock: clock.System{}, Logger: s.logger, Registry: s.metrics,
	})
	return nil
}

// makeGateway starts what answers HTTP: the gateway, or for a process without
// one what says whether it is ready.
func (s *System) makeGateway(p *parts) (err error) {
	at := gateway.Endpoints{API: s.endpoints.API, Bus: s.endpoints.Bus, Registry: s.endpoints.Registry}
	if !s.settings.Has(config.Gateway) {
		s.checks = s.readiness(p)
		health := gateway.NewHealth(gateway.HealthOptions{Checks: s.whileRunning(s.checks), Governance: s.governance(), Endpoints: at, Metrics: s.metrics, Log: s.logger})
		s.roles.start("health", func(ctx context.Context) error { return health.Run(ctx, s.listener) })
		return nil
	}
	vc := s.viewsConfig()
	p.outcomes, p.states, p.positions = views.NewOutcomes(vc), views.NewStates(vc), views.NewPositions(vc)
	if p.commands, err = emitters.NewCommands(emitters.Config{Topology: s.topology, Framer: s.serde, Client: s.bus.opts, Logger: s.logger}); err != nil {
		return err
	}
	s.checks = s.readiness(p)
	gw, err := gateway.New(gateway.Options{
		Topology: s.topology, Bus: emitters.Bus{Commands: p.commands, Outcomes: p.outcomes}, States: p.states, History: p.history, Positions: p.positions,
		Search: s.search, Checks: s.whileRunning(s.checks), Governance: s.governance(), Endpoints: at,
		Version: s.version, Metrics: s.metrics, Clock: clock.System{}, Random: rand.Reader, Log: s.logger,
	})
	if err != nil {
		return err
	}
	s.roles.start("gateway", func(ctx context.Context) error { return gw.Run(ctx, s.listener) })
	s.roles.start("emitter", func(ctx context.Context) error {
		<-ctx.Done()
		return p.commands.Close()
	})
	return nil
}

func (s *System) startViews(p *parts) {
	if p.onDemand != nil {
		s.roles.start("history view", p.onDemand.Run)
	}
	if !s.settings.Has(config.Gateway) {
		return
	}
	s.roles.start("outcomes view", p.outcomes.Run)
	s.roles.start("states view", p.states.Run)
	s.roles.start("history view", p.history.Run)
	s.roles.start("positions", p.positions.Run)
}

// refolds is the history as processors need it: only where a release folds
// events otherwise than the one before. A process without a gateway follows the
// events, all of them, from the first such need on and not before.
func (s *System) refolds(p *parts) processors.History {
	if s.settings.Has(config.Gateway) {
		return p.history
	}
	p.onDemand = &onDemand{view: p.history, asked: make(chan struct{})}
	return p.onDemand
}

// onDemand follows the log when it is first asked. Until it has caught up it
// answers with an error, and the processor tries again.
type onDemand struct {
	view  *views.History
	once  sync.Once
	asked chan struct{}
}

func (h *onDemand) Payloads(ctx context.Context, aggregateType, id string, upTo int64, f func(framed []byte) error) error {
	h.once.Do(func() { close(h.asked) })
	return h.view.Payloads(ctx, aggregateType, id, upTo, f)
}

// Run follows the log until ctx ends.
func (h *onDemand) Run(ctx context.Context) error {
	select {
	case <-h.asked:
		return h.view.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}
