// Package readmodel says how a projection's documents look to a search store:
// which fields they have, and how a table record becomes a document. The sink
// writes by it and the gateway judges queries by it.
package readmodel

import (
	"fmt"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// Model is one version of a read model. It is immutable.
type Model struct {
	Name     string // "products"
	Index    string // "products.v1"
	Version  int
	Document *avro.Schema
	Spec     ports.IndexSpec
}

// Of builds the model of a projection. The topology must be without Faults.
func Of(t *topology.Topology, p topology.Projection) *Model {
	m := &Model{
		Name: p.Name(), Index: topology.Index(p), Version: p.Version(),
		Document: t.Schemas.Find(p.NewDocument().AvroName()).Schema(),
	}
	m.Spec.Name = m.Index
	for _, f := range m.Document.Fields() {
		if !f.Hidden() && f.Scalar() {
			m.Spec.Fields = append(m.Spec.Fields, ports.Field{Name: f.Name, Kind: KindOf(f.Type())})
		}
	}
	return m
}

// KindOf is the kind of a scalar's schema in a search store.
func KindOf(s *avro.Schema) ports.Kind {
	switch s.Kind() {
	case avro.KindInt:
		return ports.KindLong
	case avro.KindLong:
		switch s.Logical() {
		case avro.LogicalMoney:
			return ports.KindMoney
		case avro.LogicalTimestamp:
			return ports.KindTimestamp
		}
		return ports.KindLong
	case avro.KindFloat, avro.KindDouble:
		return ports.KindDouble
	case avro.KindBoolean:
		return ports.KindBool
	default:
		return ports.KindKeyword
	}
}

// Read makes the document of a table record. current are the framed bytes in
// the binary's own schema, as the framer's transcoding gives them; a nil record
// is a tombstone, which the platform does not write.
func (m *Model) Read(key string, framed []byte) (ports.Document, error) {
	if len(framed) < serde.FrameBytes {
		return ports.Document{}, fmt.Errorf("table record of %q has %d bytes, too few for a frame", key, len(framed))
	}
	var env platform.DocumentEnvelope
	r := avro.NewReader(framed[serde.FrameBytes:])
	env.ReadAvro(&r)
	if !r.OK() {
		return ports.Document{}, fmt.Errorf("table record of %q: %w", key, r.Close("nexus.DocumentEnvelope"))
	}
	doc := ports.Document{ID: key, Version: uint64(env.Version), Deleted: env.Deleted}
	if env.Deleted {
		return doc, nil
	}
	read, err := avro.ReadDocument(m.Document, framed[len(framed)-r.Rest():])
	if err != nil {
		return ports.Document{}, fmt.Errorf("table record of %q: %w", key, err)
	}
	doc.JSON, doc.Values, doc.Text = read.JSON, read.Values, read.Text
	return doc, nil
}
