package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// surface is what every process answers, whatever its roles: whether it lives,
// whether it is ready, its metrics, and where its parts are.
type surface struct {
	checks     []Check
	governance []byte // as JSON
	endpoints  []byte
	log        *slog.Logger
	draining   atomic.Bool
	hosts      atomic.Pointer[hostRule]
}

// mount declares the routes.
func (o *surface) mount(e *gin.Engine, registry *prometheus.Registry) {
	for _, method := range []string{http.MethodGet, http.MethodHead} { // probes use either
		e.Handle(method, "/healthz", o.getHealth)
		e.Handle(method, "/readyz", o.getReady)
	}
	e.GET("/metrics", gin.WrapH(metricsHandler(registry)))
	e.GET("/api/admin/endpoints", o.getEndpoints)
}

// HealthOptions are what a process without a gateway shows. All are needed.
type HealthOptions struct {
	Checks     []Check
	Governance Governance
	Endpoints  Endpoints
	Metrics    *prometheus.Registry
	Log        *slog.Logger
}

// Health answers for a process that has no gateway: /healthz, /readyz, /metrics
// and /api/admin/endpoints, as a gateway does. Make one with NewHealth.
type Health struct {
	surface
	engine *gin.Engine
}

// NewHealth makes it; nothing is started.
func NewHealth(o HealthOptions) *Health {
	h := &Health{surface: surface{checks: o.Checks, governance: o.Governance.json(), endpoints: o.Endpoints.json(), log: o.Log}}
	h.engine = newEngine("this process has no gateway: it answers /healthz, /readyz, /metrics and /api/admin/endpoints", h.guard, h.checkHost)
	h.mount(h.engine, o.Metrics)
	return h
}

// Run serves on the listener until ctx ends, and closes it.
func (h *Health) Run(ctx context.Context, listener net.Listener) error {
	return h.serve(ctx, listener, h.engine, "the operation routes listen beyond this machine, without authentication: everyone who reaches the port can read metrics and addresses")
}

// getHealth is GET /healthz: the process answers.
func (o *surface) getHealth(c *gin.Context) { answer(c, http.StatusOK, []byte(`{"ok":true}`)) }

// getReady is GET /readyz: 200 once every check is passed and while the server
// takes new requests.
func (o *surface) getReady(c *gin.Context) {
	ready := true
	body := []byte(`,"checks":[`)
	add := func(name string, ok bool, detail string) {
		if body[len(body)-1] == '}' {
			body = append(body, ',')
		}
		ready = ready && ok
		body = appendText(append(body, `{"name":`...), name)
		body = strconv.AppendBool(append(body, `,"ok":`...), ok)
		body = append(appendText(append(body, `,"detail":`...), detail), '}')
	}
	if o.draining.Load() {
		add("serving", false, "the server is shutting down")
	} else {
		add("serving", true, "")
	}
	for _, check := range o.checks {
		add(check())
	}
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	head := strconv.AppendBool([]byte(`{"ready":`), ready)
	body = append(append(append(head, body...), `],"governance":`...), o.governance...)
	answer(c, status, append(body, '}'))
}

// getEndpoints is GET /api/admin/endpoints.
func (o *surface) getEndpoints(c *gin.Context) {
	answer(c, http.StatusOK, o.endpoints[:len(o.endpoints):len(o.endpoints)])
}

func (g Governance) json() []byte {
	text, err := json.Marshal(g)
	if err != nil {
		panic(err) // it is made of texts and numbers
	}
	return text
}

func (e Endpoints) json() []byte {
	b := appendText([]byte(`{"api":`), e.API)
	b = appendText(append(b, `,"bus":`...), e.Bus)
	b = appendText(append(b, `,"registry":`...), e.Registry)
	return append(b, '}')
}

// getOpenAPI is GET /api/openapi.json.
func (g *Gateway) getOpenAPI(c *gin.Context) { c.Data(http.StatusOK, "application/json", g.openAPI) }
