package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lostPlace returns a *LostPlaceError where the engine would begin at the start of
// inputs that it has handled before. Any partition of the table tells, not only ours:
// an event that only goes over the loop leaves its rows in another one.
func (e *Engine) lostPlace(ctx context.Context, claims map[tp]int64) error {
	g := e.graph.Load()
	if g == nil || g.GroupTable() == nil || allPlaced(claims) {
		return nil
	}
	// The table comes before the offsets. A transaction that is seen in it has its
	// offsets committed, or about to be, when they are asked for.
	filled, err := e.filled(ctx)
	if err != nil || len(filled) == 0 {
		return err
	}
	var inputs []string
	for at := range claims {
		if !slices.Contains(inputs, at.topic) {
			inputs = append(inputs, at.topic)
		}
	}
	slices.Sort(inputs)
	placed, err := e.placed(ctx, inputs, filled)
	if err != nil {
		return err
	}
	lost := slices.DeleteFunc(filled, func(p int32) bool { return placed[p] })
	if len(lost) == 0 {
		return nil
	}
	// Rows over inputs that never held a record were not made from them.
	ends, err := topics{e}.offsets(ctx, across(inputs, lost), offsetHigh)
	if err != nil {
		return err
	}
	for _, p := range lost {
		if slices.ContainsFunc(inputs, func(topic string) bool { return ends[tp{topic, p}] > 0 }) {
			return &LostPlaceError{Group: e.cfg.Group, Table: e.table, Partition: p, Inputs: inputs}
		}
	}
	return nil
}

// allPlaced says that each partition goes on at a committed offset of some input. One
// without is the rule for an input that is new, or had no record yet.
func allPlaced(claims map[tp]int64) bool {
	placed := map[int32]bool{}
	for at, offset := range claims {
		placed[at.part] = placed[at.part] || offset >= 0
	}
	for _, ok := range placed {
		if !ok {
			return false
		}
	}
	return true
}

// filled are the partitions of the group table that hold a committed record.
func (e *Engine) filled(ctx context.Context) (filled []int32, err error) {
	d, err := topics{e}.describe(ctx, e.table)
	if err != nil {
		return nil, err
	}
	all := across([]string{e.table}, slices.Sorted(maps.Keys(d.leaders)))
	starts, err := topics{e}.offsets(ctx, all, offsetStart)
	if err != nil {
		return nil, err
	}
	ends, err := topics{e}.offsets(ctx, all, offsetStable)
	if err != nil {
		return nil, err
	}
	for _, at := range all {
		empty, err := e.isEmpty(ctx, d, at, starts[at], ends[at], false)
		if err != nil {
			return nil, fmt.Errorf("looking into %s/%d: %w", at.topic, at.part, err)
		}
		if !empty {
			filled = append(filled, at.part)
		}
	}
	return filled, nil
}

// placed are those of the partitions in which an input has a committed offset, or one
// that a transaction is about to commit.
func (e *Engine) placed(ctx context.Context, inputs []string, parts []int32) (map[int32]bool, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = e.cfg.Group
	for _, topic := range inputs {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = topic, parts
		group.Topics = append(group.Topics, t)
	}
	req.Groups = append(req.Groups, group)
	resp, err := req.RequestWith(ctx, e.cl)
	if err == nil && len(resp.Groups) != 1 {
		err = errors.New("the broker's answer is empty")
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.Groups[0].ErrorCode)
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the offsets of group %s: %w", e.cfg.Group, err)
	}
	placed := map[int32]bool{}
	for _, t := range resp.Groups[0].Topics {
		for _, p := range t.Partitions {
			switch err := kerr.ErrorForCode(p.ErrorCode); {
			case errors.Is(err, kerr.UnstableOffsetCommit):
				placed[p.Partition] = true
			case err != nil:
				return nil, fmt.Errorf("asking for the offset of group %s in %s/%d: %w", e.cfg.Group, t.Topic, p.Partition, err)
			case p.Offset >= 0:
				placed[p.Partition] = true
			}
		}
	}
	return placed, nil
}

func across(topics []string, parts []int32) (all []tp) {
	for _, t := range topics {
		for _, p := range parts {
			all = append(all, tp{t, p})
		}
	}
	return all
}
