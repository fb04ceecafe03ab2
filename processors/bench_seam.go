package processors

import (
	"context"
	"log/slog"

	"github.com/lovoo/goka"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// PlainGraph is the graph of one aggregate's processor for goka's own builders:
// the peer that benchmarks compare the engine with. It is the same code, but
// for the memory of commands, which lives in the engine's transactions: without
// them a repeated command is only recognised by its aggregate's last few. It is
// at least once, as goka is, and no part of a running system.
func PlainGraph(t *topology.Topology, a topology.Aggregate, framer Framer, r prometheus.Registerer) *goka.GroupGraph {
	p := &aggregateProcessor{
		t: t, a: a, framer: framer, clock: clock.System{}, counts: newMetrics(r).outcomesOf(a.Name()), partitions: t.PartitionCount(),
		logger: slog.New(slog.DiscardHandler), memory: newMemory(clock.System{}, t.Outcomes(a), nil), emit: plainEmit,
		events: t.Events(a), outcomes: t.Outcomes(a), deadLetters: goka.Stream(t.DeadLetters()),
	}
	p.decider = &decider{
		aggregate: a, framer: framer, checkState: func(string, int) error { return nil },
		remembered: func(int32, string) (*platform.Outcome, error) { return nil, nil },
	}
	return p.graph()
}

// plainEmit is goka's own way. It cannot name the partition.
func plainEmit(ctx goka.Context, r engine.Record) {
	var opts []goka.ContextOption
	if r.Header.Key != "" {
		opts = append(opts, goka.WithCtxEmitHeaders(goka.Headers{r.Header.Key: r.Header.Value}))
	}
	ctx.Emit(goka.Stream(r.Topic), r.Key, r.Value, opts...)
}

// CommandMemory is the command memory of partition 0 by itself, so that
// benchmarks can fill it and look ids up.
type CommandMemory struct{ m *memory }

// NewCommandMemory opens a memory over a store and the log that refills it.
func NewCommandMemory(ctx context.Context, c clock.Clock, kv engine.KV, log OutcomeLog) (CommandMemory, error) {
	m := newMemory(c, "outcomes", log)
	return CommandMemory{m}, m.Open(ctx, 0, kv)
}

// Remember adds an outcome to the open transaction.
func (c CommandMemory) Remember(out *platform.Outcome) { c.m.remember(0, out, out.AppendAvro(nil)) }

// Commit puts the open transaction's outcomes down.
func (c CommandMemory) Commit(b engine.Batch) error { return c.m.Commit(0, b) }

// Lookup returns the outcome of a command id, nil if it is not remembered.
func (c CommandMemory) Lookup(id string) (*platform.Outcome, error) { return c.m.lookup(0, id) }
