package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
	"github.com/nexusblueprint/nexus/views"
)

// postCommand is POST /api/commands/{Type}.
func (g *Gateway) postCommand(c *gin.Context) {
	kind, o, no := g.readCommand(c)
	if kind == nil {
		fail(c, no)
		return
	}
	if no != nil {
		c.Header(headerKey, no.commandID)
		g.metrics.commands.failed(kind, no)
		fail(c, no)
		return
	}
	c.Header(headerKey, o.id)
	if !g.singles.enter() {
		fail(c, overloaded("commands").of(o.id))
		return
	}
	defer g.singles.leave()
	wait, applied := preferredWait(c.Request.Header)
	if applied {
		c.Header("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	}
	t, no := g.dispatch(c.Request.Context(), o, wait)
	if no != nil {
		g.metrics.commands.failed(kind, no)
		fail(c, no.of(o.id))
		return
	}
	defer g.close(t)
	g.answerCommand(c, t)
}

// readCommand reads and judges the whole request. Without a kind the request
// did not come as far as its command; with one the problem carries the id.
func (g *Gateway) readCommand(c *gin.Context) (*commandKind, *order, *problem) {
	name, no := pathSegment(c, "type")
	if no != nil {
		return nil, nil, no
	}
	kind, ok := g.kinds[name]
	if !ok {
		return nil, nil, problemf(codeUnknownCommand, "no aggregate takes a command %q; the commands are listed in /api/openapi.json", clip(name))
	}
	if no := mediaType(c.Request.Header, "application/json"); no != nil {
		return nil, nil, no
	}
	id, no := g.commandID(c.Request.Header)
	if no != nil {
		return nil, nil, no
	}
	expect, no := expected(c.Request.Header)
	if no != nil {
		return kind, nil, no.of(id)
	}
	body, no := readBody(c, bodyBytesMax)
	if no != nil {
		return kind, nil, no.of(id)
	}
	o, no := g.decode(kind, body, id, expect, traceparent(c.Request.Header))
	if no == nil {
		o.fresh = c.Request.Header.Get(headerKey) == ""
	}
	return kind, o, no
}

// bodyBytesMax bounds one command as JSON, which is hardly ever shorter than its Avro; topics take twice as much.
const bodyBytesMax = ports.CommandBytesMax

// readBody reads a body of a bounded size.
func readBody(c *gin.Context, bytesMax int64) ([]byte, *problem) {
	tooLarge := problemf(codeBodyTooLarge, "the body has more than %d bytes", bytesMax)
	if c.Request.ContentLength > bytesMax {
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, bytesMax))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problemf(codeRequestTimeout, "the body did not arrive in time")
	case err != nil:
		return nil, problemf(codeInvalidCommand, "the body ended before its announced length")
	}
	return body, nil
}

// answerCommand waits for the outcome and answers with it.
func (g *Gateway) answerCommand(c *gin.Context, t *ticket) {
	ctx := c.Request.Context()
	no := g.await(ctx, t)
	g.metrics.commands.ended(t, no)
	if no != nil {
		fail(c, no.of(t.id))
		return
	}
	if t.outcome == nil {
		g.answerPending(c, t)
		return
	}
	if t.replayed {
		c.Header(headerReplayed, "true")
	}
	if no := outcomeProblem(t.outcome); no != nil {
		fail(c, no)
		return
	}
	position, err := g.positionAfter(ctx, t)
	if err != nil {
		// Without its position an answer would let the client read older than it wrote.
		g.log.Warn("position of a command not known", "command_id", t.id, "err", err)
		g.answerPending(c, t)
		return
	}
	c.Header("ETag", etag(t.outcome.Version))
	body := appendAccepted([]byte{'{'}, t.outcome, position)
	answer(c, acceptedStatus(t.outcome), append(body, '}'))
}

func (g *Gateway) answerPending(c *gin.Context, t *ticket) {
	c.Header("Location", commandPath(t.id))
	answer(c, http.StatusAccepted, append(appendPending([]byte{'{'}, t), '}'))
}

func commandPath(id string) string { return "/api/commands/" + url.PathEscape(id) }

// getCommand is GET /api/commands/{id}.
func (g *Gateway) getCommand(c *gin.Context) {
	id, no := pathSegment(c, "id")
	if no == nil {
		if f := checkCommandID(id); f != nil {
			no = faulty(codeInvalidID, *f)
		}
	}
	if no != nil {
		fail(c, no)
		return
	}
	out, found, err := g.bus.Outcome(c.Request.Context(), id)
	switch {
	case err != nil:
		fail(c, g.unavailable("reading outcomes", err).of(id))
	case !found && g.flights.pending(id, g.clock.Now()):
		body := appendText([]byte(`{"commandId":`), id)
		answer(c, http.StatusAccepted, append(appendStatus(body, http.StatusAccepted), '}'))
	case !found:
		fail(c, problemf(codeUnknownCommandID, "no outcome is known under this id: it was never sent here, or more than an hour ago").of(id))
	default:
		g.answerOutcome(c, out)
	}
}

// answerOutcome shows an earlier outcome: what the command's own answer had,
// with its status as a member, because the request for it succeeded.
func (g *Gateway) answerOutcome(c *gin.Context, out *platform.Outcome) {
	if no := outcomeProblem(out); no != nil {
		answer(c, http.StatusOK, append(no.appendMembers([]byte{'{'}), '}'))
		return
	}
	a, ok := g.topology.Aggregate(out.AggregateType)
	if !ok {
		fail(c, problemf(codeInternal, "the outcome is of an aggregate type that is not known here").of(out.CommandID))
		return
	}
	positions, err := g.positionsAfter(c.Request.Context(), []views.TopicPartition{g.partition(a, out.AggregateID)})
	if err != nil {
		fail(c, g.unavailable("reading positions", err).of(out.CommandID))
		return
	}
	c.Header("ETag", etag(out.Version))
	body := appendAccepted([]byte{'{'}, out, positions.String())
	answer(c, http.StatusOK, append(appendStatus(body, acceptedStatus(out)), '}'))
}

// partition is where the events of an aggregate are logged.
func (g *Gateway) partition(a topology.Aggregate, id string) views.TopicPartition {
	return views.TopicPartition{Topic: g.topology.Events(a), Partition: partitionOf(id, g.topology.PartitionCount())}
}

func (g *Gateway) positionAfter(ctx context.Context, t *ticket) (string, error) {
	position, err := g.positionsAfter(ctx, []views.TopicPartition{g.partition(t.kind.aggregate, t.aggregateID)})
	if err != nil {
		return "", err
	}
	return position.String(), nil
}
