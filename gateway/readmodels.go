package gateway

import (
	"github.com/nexusblueprint/nexus/internal/readmodel"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// readModel is a projection as queries see it.
type readModel struct {
	*readmodel.Model
	projection topology.Projection
	fields     []avro.Field // those that documents show
	names      []string     // of the fields that queries filter and sort by
	parameters []parameter[listRequest]
}

// loadReadModels prepares the topology's read models. Its schemas are there.
func (g *Gateway) loadReadModels() {
	g.topics = map[string]bool{}
	for _, topic := range g.topology.Topics() {
		g.topics[topic.Name] = true
	}
	g.byName = map[string]*readModel{}
	for _, p := range g.topology.Projections {
		m := &readModel{Model: readmodel.Of(g.topology, p), projection: p}
		for _, f := range m.Document.Fields() {
			if !f.Hidden() {
				m.fields = append(m.fields, f)
			}
		}
		for _, f := range m.Spec.Fields {
			m.names = append(m.names, f.Name)
		}
		m.parameters = m.listParameters()
		g.models = append(g.models, m)
		g.byName[m.Name] = m
	}
}

// kindOf is how the field is compared; ok is false where there is no such field.
func (m *readModel) kindOf(field string) (kind ports.Kind, ok bool) {
	for _, f := range m.Spec.Fields {
		if f.Name == field {
			return f.Kind, true
		}
	}
	return "", false
}

// typeName is what clients call the type of a field.
func typeName(s *avro.Schema) string {
	switch s.Logical() {
	case avro.LogicalMoney:
		return "money"
	case avro.LogicalTimestamp:
		return "timestamp"
	case avro.LogicalUUID:
		return "uuid"
	}
	switch s.Kind() {
	case avro.KindString, avro.KindEnum:
		return "string"
	case avro.KindInt, avro.KindLong:
		return "long"
	case avro.KindFloat, avro.KindDouble:
		return "double"
	case avro.KindBoolean:
		return "boolean"
	case avro.KindBytes, avro.KindFixed:
		return "bytes"
	case avro.KindArray:
		return "array"
	}
	return "object"
}
