package sink

import "github.com/prometheus/client_golang/prometheus"

// metrics of all sinks of one process.
type metrics struct {
	records   *prometheus.CounterVec
	documents *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nexus_sink_records_total", Help: "Table records mirrored into the search store.",
		}, []string{"projection"}),
		documents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nexus_sink_documents_total", Help: "Documents written to the search store, after coalescing.",
		}, []string{"projection"}),
	}
	r.MustRegister(m.records, m.documents)
	return m
}

func (m *metrics) mirrored(projection string, records, documents int) {
	m.records.WithLabelValues(projection).Add(float64(records))
	m.documents.WithLabelValues(projection).Add(float64(documents))
}
