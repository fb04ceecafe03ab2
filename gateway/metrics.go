package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the gateway's own figures.
type metrics struct {
	requests *prometheus.HistogramVec // by method, route and status
	commands commandMetrics
}

// commandMetrics counts commands by how they ended.
type commandMetrics struct {
	ends *prometheus.CounterVec // by type and end
}

func newMetrics(registry prometheus.Registerer, g *Gateway) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "nexus_http_request_seconds", Help: "Time from a request's first byte to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "route", "status"}),
		commands: commandMetrics{prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nexus_commands_total", Help: "Commands by type and how they ended: accepted, pending, or the code of the refusal.",
		}, []string{"type", "end"})},
	}
	var errs error
	for _, c := range []prometheus.Collector{
		m.requests, m.commands.ends,
		inside("nexus_commands_in_flight", "Commands that wait for their outcome.", g.singles, g.lots),
		inside("nexus_batches_in_flight", "Batches under way.", g.batches),
		inside("nexus_queries_in_flight", "Queries under way, waiting ones included.", g.queries),
	} {
		errs = errors.Join(errs, registry.Register(c))
	}
	if errs != nil {
		return nil, fmt.Errorf("registering metrics: %w", errs)
	}
	return m, nil
}

func inside(name, help string, gates ...gate) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		sum := 0
		for _, g := range gates {
			sum += g.inside()
		}
		return float64(sum)
	})
}

// failed counts a command that was not logged.
func (m *commandMetrics) failed(kind *commandKind, no *problem) {
	m.ends.WithLabelValues(kind.short, no.code.kind().name).Inc()
}

// ended counts a command that was logged or answered before.
func (m *commandMetrics) ended(t *ticket, no *problem) {
	end := "accepted"
	switch {
	case no != nil:
		end = no.code.kind().name
	case t.outcome == nil:
		end = "pending"
	default:
		// Codes of the domain are not labels: a domain may make up many.
		if c, refused := outcomeCode(t.outcome); refused {
			end = c.kind().name
		}
	}
	m.ends.WithLabelValues(t.kind.short, end).Inc()
}

// observe measures every request, whatever becomes of it.
func (g *Gateway) observe(c *gin.Context) {
	start := g.clock.Now()
	defer func() {
		route := c.FullPath()
		if route == "" {
			route = "none"
		}
		g.metrics.requests.WithLabelValues(methodLabel(c.Request.Method), route, strconv.Itoa(c.Writer.Status())).Observe(g.clock.Now().Sub(start).Seconds())
	}()
	c.Next()
}

// methodLabel bounds the label's values: a client may send any method.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

func metricsHandler(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
