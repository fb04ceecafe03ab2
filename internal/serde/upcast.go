package serde

import (
	"fmt"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// upcasters are the aggregates whose upcasters begin at an event, by its name.
func upcasters(t *topology.Topology) map[string]topology.Aggregate {
	older := map[string]topology.Aggregate{}
	for _, a := range t.Aggregates {
		if a.Aggregate == nil { // a fault of the topology, which others report
			continue
		}
		for _, event := range a.Events() {
			if a.ReadAs(event) != event {
				older[event] = a
			}
		}
	}
	return older
}

// upcast makes an event of an older version the newest one. A panic of the user's function is the record's fault: it
// must end as a dead letter, not end whoever reads.
func (s *Serde) upcast(rec avro.Record) (newest avro.Record, err error) {
	a, ok := s.upcasters[rec.AvroName()]
	if !ok {
		return rec, nil
	}
	defer func() {
		if p := recover(); p != nil {
			newest, err = nil, fmt.Errorf("reading a %s as %s: %w: an upcaster of aggregate %s panics: %v",
				rec.AvroName(), a.ReadAs(rec.AvroName()), ErrDecode, a.Name(), p)
		}
	}()
	return a.Upcast(rec), nil
}
