package ports

import (
	"context"

	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// EventsMax bounds the events of one call of EventStore.Events.
const EventsMax = 1_000

// Event is one event of an aggregate, as it was recorded.
type Event struct {
	Metadata *platform.Metadata
	Type     string // full name of the event's schema; of an event that has upcasters, of its newest version
	Avro     []byte // the event, encoded by this program's schema of that name
	Framed   []byte // the record's value as it stands in the log
}

// EventStore gives back the events of aggregates. It has no method that appends: events come about where a command is
// decided, in one transaction with its outcome, see EventBus. It is safe for concurrent use.
//
// What holds of an aggregate's events:
//   - Their versions are 1 to n without a gap, in the order in which they were decided, and each has an id of its own,
//     the id of its command, and the hash of the event before it.
//   - Only committed events are given: what was aborted never, what is in a transaction that is open not yet.
//   - What was given once is given again, byte for byte, by every store of the log; no answer ends before an earlier
//     one of the same store.
//   - An event is given soon after its commit, not at once: whoever knows its outcome may have to ask again. A log that
//     cannot be reached makes this later, and takes away nothing that was given.
type EventStore interface {
	// Events returns the events of an aggregate from a version (from 1, inclusive) on, in order, at most limit of them
	// and at most EventsMax. There are none of an aggregate that does not exist.
	//
	// Errors: ErrUnknownType, ErrCatchingUp, ctx.Err(); others are failures of the store or of decoding.
	Events(ctx context.Context, aggregateType, id string, from int64, limit int) ([]Event, error)
}
