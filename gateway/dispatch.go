package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/emitters"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/views"
)

// order is a command that is right in itself and ready to be logged.
type order struct {
	kind        *commandKind
	command     domain.Command
	aggregateID string
	id          string // the command's
	expect      expectation
	trace       *string
	hash        platform.BodyHash
	fresh       bool // the id was made here: nobody can have used it before
}

func (o *order) metadata() *platform.CommandMetadata {
	return &platform.CommandMetadata{
		CommandID: o.id, Expectation: o.expect.kind, ExpectedVersion: o.expect.version,
		CorrelationID: o.id, CausationID: o.id, Traceparent: o.trace,
	}
}

// ticket is a command under way, or one that was answered before.
type ticket struct {
	*order
	flight   *flight
	expected Expectation
	outcome  *platform.Outcome // nil: not yet
	replayed bool              // the answer is an earlier one
	deadline time.Time
}

// dispatch logs the command unless its id is known or under way, and returns
// the ticket to wait with. The caller closes it.
//
// The order of steps matters: who expects before he asks the view misses no
// outcome, because the view knows all that was delivered before.
func (g *Gateway) dispatch(ctx context.Context, o *order, wait time.Duration) (*ticket, *problem) {
	fl, first, ok := g.flights.join(o.id, o.hash)
	if !ok {
		return nil, reused(o)
	}
	t := &ticket{order: o, flight: fl, replayed: !first, deadline: g.clock.Now().Add(wait)}
	t.expected = g.outcomes.Expect(o.id)
	known, found, err := g.known(ctx, o)
	switch {
	case err != nil:
		no := g.unavailable("reading outcomes", err)
		if first {
			fl.fail(no)
		}
		g.close(t)
		return nil, no
	case found && known.BodyHash != o.hash:
		no := reused(o)
		if first {
			fl.fail(no)
		}
		g.close(t)
		return nil, no
	case found:
		t.outcome, t.replayed = known, true
		return t, nil
	}
	if first {
		// The client may go, the command does not: others may wait for it.
		g.emitter.Send(context.WithoutCancel(ctx), o.kind.aggregate, o.aggregateID, o.command, o.metadata(), func(err error) {
			if err != nil {
				fl.fail(g.notSent(o, err))
			}
		})
	}
	return t, nil
}

// known finds the outcome of an earlier command with the id.
func (g *Gateway) known(ctx context.Context, o *order) (*platform.Outcome, bool, error) {
	if o.fresh {
		return nil, false, nil
	}
	return g.outcomes.Get(ctx, o.id)
}

// close ends the ticket's part in its flight.
func (g *Gateway) close(t *ticket) {
	t.expected.Cancel()
	g.flights.leave(t.id, t.flight)
}

func reused(o *order) *problem {
	return problemf(codeCommandIDReused, "command id %s was used for another command; a repetition must be the same in type, body and expected version", o.id).of(o.id)
}

// notSent says why the command was not logged, or that nobody knows whether it was.
func (g *Gateway) notSent(o *order, err error) *problem {
	switch {
	case errors.Is(err, emitters.ErrUnknown):
		g.log.Warn("a command may or may not be logged", "command_id", o.id, "err", err)
		return problemf(codeOutcomeUnknown, "the log did not say whether it has the command; send it again with the same %s, it counts once", headerKey).of(o.id)
	case errors.Is(err, emitters.ErrOverloaded):
		return overloaded("commands").of(o.id)
	case errors.Is(err, emitters.ErrTooLarge):
		return problemf(codeBodyTooLarge, "the command is too large for the log").of(o.id)
	case errors.Is(err, emitters.ErrRefused):
		g.log.Error("a command cannot be logged", "command_id", o.id, "command", o.kind.full, "err", err)
		return problemf(codeInternal, "the command cannot be logged; the cause was written down").of(o.id)
	}
	return g.unavailable("logging the command", err).of(o.id)
}

// take looks at an outcome that arrived under the ticket's id, and says whether
// it settles the ticket: as its own outcome, or with a problem.
func (t *ticket) take(out *platform.Outcome) (settled bool, no *problem) {
	own := out.AggregateType == t.kind.aggregate.Name() && out.AggregateID == t.aggregateID
	switch {
	case out.BodyHash == t.hash:
	case own && out.Kind == platform.OutcomeKindDead && out.CommandType == "":
		// A record that could not be read has no hash.
	case own && !out.Repeated:
		return true, reused(t.order)
	default:
		// Someone else used the id at the same time, and this is his answer.
		return false, nil
	}
	t.outcome = out
	if c, _ := outcomeCode(out); c != codeCommandIDReused {
		t.replayed = t.replayed || out.Repeated
	}
	return true, nil
}

// ready settles the ticket without waiting, if it can.
func (t *ticket) ready() (bool, *problem) {
	for t.outcome == nil {
		select {
		case out := <-t.expected.C():
			if settled, no := t.take(out); settled {
				return true, no
			}
		default:
			return false, nil
		}
	}
	return true, nil
}

// await settles the ticket. Without an outcome by the deadline, or once ctx is
// done, it returns with t.outcome nil and no problem: the command is logged
// and pending. With a problem it was not logged, or nobody knows.
func (g *Gateway) await(ctx context.Context, t *ticket) *problem {
	if settled, no := t.ready(); settled {
		return no
	}
	timer := time.NewTimer(t.deadline.Sub(g.clock.Now()))
	defer timer.Stop()
	failed := t.flight.failed
	var doubt *problem
	for {
		select {
		case out := <-t.expected.C():
			if settled, no := t.take(out); settled {
				return no
			}
		case <-failed:
			if t.flight.why.code != codeOutcomeUnknown {
				return t.flight.why
			}
			failed, doubt = nil, t.flight.why
		case <-timer.C:
			return g.overtime(t, doubt)
		case <-ctx.Done():
			return g.overtime(t, doubt)
		}
	}
}

func (g *Gateway) overtime(t *ticket, doubt *problem) *problem {
	if doubt == nil {
		g.flights.late(t.id, g.clock.Now())
	}
	return doubt
}

// positionsPatience bounds the look at the log's ends.
const positionsPatience = 5 * time.Second

// positionsAfter is a position at or after all that is committed on the
// partitions.
func (g *Gateway) positionsAfter(ctx context.Context, partitions []views.TopicPartition) (views.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, positionsPatience)
	defer cancel()
	return g.positions.After(ctx, partitions)
}
