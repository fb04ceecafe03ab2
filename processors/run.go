package processors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lovoo/goka"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/topology"
)

// Config of all processors of one process. Every field is required, unless it
// says otherwise.
type Config struct {
	Topology   *topology.Topology
	Framer     Framer
	Brokers    []string
	ClientOpts []kgo.Opt // TLS, SASL; may be empty
	Client     *kgo.Client
	Store      *engine.Store
	InstanceID string
	// Static makes InstanceID the group.instance.id as well: a restart within the
	// session timeout keeps its partitions. Leave gives them away when Run ends.
	Static, Leave bool
	// Standby keeps copies of the tables of all partitions that others hold.
	Standby bool
	// TransactionalIDs are Group.Epoch where Epoch is set: broker and processors
	// die together, so each start takes fresh ids; see "Brokers" in the engine's
	// DESIGN.md. Empty: Group.InstanceID.
	Epoch    string
	History  History
	Clock    clock.Clock
	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// commits says how long transactions last: from least when little comes to most
// when full records come in a second.
type commits struct {
	least, most time.Duration
	full        int
}

// Clients wait for aggregates; a document may lag a little, and a longer
// transaction coalesces more of its updates.
var (
	aggregateCommits  = commits{least: 3 * time.Millisecond, most: 40 * time.Millisecond, full: 10_000}
	projectionCommits = commits{least: 10 * time.Millisecond, most: 250 * time.Millisecond, full: 500}
)

const (
	// sessionTimeout (session.timeout.ms) is how long the partitions of an instance
	// that died wait for it.
	sessionTimeout = 9 * time.Second
	// txnTimeout (transaction.timeout.ms) is shorter: what a dead instance left open
	// is aborted before somebody else wants to read behind it.
	txnTimeout = 8 * time.Second
)

// Timeouts are what a broker has to admit: session.timeout.ms of the groups and
// transaction.timeout.ms.
func Timeouts() (session, transaction time.Duration) { return sessionTimeout, txnTimeout }

// Processors run every aggregate and projection of a topology. Make one with
// New, then Run it once.
type Processors struct {
	cfg    Config
	groups []*group
}

// group is one goka processor with its engine.
type group struct {
	name    string
	graph   *goka.GroupGraph
	engine  *engine.Engine
	brokers []string
	standby bool
	logger  *slog.Logger
	live    atomic.Pointer[goka.Processor]
	ended   atomic.Pointer[error] // what the processor ended with last
}

// New makes the processors of the topology; nothing is started.
func New(cfg Config) (*Processors, error) {
	ps := &Processors{cfg: cfg}
	m := newMetrics(cfg.Registry)
	admin := kadm.NewClient(cfg.Client)
	for _, a := range cfg.Topology.Aggregates {
		if err := ps.addAggregate(a, m, admin); err != nil {
			ps.close()
			return nil, err
		}
	}
	for _, p := range cfg.Topology.Projections {
		if err := ps.addProjection(p, m); err != nil {
			ps.close()
			return nil, err
		}
	}
	return ps, nil
}

func (ps *Processors) addAggregate(a topology.Aggregate, m *metrics, admin *kadm.Client) error {
	t, cfg := ps.cfg.Topology, &ps.cfg
	mem := newMemory(cfg.Clock, t.Outcomes(a), &outcomeTopic{
		topic: t.Outcomes(a), admin: admin, framer: cfg.Framer,
		opts: append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}, cfg.ClientOpts...),
	})
	p := &aggregateProcessor{
		t: t, a: a, memory: mem, framer: cfg.Framer, clock: cfg.Clock, counts: m.outcomesOf(a.Name()), partitions: t.PartitionCount(),
		logger: cfg.Logger.With("aggregate", a.Name()),
		events: t.Events(a), outcomes: t.Outcomes(a), deadLetters: goka.Stream(t.DeadLetters()),
	}
	e, err := ps.engine(t.Group(a), mem, aggregateCommits)
	if err != nil {
		return err
	}
	p.emit = e.Emit
	p.decider = &decider{aggregate: a, framer: cfg.Framer, checkState: e.CheckState, remembered: mem.lookup, history: cfg.History}
	ps.add(t.Group(a), p.graph(), e, m)
	return nil
}

func (ps *Processors) addProjection(p topology.Projection, m *metrics) error {
	t, cfg := ps.cfg.Topology, &ps.cfg
	e, err := ps.engine(t.ProjectionGroup(p), nil, projectionCommits)
	if err != nil {
		return err
	}
	pp := &projectionProcessor{
		t: t, p: p, framer: cfg.Framer, clock: cfg.Clock, read: m.projectedBy(p.Name()), checkState: e.CheckState, emit: e.Emit, loop: t.ProjectionLoop(p),
		logger: cfg.Logger.With("projection", p.Name()), deadLetters: goka.Stream(t.DeadLetters()),
	}
	ps.add(t.ProjectionGroup(p), pp.graph(), e, m)
	return nil
}

func (ps *Processors) engine(name string, local engine.Local, c commits) (*engine.Engine, error) {
	cfg := engine.Config{
		Brokers: ps.cfg.Brokers, ClientOpts: ps.cfg.ClientOpts, Client: ps.cfg.Client,
		Group: name, InstanceID: ps.cfg.InstanceID, StaticMember: ps.cfg.Static, Store: ps.cfg.Store, Local: local,
		CommitMin: c.least, CommitMax: c.most, FullLoad: c.full, Logger: ps.cfg.Logger,
		SessionTimeout: sessionTimeout, TxnTimeout: txnTimeout,
	}
	if ps.cfg.Epoch != "" {
		cfg.TransactionalID = name + "." + ps.cfg.Epoch
	}
	return engine.New(cfg)
}

func (ps *Processors) add(name string, graph *goka.GroupGraph, e *engine.Engine, m *metrics) {
	m.transactionsOf(name, e)
	ps.groups = append(ps.groups, &group{
		name: name, graph: graph, engine: e, brokers: ps.cfg.Brokers, standby: ps.cfg.Standby, logger: ps.cfg.Logger.With("group", name),
	})
}

func (ps *Processors) close() {
	for _, g := range ps.groups {
		g.engine.Close()
	}
}

// Run runs all groups until ctx ends: each commits what it has and leaves. It
// returns early, with the error, if a group was fenced: another process holds
// this instance's name, and fighting for it would go on for ever.
func (ps *Processors) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer ps.close()
	errs := make([]error, len(ps.groups)+1)
	var wg sync.WaitGroup
	for i, g := range ps.groups {
		wg.Go(func() {
			if errs[i] = g.supervise(ctx, ps.cfg.Clock); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Go(func() { errs[len(ps.groups)] = ps.purge(ctx) })
	wg.Wait()
	if err := errors.Join(errs...); err != nil || !ps.cfg.Leave {
		return err // fenced: the membership is another's
	}
	return ps.leave()
}

// leavePatience bounds the leaving of all groups: without it their partitions
// move a session timeout later.
const leavePatience = 10 * time.Second

// leave gives the partitions of a static member away.
func (ps *Processors) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	errs := make([]error, len(ps.groups))
	var wg sync.WaitGroup
	for i, g := range ps.groups {
		wg.Go(func() { errs[i] = g.engine.LeaveGroup(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

const (
	restartPauseMin = time.Second
	restartPauseMax = 30 * time.Second
)

// supervise restarts the group's processor after failures, with growing pauses.
func (g *group) supervise(ctx context.Context, c clock.Clock) error {
	for pause := restartPauseMin; ; pause = min(2*pause, restartPauseMax) {
		began := c.Now()
		err := g.run(ctx)
		g.live.Store(nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, engine.ErrFenced):
			return fmt.Errorf("group %s: %w", g.name, g.engine.Err()) // without what goka wraps around it
		case c.Now().Sub(began) > restartPauseMax:
			pause = restartPauseMin
		}
		cause := g.engine.Err()
		if cause == nil {
			cause = err
		}
		g.ended.Store(&cause)
		g.logger.Error("processor ended, starting it again", "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

func (g *group) run(ctx context.Context) error {
	// A tombstone among commands or events is a record like any other: set aside.
	opts := append([]goka.ProcessorOption{goka.WithNilHandling(goka.NilProcess)}, g.engine.Options()...)
	if g.standby {
		opts = append(opts, goka.WithHotStandby())
	}
	p, err := goka.NewProcessor(g.brokers, g.graph, opts...)
	if err != nil {
		return err
	}
	g.live.Store(p)
	err = p.Run(ctx)
	return errors.Join(g.engine.Err(), err)
}

// Status of one group, for readiness.
type Status struct {
	Group string
	Ready bool  // tables recovered, records are being handled; or nothing is to be handled here
	Err   error // what the processor ended with, until it is ready again; nil if nothing did
	engine.Stats
}

// Status of all groups, in the order of the topology.
func (ps *Processors) Status() []Status {
	all := make([]Status, 0, len(ps.groups))
	for _, g := range ps.groups {
		ended, p := g.ended.Load(), g.live.Load()
		stats := g.engine.Stats()
		status := Status{Group: g.name, Ready: p != nil && (p.Recovered() || stats.Spare), Stats: stats}
		switch {
		case ended == nil:
		case status.Ready: // a rebalance to come, which is not ready either, did not end with it
			g.ended.CompareAndSwap(ended, nil)
		default:
			status.Err = *ended
		}
		all = append(all, status)
	}
	return all
}
