package gateway

import (
	"context"

	"github.com/nexusblueprint/nexus/topology"
	"github.com/nexusblueprint/nexus/views"
)

// States reads aggregates' live states. *views.States is one.
type States interface {
	// Get waits until the aggregate stands at minVersion or later.
	Get(ctx context.Context, aggregateType, id string, minVersion int64) (views.State, error)
}

// Positions compares what was written with what can be read. *views.Positions is one.
type Positions interface {
	// After is at or after everything committed on the partitions now.
	After(ctx context.Context, partitions []views.TopicPartition) (views.Position, error)
	// Wait returns when queries of the read model answer no older than the position.
	Wait(ctx context.Context, p topology.Projection, position views.Position) error
	Lag(ctx context.Context, p topology.Projection) (views.Lag, error)
}
