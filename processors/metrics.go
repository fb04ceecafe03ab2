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

func (m *metrics) outcome(aggregate string, out *platform.Outcome) {
	m.outcomes.WithLabelValues(aggregate, out.Kind.String()).Inc()
}

func (m *metrics) projected(projection string) { m.events.WithLabelValues(projection).Inc() }
