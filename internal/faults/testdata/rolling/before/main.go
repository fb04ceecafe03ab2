// Command before is a release of a small system. It and the next one, beside it,
// run together in internal/faults.
package main

import (
	"github.com/nexusblueprint/nexus"
	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

//go:generate go run github.com/nexusblueprint/nexus/schemas/avro/gen -import github.com/nexusblueprint/nexus/schemas/avro/platform

var tank = domain.NewAggregate("tank", 1, evolve,
	domain.IDAt[Tank]("/tankId"),
	domain.Handle(func(c *Fill) string { return c.TankID }, nil, fill),
	domain.Records[Tank, Filled](),
)

func fill(_ Tank, c *Fill) ([]domain.Event, *domain.Rejection) {
	return []domain.Event{&Filled{TankID: c.TankID, Litres: c.Litres}}, nil
}

func evolve(s Tank, e domain.Event) Tank {
	if e, ok := e.(*Filled); ok {
		s.Litres += e.Litres
	}
	return s
}

var totals = domain.NewProjection("totals", 1,
	domain.From[Total](func(e *Filled) []domain.Change {
		return []domain.Change{{Key: district(e.TankID), Record: &Topup{District: district(e.TankID), Litres: e.Litres}}}
	}),
	domain.Apply(func(d *Total, c *Topup) {
		d.District = c.District
		d.Litres += c.Litres
		d.Fillings++
	}),
)

func district(tankID string) string { return tankID[:1] }

func main() {
	nexus.Main(&topology.Topology{
		Context: "water", Owner: "waterworks", Partitions: 4,
		Schemas:     avro.Sets{platform.Schemas, Schemas},
		Aggregates:  []topology.Aggregate{{Aggregate: tank, Owner: "waterworks", Table: "water.TankTable"}},
		Projections: []topology.Projection{{Projection: totals, Owner: "waterworks", Table: "water.TotalTable", Rekeyed: true}},
		Limits:      topology.Limits{TemporalQueriesPerMinute: 10},
	})
}
