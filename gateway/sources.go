package gateway

import (
	"context"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
	"github.com/nexusblueprint/nexus/views"
)

// Emitter logs commands. *emitters.Commands is one.
type Emitter interface {
	// Send logs a command and calls done once, from another goroutine or at
	// once, when that is settled. It does not block.
	Send(ctx context.Context, t topology.Aggregate, id string, cmd domain.Command, meta *platform.CommandMetadata, done func(error))
}

// Outcomes hears how commands ended, as *views.Outcomes does.
type Outcomes interface {
	// Expect announces interest in a command id before the command is sent.
	Expect(commandID string) Expectation
	// Get finds an outcome of the last hour. It knows all that any Expectation
	// was given before.
	Get(ctx context.Context, commandID string) (*platform.Outcome, bool, error)
}

// Expectation is the interest in one command id.
type Expectation interface {
	// C gives the outcomes that arrive under the id, in their order.
	C() <-chan *platform.Outcome
	Cancel()
}

// States reads aggregates' live states. *views.States is one.
type States interface {
	// Get waits until the aggregate stands at minVersion or later.
	Get(ctx context.Context, aggregateType, id string, minVersion int64) (views.State, error)
}

// History reads aggregates' events. *views.History is one.
type History interface {
	// Events gives the events from a version on, that one included.
	Events(ctx context.Context, aggregateType, id string, from int64, limit int) ([]views.Event, error)
}

// Positions compares what was written with what can be read. *views.Positions is one.
type Positions interface {
	// After is at or after everything committed on the partitions now.
	After(ctx context.Context, partitions []views.TopicPartition) (views.Position, error)
	// Wait returns when queries of the read model answer no older than the position.
	Wait(ctx context.Context, p topology.Projection, position views.Position) error
	Lag(ctx context.Context, p topology.Projection) (views.Lag, error)
}
