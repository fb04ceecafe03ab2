package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
	"github.com/nexusblueprint/nexus/views"
)

// aggregateKind is an aggregate type with the schemas of its records.
type aggregateKind struct {
	topology.Aggregate
	state  *avro.Schema
	events map[string]*avro.Schema // by full name
}

// loadAggregates prepares the topology's aggregates. Their schemas are there.
func (g *Gateway) loadAggregates() {
	g.kept = map[string]*aggregateKind{}
	for _, a := range g.topology.Aggregates {
		k := &aggregateKind{Aggregate: a, state: g.schemaOf(a.NewState().AvroName()), events: map[string]*avro.Schema{}}
		for _, name := range a.Events() {
			k.events[name] = g.schemaOf(name)
		}
		g.kept[a.Name()] = k
	}
}

func (g *Gateway) schemaOf(name string) *avro.Schema { return g.topology.Schemas.Find(name).Schema() }

// stateRequest is a query for one aggregate's state.
type stateRequest struct {
	minVersion int64
	wait       time.Duration
}

var stateParameters = []parameter[stateRequest]{
	{
		name: "minVersion", doc: "The answer is at this version or a later one.",
		schema: schema{"type": "integer", "format": "int64", "minimum": 1},
		set: func(r *stateRequest, value string) (err error) {
			r.minVersion, err = parseVersion(value)
			return err
		},
	},
	waitParameter(func(r *stateRequest) *time.Duration { return &r.wait }),
}

func parseVersion(value string) (int64, error) {
	v, err := strconv.ParseInt(value, 10, 64)
	if err != nil || v < 1 {
		return 0, sentence("must be a version: a whole number from 1")
	}
	return v, nil
}

// getAggregate is GET /api/aggregates/{type}/{id}.
func (g *Gateway) getAggregate(c *gin.Context) {
	k, id, no := g.aggregate(c)
	r := stateRequest{wait: waitQueryDefault}
	if no == nil {
		no = parseParameters(&r, c.Request.URL.RawQuery, stateParameters, nil)
	}
	if no != nil {
		fail(c, no)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), r.wait)
	defer cancel()
	state, err := g.states.Get(ctx, k.Name(), id, r.minVersion)
	if err != nil {
		fail(c, g.stateProblem(k, err, r))
		return
	}
	c.Header("ETag", etag(state.Version))
	if matchesNone(c.Request.Header, state.Version) {
		answer(c, http.StatusNotModified, nil)
		return
	}
	body, err := appendState(nil, k, id, state)
	if err != nil {
		g.log.Error("a state cannot be read", "aggregate", k.Name(), "aggregate_id", id, "version", state.Version, "err", err)
		fail(c, problemf(codeInternal, "the state cannot be read; it was logged"))
		return
	}
	answer(c, http.StatusOK, body)
}

func (g *Gateway) stateProblem(k *aggregateKind, err error, r stateRequest) *problem {
	switch {
	case errors.Is(err, views.ErrNotFound):
		return problemf(codeUnknownAggregate, "there is no %s of this id; ids are exact and case-sensitive", k.Name())
	case errors.Is(err, views.ErrBehind) || errors.Is(err, context.DeadlineExceeded):
		return behind(fmt.Sprintf("the %s has not reached version %d", k.Name(), r.minVersion), r.wait)
	case errors.Is(err, context.Canceled): // the client left, or the server drains
		return behind("the state could not be read", r.wait)
	}
	return g.unavailable("reading the state", err)
}

func appendState(dst []byte, k *aggregateKind, id string, s views.State) ([]byte, error) {
	dst = appendText(append(dst, `{"type":`...), k.Name())
	dst = appendText(append(dst, `,"id":`...), id)
	dst = strconv.AppendInt(append(dst, `,"version":`...), s.Version, 10)
	dst = append(append(dst, `,"at":"`...), s.At.String()...)
	dst, err := avro.AppendJSON(append(dst, `","state":`...), k.state, s.Avro)
	return append(dst, '}'), err
}

// matchesNone says whether If-None-Match names the version the client has.
func matchesNone(h http.Header, version int64) bool {
	for _, line := range h.Values("If-None-Match") {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/") // weak comparison, RFC 9110 section 13.1.2
			if tag == "*" || tag == etag(version) {
				return true
			}
		}
	}
	return false
}

// aggregate is the type and id in the path.
func (g *Gateway) aggregate(c *gin.Context) (*aggregateKind, string, *problem) {
	name, no := pathSegment(c, "type")
	if no != nil {
		return nil, "", no
	}
	k, ok := g.kept[name]
	if !ok {
		return nil, "", problemf(codeUnknownAggregateType, "there is no aggregate type %q; the types are listed in /api/openapi.json", clip(name))
	}
	id, no := pathID(c)
	return k, id, no
}

// eventsRequest is a query for an aggregate's events.
type eventsRequest struct {
	from  int64
	limit int
}

const (
	eventsDefault = 100
	eventsMax     = ports.EventsMax
)

var eventsParameters = []parameter[eventsRequest]{
	{
		name: "limit", doc: "How many events a page has.",
		schema: schema{"type": "integer", "minimum": 1, "maximum": eventsMax, "default": eventsDefault},
		set: func(r *eventsRequest, value string) (err error) {
			r.limit, err = parseWhole(value, 1, eventsMax)
			return err
		},
	},
	{
		name: "from", doc: "The version of the first event: the next of the page before.",
		schema: schema{"type": "integer", "format": "int64", "minimum": 1, "default": 1},
		set: func(r *eventsRequest, value string) (err error) {
			r.from, err = parseVersion(value)
			return err
		},
	},
}

// getEvents is GET /api/aggregates/{type}/{id}/events.
func (g *Gateway) getEvents(c *gin.Context) {
	k, id, no := g.aggregate(c)
	r := eventsRequest{from: 1, limit: eventsDefault}
	if no == nil {
		no = parseParameters(&r, c.Request.URL.RawQuery, eventsParameters, nil)
	}
	if no != nil {
		fail(c, no)
		return
	}
	events, more, err := g.eventsPage(c.Request.Context(), k, id, r)
	if err != nil {
		fail(c, g.stateProblem(k, err, stateRequest{}))
		return
	}
	body, err := appendEvents(nil, k, events, more)
	if err != nil {
		g.log.Error("an event cannot be read", "aggregate", k.Name(), "aggregate_id", id, "err", err)
		fail(c, problemf(codeInternal, "an event cannot be read; it was logged"))
		return
	}
	answer(c, http.StatusOK, body)
}

// eventsPage reads a page and looks whether another one follows.
func (g *Gateway) eventsPage(ctx context.Context, k *aggregateKind, id string, r eventsRequest) (events []ports.Event, more bool, err error) {
	events, err = g.history.Events(ctx, k.Name(), id, r.from, r.limit)
	switch {
	case err != nil:
		return nil, false, err
	case len(events) == 0:
		_, err := g.states.Get(ctx, k.Name(), id, 0) // no events, or none so late?
		return nil, false, err
	case len(events) < r.limit:
		return events, false, nil
	}
	after, err := g.history.Events(ctx, k.Name(), id, events[len(events)-1].Metadata.Version+1, 1)
	return events, len(after) > 0, err
}

func appendEvents(dst []byte, k *aggregateKind, events []ports.Event, more bool) ([]byte, error) {
	dst = append(dst, `{"items":[`...)
	for i := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendEvent(dst, k, &events[i]); err != nil {
			return nil, fmt.Errorf("event at version %d: %w", events[i].Metadata.Version, err)
		}
	}
	dst = append(dst, `],"next":`...)
	if !more {
		return append(dst, "null}"...), nil
	}
	return append(strconv.AppendInt(dst, events[len(events)-1].Metadata.Version+1, 10), '}'), nil
}

func appendEvent(dst []byte, k *aggregateKind, e *ports.Event) ([]byte, error) {
	s, ok := k.events[e.Type]
	if !ok {
		return nil, fmt.Errorf("the topology does not declare %s", e.Type)
	}
	m := e.Metadata
	dst = append(append(dst, `{"id":"`...), m.EventID.String()...)
	dst = appendText(append(dst, `","type":`...), topology.ShortName(e.Type))
	dst = strconv.AppendInt(append(dst, `,"version":`...), m.Version, 10)
	dst = append(append(dst, `,"at":"`...), m.At.String()...)
	dst = appendText(append(dst, `","commandId":`...), m.CommandID)
	dst = appendText(append(dst, `,"correlationId":`...), m.CorrelationID)
	dst = appendText(append(dst, `,"causationId":`...), m.CausationID)
	dst = appendText(append(dst, `,"actor":`...), m.Actor)
	dst, err := avro.AppendJSON(append(dst, `,"data":`...), s, e.Avro)
	return append(dst, '}'), err
}
