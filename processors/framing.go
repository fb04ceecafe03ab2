package processors

import (
	"github.com/nexusblueprint/nexus/schemas/avro"
)

// Framer turns records into framed Avro and back by registered schemas.
// Implementations are safe for concurrent use.
type Framer interface {
	// Append fails for a record whose schema is not registered: the publication gate.
	Append(dst []byte, rec avro.Record) ([]byte, error)
	Decode(framed []byte, into avro.Record) error
	DecodeNew(framed []byte) (avro.Record, error)
}
