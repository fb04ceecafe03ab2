package ports

import (
	"context"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// CommandBytesMax is a size of an encoded command that every bus takes.
const CommandBytesMax = 1 << 20

// RememberedMax is how many of an aggregate's last commands are remembered for as long as it lives. Whatever writes
// states keeps this many, so that all of them answer a repetition alike.
const RememberedMax = 8

// EventBus takes commands to the aggregates that decide them, and says how each ended. It is safe for concurrent use.
//
// What holds of the commands, whichever bus of a log takes them:
//   - The commands of an aggregate are decided one after the other; those that one goroutine gives to one bus, in the
//     order of its calls of Send.
//   - Every command that the log has ends in an outcome, and an outcome is told only when its events are committed.
//   - A command id counts once. Sent again, the command ends in the first outcome, marked as repeated; another command
//     under the id is refused with the code command-id-reused. This holds for as long as commands are remembered:
//     ten minutes, and for the last eight of an aggregate.
//   - A command that expects another version than the aggregate has is refused with the code version-conflict and the
//     version that it has. A command that is refused or rejected changes nothing.
type EventBus interface {
	// Send logs a command for an aggregate and calls done exactly once: with nil when the log has it on all replicas
	// in sync, else with an error. done may be called before Send returns, or later from another goroutine; it must
	// not block. Send itself does not block, and ctx counts only until it returns: a command that is on its way
	// cannot be called back.
	//
	// Errors given to done: ErrOverloaded, ErrBusUnavailable (also ErrLogFull), ErrRefused (also ErrTooLarge,
	// ErrUnknownType), ErrBusClosed and ctx.Err() mean that the log does not have it and never will; ErrInDoubt means
	// that it may. One of them comes within about ten seconds.
	Send(ctx context.Context, aggregateType, id string, cmd domain.Command, meta *platform.CommandMetadata, done func(error))

	// Expect announces interest in a command id. Call it before the command is sent, and Cancel it when done.
	Expect(commandID string) Expectation

	// Outcome finds the outcome of a command that ended within the last hour, often longer; ok is false if there is
	// none, or not yet. It knows everything that an Expectation of this bus was given before. If the id was used
	// several times it is the first outcome that is no repetition.
	// Errors: ErrCatchingUp, ctx.Err().
	Outcome(ctx context.Context, commandID string) (out *platform.Outcome, ok bool, err error)
}

// Expectation is the interest in the outcomes of one command id.
type Expectation interface {
	// C gives the outcomes that are committed under the id from Expect on, in log order, usually one: a command id that
	// was used twice has several. It may also give one from shortly before Expect. It holds 8; what comes while it is
	// full is dropped. It is never closed. An outcome is shared with others: do not change it.
	C() <-chan *platform.Outcome

	// Cancel ends the interest. It is idempotent and may be called from any goroutine.
	Cancel()
}
