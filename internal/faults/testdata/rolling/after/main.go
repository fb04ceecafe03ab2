// Command after is the release after before. Filled has a new optional field and
// is read as FilledV2; it is still what is recorded, because instances of the
// release before know nothing else.
package main

import (
	"github.com/nexusblueprint/nexus"
	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

//go:generate go run github.com/nexusblueprint/nexus/schemas/avro/gen -import github.com/nexusblueprint/nexus/schemas/avro/platform

var tank = domain.NewAggregate("tank", 2, evolve,
	domain.IDAt[Tank]("/tankId"),
	domain.Handle(func(c *Fill) string { return c.TankID }, nil, fill),
	domain.Upcast[Tank](inMillilitres),
	domain.Records[Tank, FilledV2](),
)

// inMillilitres reads the first version of the event as the second.
func inMillilitres(e *Filled) *FilledV2 {
	v2 := &FilledV2{TankID: e.TankID, Millilitres: 1000 * e.Litres, Source: "unknown"}
	if e.Source != nil {
		v2.Source = *e.Source
	}
	return v2
}

func fill(_ Tank, c *Fill) ([]domain.Event, *domain.Rejection) {
	return []domain.Event{&Filled{TankID: c.TankID, Litres: c.Litres, Source: &c.Source}}, nil
}

func evolve(s Tank, e domain.Event) Tank {
	if e, ok := e.(*FilledV2); ok {
		s.Litres += e.Millilitres / 1000
		if e.Source == "unknown" {
			s.Unknown++
		}
	}
	return s
}

var totals = domain.NewProjection("totals", 1,
	domain.From[Total](func(e *FilledV2) []domain.Change {
		return []domain.Change{{Key: district(e.TankID), Record: &Topup{District: district(e.TankID), Litres: e.Millilitres / 1000, Source: &e.Source}}}
	}),
	domain.Apply(func(d *Total, c *Topup) {
		d.District = c.District
		d.Litres += c.Litres
		d.Fillings++
	}),
)

func district(tankID string) string { return tankID[:1] }

var supplies = domain.NewProjection("supplies", 1,
	domain.From[Supply](func(e *FilledV2) []domain.Change {
		return []domain.Change{{Key: e.Source, Record: &Topup{District: district(e.TankID), Litres: e.Millilitres / 1000, Source: &e.Source}}}
	}),
	domain.Apply(func(d *Supply, c *Topup) {
		d.Source = *c.Source
		d.Litres += c.Litres
	}),
)

func main() {
	nexus.Main(&topology.Topology{
		Context: "water", Owner: "waterworks", Partitions: 4,
		Schemas:    avro.Sets{platform.Schemas, Schemas},
		Aggregates: []topology.Aggregate{{Aggregate: tank, Owner: "waterworks", Table: "water.TankTable"}},
		Projections: []topology.Projection{
			{Projection: totals, Owner: "waterworks", Table: "water.TotalTable", Rekeyed: true},
			{Projection: supplies, Owner: "waterworks", Table: "water.SupplyTable", Rekeyed: true},
		},
		Limits: topology.Limits{TemporalQueriesPerMinute: 10},
	})
}
