package gateway

import (
	"context"
	"time"
)

// Bounds of what is under way at once. A command waits for its transaction, so
// these are latency times throughput, with room to spare.
const (
	singlesMax = 2_048  // single commands
	lotsMax    = 16_384 // commands of all batches together
	batchesMax = 64     // batches
	queriesMax = 512    // queries, those that wait included
)

// gate bounds how many are inside.
type gate chan struct{}

func newGate(most int) gate { return make(gate, most) }

// enter goes in if there is room.
func (g gate) enter() bool {
	select {
	case g <- struct{}{}:
		return true
	default:
		return false
	}
}

// enterWithin waits for room.
func (g gate) enterWithin(ctx context.Context, wait time.Duration) bool {
	if g.enter() {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case g <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (g gate) leave() { <-g }

func (g gate) inside() int { return len(g) }

func overloaded(what string) *problem {
	return problemf(codeOverloaded, "too many %s are under way; send this one again in a moment", what)
}
