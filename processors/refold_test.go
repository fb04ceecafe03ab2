package processors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
)

// stored is a history of one aggregate.
type stored struct {
	framed [][]byte
	asked  int
	err    error
}

func (h *stored) Payloads(_ context.Context, _, _ string, upTo int64, f func([]byte) error) error {
	if h.asked++; h.err != nil {
		return h.err
	}
	for _, framed := range h.framed[:upTo] {
		if err := f(framed); err != nil {
			return err
		}
	}
	return nil
}

// dozens is the shop's stock in a later release, whose quantities are dozens.
func dozens(fold int) *domain.Aggregate {
	return domain.NewAggregate("stock", fold, func(s retail.Stock, e domain.Event) retail.Stock {
		adjusted := e.(*retail.StockAdjusted)
		return retail.Stock{OnHand: s.OnHand + 12*int64(adjusted.Quantity), References: append(s.References[:len(s.References):len(s.References)], adjusted.Reference)}
	},
		domain.Handle(func(c *retail.AdjustStock) string { return c.Sku }, nil, func(_ retail.Stock, c *retail.AdjustStock) ([]domain.Event, *domain.Rejection) {
			return []domain.Event{&retail.StockAdjusted{Sku: c.Sku, Quantity: c.Quantity, Reference: c.Reference}}, nil
		}),
		domain.Records[retail.Stock, retail.StockAdjusted](),
	)
}

// adjusted is a bench after some adjustments by the shop's own stock.
func adjusted(t *testing.T, quantities ...int32) (*bench, *stored) {
	t.Helper()
	b, h := newBench(t), &stored{}
	b.decider.history = h
	for i, q := range quantities {
		eff := b.send(adjust("mug", q, fmt.Sprint("r", i)), id(fmt.Sprint("c", i)))
		h.framed = append(h.framed, eff.events[0].value)
	}
	if h.asked > 0 {
		t.Fatal("a command was decided by replaying")
	}
	return b, h
}

func TestRefold_a_changed_fold_number_makes_state_anew(t *testing.T) {
	b, h := adjusted(t, 1, 2, 3)
	before, _ := b.record()
	b.decider.aggregate.Aggregate = dozens(2)

	again := b.send(adjust("mug", 3, "r2"), id("c2")) // a repetition
	if again.outcome == nil || !again.outcome.Repeated || again.outcome.Version != 3 || again.table != nil {
		t.Errorf("a repetition is answered with %+v", again.outcome)
	}
	h.framed = append(h.framed, b.send(adjust("mug", 4, "r3"), id("c3")).events[0].value)
	env, state := b.record()
	if state.OnHand != 12*(1+2+3+4) || env.Fold != 2 {
		t.Errorf("%d on hand by fold %d", state.OnHand, env.Fold)
	}
	if env.Version != 4 || len(env.Recent) != 4 || env.EventsSinceSnapshot != before.EventsSinceSnapshot+1 || env.Hash == before.Hash {
		t.Errorf("what does not hang on the fold was changed: %+v, before %+v", env, before)
	}

	asked := h.asked
	b.send(adjust("mug", 5, "r4"), id("c4"))
	if h.asked != asked {
		t.Error("state of today's fold number was folded anew")
	}
	// Back to the release before.
	stock, _ := shop.Topology().Aggregate("stock")
	b.decider.aggregate = stock
	h.framed = append(h.framed, b.frame(&retail.StockAdjusted{Quantity: 5, Reference: "r4"}))
	b.send(adjust("mug", 6, "r5"), id("c5"))
	if env, state := b.record(); state.OnHand != 1+2+3+4+5+6 || env.Fold != 1 || env.Version != 6 {
		t.Errorf("back again: %d on hand by fold %d at version %d", state.OnHand, env.Fold, env.Version)
	}
}

// The same number says that nothing changed its meaning: nothing is read.
func TestRefold_happens_by_the_number_alone(t *testing.T) {
	b, h := adjusted(t, 1, 2)
	b.decider.aggregate.Aggregate = dozens(1)
	b.send(adjust("mug", 1, "r"), id("c"))
	if _, state := b.record(); state.OnHand != 1+2+12 || h.asked != 0 {
		t.Errorf("%d on hand, history asked %d times", state.OnHand, h.asked)
	}
}

func TestRefold_what_cannot_be_folded_is_set_aside(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*bench, *stored)
		says  string
	}{
		"an event that is no longer declared": {func(b *bench, h *stored) {
			h.framed[1] = b.frame(&retail.StockReceived{})
		}, "refolding stock mug from fold 1 to 2: the log holds shop.stock.StockReceived, which aggregate stock no longer declares"},
		"a log with a gap": {func(_ *bench, h *stored) { h.err = errors.New("the log holds only 1 of the versions 1 to 2") }, "holds only 1"},
	} {
		t.Run(name, func(t *testing.T) {
			b, h := adjusted(t, 1, 2)
			b.decider.aggregate.Aggregate = dozens(2)
			c.spoil(b, h)
			before := string(b.table)
			eff := b.send(adjust("mug", 1, "r"), id("c"))
			wantOutcome(t, eff, platform.OutcomeKindDead, CodeDeadLetter)
			if eff.dead == nil || eff.dead.reason != ReasonFailed || !strings.Contains(eff.dead.detail, c.says) || string(b.table) != before {
				t.Errorf("effects %+v", eff)
			}
		})
	}
}

// slow is a history that never comes so far.
type slow struct{}

func (slow) Payloads(ctx context.Context, _, _ string, _ int64, _ func([]byte) error) error {
	<-ctx.Done()
	return errors.New("not caught up in time")
}

// A process that has just started may still be reading the log: the command is
// as good as any and waits.
func TestRefold_a_history_that_is_late_is_no_fault_of_the_command(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, h := adjusted(t, 1, 2)
		b.decider.aggregate.Aggregate = dozens(2)
		b.decider.history = slow{}
		eff := b.send(adjust("mug", 1, "r"), id("c"))
		if eff.retry == nil || eff.dead != nil || eff.outcome != nil || eff.table != nil {
			t.Fatalf("effects %+v", eff)
		}
		b.decider.history = h
		wantOutcome(t, b.send(adjust("mug", 1, "r"), id("c")), platform.OutcomeKindAccepted, "")
		if _, state := b.record(); state.OnHand != 12*(1+2+1) {
			t.Errorf("%d on hand", state.OnHand)
		}
	})
}
