package processors

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// metrics of all processors of one process.
type metrics struct {
	registry prometheus.Registerer
	outcomes *prometheus.CounterVec
	events   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		registry: r,
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nexus_outcomes_total", Help: "Commands decided, by aggregate and kind of outcome; aborted transactions count again.",
		}, []string{"aggregate", "kind"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nexus_projected_events_total", Help: "Events read by projections; aborted transactions count again.",
		}, []string{"projection"}),
	}
	r.MustRegister(m.outcomes, m.events)
	return m
}

// transactionsOf a group are what its engine counts.
func (m *metrics) transactionsOf(group string, e *engine.Engine) {
	count := func(name, help string, labels prometheus.Labels, of func(engine.Stats) int64) {
		labels["group"] = group
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(of(e.Stats())) }))
	}
	const transactions, ends = "nexus_transactions_total", "Transactions with records, by how they ended; what an aborted one held comes again."
	count(transactions, ends, prometheus.Labels{"end": "committed"}, func(s engine.Stats) int64 { return s.Commits })
	count(transactions, ends, prometheus.Labels{"end": "aborted"}, func(s engine.Stats) int64 { return s.Aborts })
	count("nexus_group_sessions_total", "Generations of the group that this instance took part in: each is a pause of its partitions.", prometheus.Labels{},
		func(s engine.Stats) int64 { return s.Sessions })
}

// outcomeCounts of one aggregate, by kind.
type outcomeCounts [platform.OutcomeKindDead + 1]prometheus.Counter

func (m *metrics) outcomesOf(aggregate string) (c outcomeCounts) {
	for kind := range c {
		c[kind] = m.outcomes.WithLabelValues(aggregate, platform.OutcomeKind(kind).String())
	}
	return c
}

func (m *metrics) projectedBy(projection string) prometheus.Counter {
	return m.events.WithLabelValues(projection)
}
