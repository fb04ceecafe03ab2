package emitters

import (
	"context"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// Bus is a [ports.EventBus]: commands go out by one half and their outcomes come back by the other.
type Bus struct {
	*Commands
	Outcomes
}

// Outcomes are the half of a [ports.EventBus] that comes back.
type Outcomes interface {
	Expect(commandID string) ports.Expectation
	Outcome(ctx context.Context, commandID string) (out *platform.Outcome, ok bool, err error)
}

var _ ports.EventBus = Bus{}
