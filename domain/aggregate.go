package domain

import (
	"fmt"
	"slices"
	"strings"
)

// Aggregate is a consistency boundary: the commands it takes, the events it
// records, the fold that makes its state. Make one with NewAggregate.
// It is immutable and safe for concurrent use.
type Aggregate struct {
	name      string
	fold      int
	idAt      string // JSON pointer; empty: not said
	state     func() Record
	evolve    func(Record, Event)
	handlers  map[string]handler
	events    map[string]func() Event // of the newest versions
	older     map[string]func() Event // of the versions that upcasters begin at
	upcasters map[string]upcaster     // by the event they begin at
	order     []string                // command names in the order of declaration
	faults    []string
}

type handler struct {
	new      func() Command
	id       func(Command) string
	validate func(Command) []Fault
	decide   func(Record, Command) ([]Event, *Rejection)
}

// Part is one piece of an aggregate's declaration: a Handle, a Records or an Upcast.
type Part[S any] func(*Aggregate)

// NewAggregate declares an aggregate whose state is the generated record S.
//
// fold is its fold number, from 1: raise it when evolve changes meaning, and
// every state of another number is folded anew from the events.
// evolve returns the state after the event; it must not keep or change what
// the old state refers to except through the value it returns.
// Mistakes in the declaration are not panics: Faults lists them.
func NewAggregate[S any, P pointer[S]](name string, fold int, evolve func(S, Event) S, parts ...Part[S]) *Aggregate {
	a := &Aggregate{
		name: name, fold: fold,
		state: func() Record { return P(new(S)) },
		evolve: func(s Record, e Event) {
			state := (*S)(s.(P))
			*state = evolve(*state, e)
		},
		handlers: map[string]handler{}, events: map[string]func() Event{},
		older: map[string]func() Event{}, upcasters: map[string]upcaster{},
	}
	if name == "" || strings.ToLower(name) != name {
		a.faults = append(a.faults, fmt.Sprintf("aggregate %q: the name must be lower case and not empty", name))
	}
	if fold < 1 {
		a.faults = append(a.faults, fmt.Sprintf("aggregate %s: fold number %d, must be at least 1", name, fold))
	}
	for _, part := range parts {
		part(a)
	}
	a.chainFaults()
	if len(a.handlers) == 0 {
		a.faults = append(a.faults, fmt.Sprintf("aggregate %s: takes no command", name))
	}
	return a
}

// Handle declares a command: which aggregate it is for, what is wrong with it
// in itself (nil: nothing can be), and what happens. decide must be deterministic: times and ids
// come in with the command. No events and no rejection means "accepted,
// nothing changed".
func Handle[S any, C any, PS pointer[S], PC pointer[C]](
	id func(PC) string, validate func(PC) []Fault, decide func(S, PC) ([]Event, *Rejection),
) Part[S] {
	return func(a *Aggregate) {
		name := PC(new(C)).AvroName()
		if _, twice := a.handlers[name]; twice {
			a.faults = append(a.faults, fmt.Sprintf("aggregate %s: command %s is handled twice", a.name, name))
		}
		a.order = append(a.order, name)
		a.handlers[name] = handler{
			new: func() Command { return PC(new(C)) },
			id:  func(c Command) string { return id(c.(PC)) },
			validate: func(c Command) []Fault {
				if validate == nil {
					return nil
				}
				return validate(c.(PC))
			},
			decide: func(s Record, c Command) ([]Event, *Rejection) {
				return decide(*(*S)(s.(PS)), c.(PC))
			},
		}
	}
}

// Records declares an event of the aggregate. Every event type that was ever
// recorded stays declared, an older version with Upcast: the log is read for ever.
func Records[S any, E any, PE pointer[E]]() Part[S] {
	return func(a *Aggregate) {
		name := PE(new(E)).AvroName()
		if _, twice := a.events[name]; twice {
			a.faults = append(a.faults, fmt.Sprintf("aggregate %s: event %s is declared twice", a.name, name))
		}
		a.events[name] = func() Event { return PE(new(E)) }
	}
}

// IDAt says which field of the aggregate's commands holds its id, as a JSON
// pointer such as "/orderId": faults of the id point there. Without it they
// point at the whole command.
func IDAt[S any](pointer string) Part[S] {
	return func(a *Aggregate) {
		if !strings.HasPrefix(pointer, "/") {
			a.faults = append(a.faults, fmt.Sprintf("aggregate %s: id at %q, want a JSON pointer such as /orderId", a.name, pointer))
		}
		a.idAt = pointer
	}
}

// Name is the aggregate's type, such as "order".
func (a *Aggregate) Name() string { return a.name }

// Fold is the fold number.
func (a *Aggregate) Fold() int { return a.fold }

// Faults are the mistakes of the declaration.
func (a *Aggregate) Faults() []string { return a.faults }

// Commands are the full names of its commands, as declared.
func (a *Aggregate) Commands() []string { return slices.Clone(a.order) }

// Events are the full names of its events, those of older versions included, sorted.
func (a *Aggregate) Events() []string {
	return slices.Sorted(slices.Values(slices.Concat(sortedKeys(a.events), sortedKeys(a.older))))
}

// NewState is the state of an aggregate without events.
func (a *Aggregate) NewState() Record { return a.state() }

// NewCommand makes an empty command, nil if the aggregate does not take it.
func (a *Aggregate) NewCommand(name string) Command {
	if h, ok := a.handlers[name]; ok {
		return h.new()
	}
	return nil
}

// Takes says whether the aggregate handles the command.
func (a *Aggregate) Takes(name string) bool { _, ok := a.handlers[name]; return ok }

// RecordsEvent says whether the aggregate declares the event, in this or an older version.
func (a *Aggregate) RecordsEvent(name string) bool { return a.newEvent(name) != nil }

// NewEvent makes an empty event, nil if the aggregate does not record it.
func (a *Aggregate) NewEvent(name string) Event {
	if f := a.newEvent(name); f != nil {
		return f()
	}
	return nil
}

func (a *Aggregate) newEvent(name string) func() Event {
	if f, ok := a.events[name]; ok {
		return f
	}
	return a.older[name]
}

// ID is the aggregate id a command is for. The command must be one it takes.
func (a *Aggregate) ID(c Command) string { return a.handlers[c.AvroName()].id(c) }

// Validate returns what is wrong with the command in itself, nil if nothing:
// faults of the id first, then the command's own.
func (a *Aggregate) Validate(c Command) []Fault {
	h := a.handlers[c.AvroName()]
	return append(checkID(a.idAt, h.id(c)), h.validate(c)...)
}

// Decide returns the events the command causes in this state, or why not.
// An event the aggregate does not declare is a defect of the domain and panics.
func (a *Aggregate) Decide(state Record, c Command) ([]Event, *Rejection) {
	events, no := a.handlers[c.AvroName()].decide(state, c)
	if no != nil {
		return nil, no
	}
	for _, e := range events {
		if !a.RecordsEvent(e.AvroName()) {
			panic(fmt.Sprintf("aggregate %s decided %s, which it does not declare with Records", a.name, e.AvroName()))
		}
	}
	return events, nil
}

// Evolve folds the event into the state, in place, as it is read today: one of
// an older version, which Decide may still record, is upcast first.
func (a *Aggregate) Evolve(state Record, e Event) { a.evolve(state, a.Upcast(e)) }
