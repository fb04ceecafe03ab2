package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

// Options are what a gateway works with. All are needed.
type Options struct {
	Topology  *topology.Topology
	Bus       ports.EventBus
	States    States
	History   ports.EventStore
	Positions Positions
	Search    ports.SearchReader

	// Checks decide whether the program is ready.
	Checks []Check
	// Governance is what the start found; /readyz shows it.
	Governance Governance
	// Endpoints are the addresses under which the parts of the program are reached.
	Endpoints Endpoints
	// Version of the program, for the OpenAPI document.
	Version string

	// Metrics is served under /metrics; the gateway adds its own to it.
	Metrics *prometheus.Registry
	Clock   clock.Clock
	Random  io.Reader // of command ids
	Log     *slog.Logger
}

// Check is one condition of readiness. It answers at once; detail says in a
// sentence what is missing.
type Check func() (name string, ok bool, detail string)

// Governance is the verdict of the policies at the start, which does not change
// while the program runs.
type Governance struct {
	Mode       string               `json:"mode"` // of the setting: enforce or warn
	Violations []policies.Violation `json:"violations"`
	NotJudged  []string             `json:"notJudged"` // rules whose facts a running program cannot see
	Gaps       []policies.Gap       `json:"gaps"`      // what the broker did not tell
}

// Endpoints are addresses of the running program.
type Endpoints struct {
	API      string // base URL
	Bus      string // host:port of the broker
	Registry string // base URL
}

// Gateway answers HTTP. Make one with New; it is safe for concurrent use.
type Gateway struct {
	surface
	topology  *topology.Topology
	bus       ports.EventBus
	states    States
	history   ports.EventStore
	positions Positions
	search    ports.SearchReader
	clock     clock.Clock
	random    io.Reader

	kinds   map[string]*commandKind
	models  []*readModel
	byName  map[string]*readModel
	topics  map[string]bool // of the topology: what a position may name
	kept    map[string]*aggregateKind
	flights *flights
	metrics *metrics

	singles, lots, batches, queries gate

	openAPI []byte      // a body that never changes
	full    atomic.Bool // the log had no room for the last command
	engine  *gin.Engine
}

// New makes a gateway. It starts nothing.
func New(o Options) (*Gateway, error) {
	if missing := o.missing(); len(missing) > 0 {
		return nil, fmt.Errorf("making the gateway: the options lack %s", strings.Join(missing, ", "))
	}
	g := &Gateway{
		surface:  surface{checks: o.Checks, governance: o.Governance.json(), endpoints: o.Endpoints.json(), log: o.Log},
		topology: o.Topology, bus: o.Bus, states: o.States, history: o.History,
		positions: o.Positions, search: o.Search, clock: o.Clock, random: o.Random,
		flights: newFlights(), singles: newGate(singlesMax), lots: newGate(lotsMax), batches: newGate(batchesMax), queries: newGate(queriesMax),
	}
	if faults := o.Topology.Faults(); len(faults) > 0 {
		return nil, fmt.Errorf("making the gateway: the topology has faults: %s", strings.Join(faults, "; "))
	}
	g.loadCommands()
	g.loadReadModels()
	g.loadAggregates()
	var err error
	if g.metrics, err = newMetrics(o.Metrics, g); err != nil {
		return nil, fmt.Errorf("making the gateway: %w", err)
	}
	if g.openAPI, err = g.describe(o.Version); err != nil {
		return nil, fmt.Errorf("describing the gateway's routes: %w", err)
	}
	g.engine = g.routes(o.Metrics)
	return g, nil
}

func (o *Options) missing() (names []string) {
	for name, there := range map[string]bool{
		"Topology": o.Topology != nil, "Bus": o.Bus != nil, "States": o.States != nil,
		"History": o.History != nil, "Positions": o.Positions != nil, "Search": o.Search != nil, "Metrics": o.Metrics != nil,
		"Clock": o.Clock != nil, "Random": o.Random != nil, "Log": o.Log != nil,
	} {
		if !there {
			names = append(names, name)
		}
	}
	return names
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.engine.ServeHTTP(w, r) }

// routes declares what is answered where.
func (g *Gateway) routes(registry *prometheus.Registry) *gin.Engine {
	e := newEngine("there is nothing at this path; the routes are listed in /api/openapi.json", g.observe, g.guard, g.checkHost)

	e.POST("/api/commands/:type", g.postCommand)
	e.POST("/api/commands", g.postBatch)
	e.GET("/api/commands/:id", g.getCommand)
	e.GET("/api/queries", g.limited, g.getReadModels)
	e.GET("/api/queries/:name", g.limited, g.getDocuments)
	e.GET("/api/queries/:name/:id", g.limited, g.getDocument)
	e.GET("/api/aggregates/:type/:id", g.limited, g.getAggregate)
	e.GET("/api/aggregates/:type/:id/events", g.limited, g.getEvents)
	g.mount(e, registry)
	e.GET("/api/openapi.json", g.getOpenAPI)
	e.GET("/", func(c *gin.Context) { c.Redirect(http.StatusFound, "/api/openapi.json") })
	return e
}

// newEngine is a router without surprises: what is not declared is answered with
// a problem.
func newEngine(elsewhere string, before ...gin.HandlerFunc) *gin.Engine {
	gin.SetMode(gin.ReleaseMode) // gin's only switch for its own printing is a global one
	e := gin.New()
	// Ids may hold encoded slashes: match the path as it was sent, decode later.
	e.UseEscapedPath, e.UnescapePathValues = true, false
	e.RedirectTrailingSlash, e.RedirectFixedPath, e.HandleMethodNotAllowed = false, false, true
	e.Use(before...)
	e.NoRoute(func(c *gin.Context) { fail(c, problemf(codeNotFound, "%s", elsewhere)) })
	e.NoMethod(func(c *gin.Context) {
		fail(c, problemf(codeMethodNotAllowed, "this path answers %s", c.Writer.Header().Get("Allow")))
	})
	return e
}

// limited bounds the queries under way.
func (g *Gateway) limited(c *gin.Context) {
	if !g.queries.enter() {
		fail(c, overloaded("queries"))
		return
	}
	defer g.queries.leave()
	c.Next()
}

// unavailable says that something behind the gateway does not answer, without
// its name or words: those go to the log.
func (g *Gateway) unavailable(doing string, err error) *problem {
	if errors.Is(err, ports.ErrCatchingUp) {
		return problemf(codeBehind, "the server has just started and still reads the log; ask again in a moment")
	}
	if errors.Is(err, ports.ErrLogFull) {
		// Only the change is worth a line: every client tries again and again.
		if g.full.CompareAndSwap(false, true) {
			g.log.Warn("commands are refused until the log has room", "err", err)
		}
		return problemf(codeUnavailable, "%s failed: the log has no room for more; send the request again when its disk has free space and /readyz answers 200", doing)
	}
	if !errors.Is(err, context.Canceled) {
		g.log.Warn("a request could not be served", "doing", doing, "err", err)
	}
	return problemf(codeUnavailable, "%s failed; send the request again in a moment", doing)
}

// hasRoom notes that the log took a command.
func (g *Gateway) hasRoom() {
	if g.full.Load() && g.full.CompareAndSwap(true, false) {
		g.log.Warn("commands are taken again: the log has room")
	}
}

// partitionOf is Kafka's murmur2, as every producer of the platform uses it.
func partitionOf(id string, partitions int32) int32 {
	return int32(murmur2.Partition(&kgo.Record{Key: []byte(id)}, int(partitions)))
}

// With a key the partitioner has no state.
var murmur2 = kgo.StickyKeyPartitioner(nil).ForTopic("")
