package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// assignment is what one group generation gave us. Its context ends as soon as the
// client learns of the next rebalance.
type assignment struct {
	ctx    context.Context
	claims map[tp]int64 // where each input partition goes on
	err    error        // the processor must end
}

// assignments passes them from franz-go's group goroutine to ours.
type assignments struct {
	e    *Engine
	next chan *assignment
}

// take is franz-go's AdjustFetchOffsetsFn: called once per generation, after the
// committed offsets were read with RequireStable, so when no transaction that
// touches our partitions' offsets is pending any more. This, and not
// OnPartitionsAssigned, is the moment to recover.
//
// It returns an exact offset without an epoch for every partition. Where franz-go
// must ask for an offset or validate an epoch first, the partition misses the
// first fetch and waits for its end, up to 5 s if the others have nothing to say.
func (as *assignments) take(ctx context.Context, committed map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	a := &assignment{ctx: ctx, claims: map[tp]int64{}}
	for t, ps := range committed {
		for p, o := range ps {
			a.claims[tp{t, p}] = o.EpochOffset().Offset
		}
	}
	if err := as.e.place(ctx, a); err != nil {
		return nil, err // franz-go joins again
	}
	exact := map[string]map[int32]kgo.Offset{}
	for at, offset := range a.claims {
		if exact[at.topic] == nil {
			exact[at.topic] = map[int32]kgo.Offset{}
		}
		exact[at.topic][at.part] = kgo.NewOffset().At(offset)
	}
	select { // the newest assignment replaces an unread one
	case <-as.next:
	default:
	}
	as.next <- a
	return exact, nil
}

// place settles where a partition goes on that has no committed offset (at the
// start: goka would begin at the end and skip what is there), or one that retention
// has overtaken (at the start). A committed offset beyond the end is refused:
// franz-go would go back to the start and do everything again. So is none at all
// where the table says that there was one.
func (e *Engine) place(ctx context.Context, a *assignment) error {
	if len(a.claims) == 0 {
		return nil
	}
	if err := e.lostPlace(ctx, a.claims); errors.As(err, new(*LostPlaceError)) {
		a.err = err
	} else if err != nil {
		return err
	}
	all := make([]tp, 0, len(a.claims))
	for at := range a.claims {
		all = append(all, at)
	}
	starts, err := topics{e}.offsets(ctx, all, offsetStart)
	if err != nil {
		return err
	}
	ends, err := topics{e}.offsets(ctx, all, offsetHigh)
	if err != nil {
		return err
	}
	for at, offset := range a.claims {
		switch {
		case offset > ends[at]:
			a.err = fmt.Errorf("group %s has committed offset %d of %s/%d, which ends at %d: the topic was created anew or has lost records; reset the group's offsets deliberately",
				e.cfg.Group, offset, at.topic, at.part, ends[at])
		case offset >= 0 && offset < starts[at]:
			e.log.Warn("records were deleted before they were processed", "topic", at.topic, "partition", at.part, "offset", offset, "records_lost", starts[at]-offset)
			a.claims[at] = starts[at]
		case offset < 0:
			a.claims[at] = starts[at]
		}
	}
	return nil
}
