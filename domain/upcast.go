package domain

import (
	"fmt"
	"slices"
)

// upcaster makes the next version of an event of one type.
type upcaster struct {
	to string
	up func(Event) Event
}

// Upcast declares an event that earlier releases recorded, and what it is read
// as today: the event of the next version, which up makes of it. Versions are
// types of their own, so a chain v1 → v2 → v3 is two Upcasts and a Records of
// v3; evolve and projections only ever see v3, the log keeps what was written.
//
// up must be deterministic, must not alter its event and must not return nil.
// decide may go on recording the old version, which a rolling upgrade needs for
// one release: instances of the release before do not know the new one.
func Upcast[S any, PF pointer[F], PT pointer[T], F any, T any](up func(PF) PT) Part[S] {
	return func(a *Aggregate) {
		from, to := PF(new(F)).AvroName(), PT(new(T)).AvroName()
		if _, twice := a.upcasters[from]; twice {
			a.faults = append(a.faults, fmt.Sprintf("aggregate %s: event %s has two upcasters: one step has one, keep the one that is right", a.name, from))
			return
		}
		a.upcasters[from] = upcaster{to: to, up: func(e Event) Event {
			next := up(e.(PF))
			if next == nil {
				panic(fmt.Sprintf("the upcaster from %s to %s returned nil", from, to))
			}
			return next
		}}
		a.older[from] = func() Event { return PF(new(F)) }
	}
}

// chainFaults judges the upcasters once all parts are declared, in whatever
// order they stand.
func (a *Aggregate) chainFaults() {
	var circling []string
	for _, from := range sortedKeys(a.upcasters) {
		to := a.upcasters[from].to
		_, goesOn := a.upcasters[to]
		_, recorded := a.events[from]
		_, ends := a.events[to]
		switch {
		case recorded:
			a.faults = append(a.faults, fmt.Sprintf("aggregate %s: event %s is declared with Records and has an upcaster to %s: only the newest version is declared with Records, leave out the one that is wrong", a.name, from, to))
		case a.circles(from):
			circling = append(circling, from)
			a.faults = append(a.faults, fmt.Sprintf("aggregate %s: the upcasters from event %s lead back to it: a chain ends at the newest version, declared with Records", a.name, from))
		case !goesOn && !ends:
			a.faults = append(a.faults, fmt.Sprintf("aggregate %s: gap in the chain of upcasters: %s is read as %s, which is neither declared with Records nor has an upcaster itself; add the one that is missing", a.name, from, to))
		}
	}
	for _, from := range circling { // or whoever reads in spite of the fault would go round for ever
		delete(a.upcasters, from)
	}
}

// circles says whether the chain from an event comes back to it.
func (a *Aggregate) circles(from string) bool {
	seen := []string{from}
	for u, ok := a.upcasters[from]; ok; u, ok = a.upcasters[u.to] {
		if slices.Contains(seen, u.to) {
			return u.to == from
		}
		seen = append(seen, u.to)
	}
	return false
}

// Upcast returns the event as it is read today: in its newest version. An event
// without an upcaster is returned as it is. The aggregate must have no Faults.
func (a *Aggregate) Upcast(e Event) Event {
	for u, ok := a.upcasters[e.AvroName()]; ok; u, ok = a.upcasters[e.AvroName()] {
		e = u.up(e)
	}
	return e
}

// ReadAs is the full name of the event that an event is read as today: its own
// where it has no upcaster.
func (a *Aggregate) ReadAs(event string) string {
	for u, ok := a.upcasters[event]; ok; u, ok = a.upcasters[event] {
		event = u.to
	}
	return event
}
