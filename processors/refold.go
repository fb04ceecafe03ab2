package processors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
)

// History reads an aggregate's events from the log, read committed. It serves
// refolding alone: a processor never replays to handle a command.
type History interface {
	// Payloads calls f with the framed payload of each event of the versions
	// 1..upTo in order, and fails if it does not have them all within ctx.
	Payloads(ctx context.Context, aggregateType, id string, upTo int64, f func(framed []byte) error) error
}

// refoldPatience bounds the wait for the events of one aggregate.
const refoldPatience = 5 * time.Second

// errHistoryLate says that the events did not come in time. It is no fault of
// the command: a process that has just started may still be reading the log.
var errHistoryLate = errors.New("the log has not been read so far yet")

// refold makes the state anew from the events, because it was folded by code of
// another fold number: the two are never mixed. The envelope's version, hash
// and memory stay, they do not hang on the fold.
func (s *step) refold() error {
	was := s.envelope.Fold
	ctx, cancel := context.WithTimeout(context.Background(), refoldPatience)
	defer cancel()
	state := s.aggregate.NewState()
	err := s.history.Payloads(ctx, s.aggregate.Name(), s.in.key, s.envelope.Version, func(framed []byte) error {
		rec, err := s.framer.DecodeNew(framed)
		if err != nil {
			return err
		}
		return evolveKnown(s.aggregate.Aggregate, state, rec)
	})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", errHistoryLate, err)
	}
	if err != nil {
		return fmt.Errorf("refolding %s %s from fold %d to %d: %w", s.aggregate.Name(), s.in.key, was, s.aggregate.Fold(), err)
	}
	s.state = state
	s.envelope.Fold = int32(s.aggregate.Fold())
	return nil
}

func evolveKnown(a *domain.Aggregate, state domain.Record, rec avro.Record) error {
	if !a.RecordsEvent(rec.AvroName()) {
		return fmt.Errorf("the log holds %s, which aggregate %s no longer declares with Records", rec.AvroName(), a.Name())
	}
	a.Evolve(state, rec)
	return nil
}
