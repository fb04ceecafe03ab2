// Package topology declares a whole system in one value: its aggregates,
// projections, topics, partitions, retention, schemas and owners. Processors
// are started from it, topics are created and checked from it, policies judge
// it and the docs are drawn from it: nothing runs that it does not name.
//
// The package does no I/O; comparing it with a broker is Compare's job, over
// facts that the caller has fetched.
package topology

import (
	"slices"
	"strings"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
)

// PartitionsDefault is the partition count of a context that states none.
const PartitionsDefault = 8

// Topology is one context: all topics of it have one partition count, because
// a goka group needs its inputs, loop and table co-partitioned.
type Topology struct {
	Context     string // lower case, such as "shop": the first part of every topic name
	Owner       string // who answers for the context
	Partitions  int32  // of every topic; 0 means PartitionsDefault
	Schemas     avro.Sets
	Aggregates  []Aggregate
	Projections []Projection
	Limits      Limits
}

// Aggregate places a domain aggregate into the context.
type Aggregate struct {
	*domain.Aggregate
	Owner     string
	Table     string   // full name of the table record's schema: envelope and state
	Resilient []string // events that leave over the resilient bus; all others are core
}

// Projection places a domain projection into the context.
type Projection struct {
	*domain.Projection
	Owner   string
	Table   string // full name of the table record's schema: envelope and document
	Rekeyed bool   // some documents have another key than the events they come from
}

// Limits are promises about use that policies judge.
type Limits struct {
	TemporalQueriesPerMinute int // per principal, over all instances
}

// Class says how an event goes on from the log.
type Class string

// The two classes of events.
const (
	Core      Class = "core"      // read from the log itself by projections and sagas
	Resilient Class = "resilient" // carried by the resilient bus with retries
)

// ClassOf classifies an event of the aggregate.
func (a Aggregate) ClassOf(event string) Class {
	if slices.Contains(a.Resilient, event) {
		return Resilient
	}
	return Core
}

// PartitionCount is Partitions with its default filled in.
func (t *Topology) PartitionCount() int32 {
	if t.Partitions == 0 {
		return PartitionsDefault
	}
	return t.Partitions
}

// Aggregate finds an aggregate by its type.
func (t *Topology) Aggregate(name string) (Aggregate, bool) {
	for _, a := range t.Aggregates {
		if a.Name() == name {
			return a, true
		}
	}
	return Aggregate{}, false
}

// Projection finds a projection by its name.
func (t *Topology) Projection(name string) (Projection, bool) {
	for _, p := range t.Projections {
		if p.Name() == name {
			return p, true
		}
	}
	return Projection{}, false
}

// AggregateOfCommand finds who takes a command, by the schema's full name or by
// its last part ("PlaceOrder"), which Faults keeps unique. It also returns the
// full name.
func (t *Topology) AggregateOfCommand(name string) (Aggregate, string, bool) {
	for _, a := range t.Aggregates {
		for _, c := range a.Commands() {
			if c == name || ShortName(c) == name {
				return a, c, true
			}
		}
	}
	return Aggregate{}, "", false
}

// AggregateOfEvent finds who records an event, by the schema's full name.
func (t *Topology) AggregateOfEvent(name string) (Aggregate, bool) {
	for _, a := range t.Aggregates {
		if a.RecordsEvent(name) {
			return a, true
		}
	}
	return Aggregate{}, false
}

// Sources are the aggregates whose events the projection reads, in the order
// of declaration.
func (t *Topology) Sources(p Projection) []Aggregate {
	var sources []Aggregate
	for _, a := range t.Aggregates {
		if slices.ContainsFunc(p.Reads(), a.RecordsEvent) {
			sources = append(sources, a)
		}
	}
	return sources
}

// ShortName is the last part of a schema's full name.
func ShortName(full string) string { return full[strings.LastIndexByte(full, '.')+1:] }
