package faults

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/nexusblueprint/nexus/internal/soak"
)

// booking is a command on one product: quantity pieces, under a key that makes it
// idempotent, at a version if one is expected.
type booking struct {
	key      string
	quantity int64
	expected int64 // If-Match; 0: any
}

// answered is what a client knows of an operation in the end: of a read version and
// state, of a booking whether it was taken, and the version.
type answered struct {
	unknown  bool // no answer: it may take effect later, or never
	conflict bool // 412
	version  int64
	onHand   int64 // of a read
}

// reading is a read of one product.
type reading struct{}

// product is the sequential specification of one aggregate: every booking with a new
// key is decided once, against the version before it, and remembered.
type product struct {
	version, onHand int64
	decided         map[string]answered
}

// model is what I13 demands of each aggregate. Porcupine looks for an order of the
// operations that the clients' clocks allow and the specification accepts.
func model(begin product) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return begin },
		Step: func(state, input, output any) (bool, any) {
			p, out := state.(product), output.(answered)
			b, isBooking := input.(booking)
			if !isBooking {
				return out.unknown || out.version == p.version && out.onHand == p.onHand, p
			}
			p, decided := p.book(b)
			return out.unknown || out.conflict == decided.conflict && out.version == decided.version, p
		},
		Equal: func(a, b any) bool {
			p, q := a.(product), b.(product)
			return p.version == q.version && p.onHand == q.onHand && maps.Equal(p.decided, q.decided)
		},
		Hash: func(state any) uint64 {
			p := state.(product)
			return uint64(p.version)<<32 ^ uint64(p.onHand)<<8 ^ uint64(len(p.decided))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
	}
}

func (p product) book(b booking) (product, answered) {
	if first, again := p.decided[b.key]; again {
		return p, first
	}
	a := answered{conflict: b.expected != 0 && b.expected != p.version, version: p.version}
	if !a.conflict {
		a.version++
		p.version, p.onHand = a.version, p.onHand+b.quantity
	}
	decided := maps.Clone(p.decided)
	if decided == nil {
		decided = map[string]answered{}
	}
	decided[b.key] = a
	p.decided = decided
	return p, a
}

// open is the time of an answer that never came.
const open = math.MaxInt64

// judged bounds the search for an order: a history of one aggregate is short.
const judged = time.Minute

func linearizable(begin product, history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model(begin), history, judged)
}

// The judge takes histories of a correct system and finds each kind of fault.
func TestModel(t *testing.T) {
	random := soak.Seeded(t)
	for range soak.Rounds(t, 10) {
		history := simulated(random)
		if got := linearizable(product{}, history); got != porcupine.Ok {
			t.Fatalf("a correct history is judged %s: %+v", got, history)
		}
		for fault, corrupt := range corruptions {
			bad := append([]porcupine.Operation(nil), history...)
			if corrupt(bad) {
				if got := linearizable(product{}, bad); got != porcupine.Illegal {
					t.Errorf("%s is judged %s: %+v", fault, got, bad)
				}
			}
		}
	}
}

// simulated is a history of clients of a correct product: each operation takes
// effect at a moment between its call and its answer.
func simulated(random *rand.Rand) []porcupine.Operation {
	var history []porcupine.Operation
	p := product{}
	for n := range int64(24) {
		at := 10 * n // takes effect
		op := porcupine.Operation{ClientId: int(n % 5), Call: at - random.Int64N(30), Return: at + random.Int64N(30)}
		if random.IntN(3) == 0 {
			op.Input, op.Output = reading{}, answered{version: p.version, onHand: p.onHand}
			history = append(history, op)
			continue
		}
		b := booking{key: fmt.Sprint(random.IntN(16)), quantity: 1 + random.Int64N(9)}
		if random.IntN(3) == 0 {
			b.expected = max(0, p.version-random.Int64N(2))
		}
		if first, again := lookup(history, b.key); again {
			b = first // a repetition is the same command
		}
		var out answered
		if p, out = p.book(b); random.IntN(8) == 0 {
			out, op.Return = answered{unknown: true}, open
		}
		op.Input, op.Output = b, out
		history = append(history, op)
	}
	return history
}

func lookup(history []porcupine.Operation, key string) (booking, bool) {
	for _, op := range history {
		if b, ok := op.Input.(booking); ok && b.key == key {
			return b, true
		}
	}
	return booking{}, false
}

// corruptions make a history that no correct system gives; false: this one offers
// no place for it.
var corruptions = map[string]func(history []porcupine.Operation) bool{
	// An early one: to see that no order explains it, the judge tries all up to there.
	"a read that lost a booking": func(h []porcupine.Operation) bool {
		slices.Reverse(h)
		defer slices.Reverse(h)
		return last(h, func(in any, out answered) bool { return in == reading{} && !out.unknown && out.version > 0 }, func(out *answered) { out.onHand-- })
	},
	"a stale read": func(h []porcupine.Operation) bool {
		first := int64(0)
		for n := range h { // the last read sees what was there before anything was acknowledged
			if out := h[n].Output.(answered); out.version > 0 && h[n].Return != open {
				first = h[n].Return
				break
			}
		}
		return last(h, func(in any, out answered) bool { return in == reading{} && !out.unknown && out.version > 0 }, func(out *answered) { *out = answered{} }) &&
			first > 0 && h[lastRead(h)].Call > first
	},
	"two bookings that got one version": func(h []porcupine.Operation) bool {
		taken := map[int64]string{}
		for n := range h {
			b, isBooking := h[n].Input.(booking)
			out := h[n].Output.(answered)
			if !isBooking || out.unknown || out.conflict {
				continue
			}
			taken[out.version] = b.key
			if other, there := taken[out.version-1]; there && other != b.key {
				out.version--
				h[n].Output = out
				return true
			}
		}
		return false
	},
	"a conflict that was none": func(h []porcupine.Operation) bool {
		return last(h, func(in any, out answered) bool {
			b, isBooking := in.(booking)
			return isBooking && b.expected == 0 && !out.unknown && !out.conflict
		}, func(out *answered) { out.conflict = true })
	},
}

func lastRead(h []porcupine.Operation) int {
	for n := len(h) - 1; n >= 0; n-- {
		if (h[n].Input == reading{}) && !h[n].Output.(answered).unknown {
			return n
		}
	}
	return -1
}

// last changes the last operation of a kind.
func last(h []porcupine.Operation, is func(in any, out answered) bool, change func(*answered)) bool {
	for n := len(h) - 1; n >= 0; n-- {
		if out := h[n].Output.(answered); is(h[n].Input, out) {
			change(&out)
			h[n].Output = out
			return true
		}
	}
	return false
}
