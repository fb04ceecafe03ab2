// Package domain is the kit a domain is written with: pure functions over
// generated records, no I/O, no clock, no broker.
//
// A command's way through it:
//
//	Validate(command)      → faults, judged at the edge and once more before Decide
//	Decide(state, command) → events, or a rejection
//	Evolve(state, event)   → state
//
// and an event's way into read models:
//
//	Split(event)           → changes, each for the document of one key
//	Apply(document, change)
//
// The package runs nothing. Processors run it; domaintest tests it.
package domain
