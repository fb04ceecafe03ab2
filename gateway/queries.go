package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/views"
)

// searchPatience bounds what a query asks of the search store. One that takes
// connections and does not answer would hold its clients, and all places for
// queries, for as long as its adapter has patience: as long as a sink may wait.
const searchPatience = 5 * time.Second

// getReadModels is GET /api/queries.
func (g *Gateway) getReadModels(c *gin.Context) {
	var none struct{}
	if no := parseParameters(&none, c.Request.URL.RawQuery, nil, nil); no != nil {
		fail(c, no)
		return
	}
	lags, no := g.lags(c.Request.Context())
	if no != nil {
		fail(c, no)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), searchPatience)
	defer cancel()
	body := []byte(`{"items":[`)
	for i, m := range g.models {
		if i > 0 {
			body = append(body, ',')
		}
		count, err := g.search.Count(ctx, m.Index)
		if err != nil {
			fail(c, g.searchProblem(err))
			return
		}
		body = appendLag(appendModel(body, m, count), lags[i])
	}
	answer(c, http.StatusOK, append(body, "]}"...))
}

// lags asks how far every read model is, all at once: they share one look at
// the broker.
func (g *Gateway) lags(ctx context.Context) ([]views.Lag, *problem) {
	lags, errs := make([]views.Lag, len(g.models)), make([]error, len(g.models))
	var asked sync.WaitGroup
	for i, m := range g.models {
		asked.Go(func() { lags[i], errs[i] = g.positions.Lag(ctx, m.projection) })
	}
	asked.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, g.unavailable("reading how far read models are", err)
	}
	return lags, nil
}

func appendModel(dst []byte, m *readModel, count int64) []byte {
	dst = appendText(append(dst, `{"name":`...), m.Name)
	dst = strconv.AppendInt(append(dst, `,"version":`...), int64(m.Version), 10)
	dst = append(dst, `,"fields":[`...)
	for i := range m.fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, `{"name":`...), m.fields[i].Name)
		dst = append(appendText(append(dst, `,"type":`...), typeName(m.fields[i].Type())), '}')
	}
	return strconv.AppendInt(append(dst, `],"count":`...), count, 10)
}

// appendLag appends the members that say how old an answer may be, and closes
// the object.
func appendLag(dst []byte, lag views.Lag) []byte {
	dst = strconv.AppendFloat(append(dst, `,"lag":`...), lag.Seconds, 'f', -1, 64)
	dst = strconv.AppendInt(append(dst, `,"lagRecords":`...), lag.Records, 10)
	return append(appendText(append(dst, `,"position":`...), lag.Position.String()), '}')
}

// getDocuments is GET /api/queries/{name}.
func (g *Gateway) getDocuments(c *gin.Context) {
	m, no := g.readModel(c)
	if no != nil {
		fail(c, no)
		return
	}
	r, no := m.parseList(c.Request.URL.RawQuery)
	if no == nil {
		no = g.waitFor(c.Request.Context(), m, &r.waiting)
	}
	if no != nil {
		fail(c, no)
		return
	}
	// The lag comes first: what is found after it is at least as new as it says.
	lag, err := g.positions.Lag(c.Request.Context(), m.projection)
	if err != nil {
		fail(c, g.unavailable("reading how far the read model is", err))
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), searchPatience)
	defer cancel()
	page, err := g.search.Search(ctx, m.Index, r.query)
	if err != nil {
		fail(c, g.searchProblem(err))
		return
	}
	answer(c, http.StatusOK, appendLag(appendPage(nil, page), lag))
}

// appendPage appends the documents as they are stored, byte for byte.
func appendPage(dst []byte, page ports.Page) []byte {
	dst = append(dst, `{"items":[`...)
	for i := range page.Documents {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, page.Documents[i].JSON...)
	}
	dst = strconv.AppendInt(append(dst, `],"total":`...), page.Total, 10)
	dst = append(dst, `,"next":`...)
	if page.Next == "" {
		return append(dst, "null"...)
	}
	return appendText(dst, page.Next)
}

// getDocument is GET /api/queries/{name}/{id}.
func (g *Gateway) getDocument(c *gin.Context) {
	m, no := g.readModel(c)
	if no != nil {
		fail(c, no)
		return
	}
	id, no := pathID(c)
	r := &documentRequest{waiting{wait: waitQueryDefault}}
	if no == nil {
		no = parseParameters(r, c.Request.URL.RawQuery, documentParameters, nil)
	}
	if no == nil {
		no = g.waitFor(c.Request.Context(), m, &r.waiting)
	}
	if no != nil {
		fail(c, no)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), searchPatience)
	defer cancel()
	doc, ok, err := g.search.Get(ctx, m.Index, id)
	switch {
	case err != nil:
		fail(c, g.searchProblem(err))
	case !ok:
		fail(c, problemf(codeUnknownDocument, "%s has no document of this id; ids are exact and case-sensitive", m.Name))
	default:
		c.Header("ETag", etag(int64(doc.Version)))
		answer(c, http.StatusOK, doc.JSON[:len(doc.JSON):len(doc.JSON)])
	}
}

func (g *Gateway) readModel(c *gin.Context) (*readModel, *problem) {
	name, no := pathSegment(c, "name")
	if no != nil {
		return nil, no
	}
	m, ok := g.byName[name]
	if !ok {
		return nil, problemf(codeUnknownReadModel, "there is no read model %q; they are listed under /api/queries", clip(name))
	}
	return m, nil
}

// waitFor returns once the read model has what the query asks for.
func (g *Gateway) waitFor(ctx context.Context, m *readModel, w *waiting) *problem {
	if !w.hasPosition {
		return nil
	}
	for tp := range w.position {
		if !g.topics[tp.Topic] {
			return faulty(codeInvalidParameter, fault("/position", "position names the topic "+clip(tp.Topic)+", which is not one of this system: take the position as a command's answer gave it"))
		}
	}
	patient, cancel := context.WithTimeout(ctx, w.wait)
	defer cancel()
	err := g.positions.Wait(patient, m.projection, w.position)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, views.ErrBehind) || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil:
		return behind(m.Name+" has not reached the position", w.wait)
	}
	if errors.Is(err, views.ErrPosition) {
		return faulty(codeInvalidParameter, fault("/position", "position names a partition that its topic does not have"))
	}
	return g.unavailable("waiting for the position", err)
}

func behind(what string, wait time.Duration) *problem {
	return problemf(codeBehind, "%s within %s; ask again, or wait longer with ?wait=", what, wait)
}

// searchProblem says what became of a search.
func (g *Gateway) searchProblem(err error) *problem {
	switch {
	case errors.Is(err, ports.ErrBadCursor):
		return faulty(codeInvalidParameter, fault("/cursor", "the cursor was not given for this query: begin at the first page, without a cursor"))
	case errors.Is(err, ports.ErrBadQuery):
		return problemf(codeInvalidParameter, "%s", clip(err.Error()))
	}
	return g.unavailable("searching", err)
}
