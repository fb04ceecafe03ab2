package processors

import (
	"github.com/nexusblueprint/nexus/schemas/avro"
)

// MetaHeader names the one header of commands, events and changes: framed Avro
// metadata.
const MetaHeader = "nexus-meta"

// frameBytes is the length of Confluent's framing: a zero byte and the schema id.
const frameBytes = 5

// Framer turns records into framed Avro and back by registered schemas.
// Implementations are safe for concurrent use.
type Framer interface {
	// Append fails for a record whose schema is not registered: the publication gate.
	Append(dst []byte, rec avro.Record) ([]byte, error)
	Decode(framed []byte, into avro.Record) error
	DecodeNew(framed []byte) (avro.Record, error)
}
