package processors

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// metrics of all processors of one process.
type metrics struct {
	outcomes *prometheus.CounterVec
	events   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
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
