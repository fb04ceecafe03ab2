package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/ports"
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
	first    bool // of its flight: it sends the command
	lookup   lookup
	expected ports.Expectation
	outcome  *platform.Outcome // nil: not yet
	replayed bool              // the answer is an earlier one
	deadline time.Time
}

// dispatch logs the command unless its id is known or under way, and returns
// the ticket to wait with. The caller closes it.
func (g *Gateway) dispatch(ctx context.Context, o *order, wait time.Duration) (*ticket, *problem) {
	t, no := g.board(o, wait)
	if no != nil {
		return nil, no
	}
	t.lookup = g.known(ctx, o)
	if no := g.depart(ctx, t); no != nil {
		g.close(t)
		return nil, no
	}
	return t, nil
}

// board enters the command's flight and announces interest in its outcome. It
// comes before the view is asked: the view knows all that was delivered before,
// so whoever boards first and asks then misses nothing.
func (g *Gateway) board(o *order, wait time.Duration) (*ticket, *problem) {
	fl, first, ok := g.flights.join(o.id, o.hash)
	if !ok {
		return nil, reused(o)
	}
	return &ticket{order: o, flight: fl, first: first, replayed: !first, expected: g.bus.Expect(o.id), deadline: g.clock.Now().Add(wait)}, nil
}

// depart logs the command if this ticket is the first of its flight and the view
// did not know the id.
func (g *Gateway) depart(ctx context.Context, t *ticket) *problem {
	var no *problem
	switch l := &t.lookup; {
	case l.err != nil:
		no = g.unavailable("reading outcomes", l.err)
	case l.outcome != nil && l.outcome.BodyHash != t.hash:
		no = reused(t.order)
	case l.outcome != nil:
		t.outcome, t.replayed = l.outcome, true
		return nil
	}
	switch {
	case !t.first:
	case no != nil:
		t.flight.fail(no)
	default:
		fl, o := t.flight, t.order
		// The client may go, the command does not: others may wait for it.
		g.bus.Send(context.WithoutCancel(ctx), o.kind.aggregate.Name(), o.aggregateID, o.command, o.metadata(), func(err error) {
			if err != nil {
				fl.fail(g.notSent(o, err))
				return
			}
			g.hasRoom()
		})
	}
	return no
}

// lookup is what the view said of a command id.
type lookup struct {
	outcome *platform.Outcome // nil: the id is not known
	err     error
}

// known asks the view for an earlier command with the id.
func (g *Gateway) known(ctx context.Context, o *order) (l lookup) {
	if o.fresh {
		return l
	}
	out, found, err := g.bus.Outcome(ctx, o.id)
	if found {
		l.outcome = out
	}
	l.err = err
	return l
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
	case errors.Is(err, ports.ErrInDoubt):
		g.log.Warn("a command may or may not be logged", "command_id", o.id, "err", err)
		return problemf(codeOutcomeUnknown, "the log did not say whether it has the command; send it again with the same %s, it counts once", headerKey).of(o.id)
	case errors.Is(err, ports.ErrOverloaded):
		return overloaded("commands").of(o.id)
	case errors.Is(err, ports.ErrTooLarge):
		return problemf(codeBodyTooLarge, "the command is too large for the log").of(o.id)
	case errors.Is(err, ports.ErrRefused):
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
