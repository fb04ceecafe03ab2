package views

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// Framer reads framed records by registered schemas. Implementations are safe for concurrent use.
type Framer interface {
	// Decode reads framed bytes of the record's own schema, of any registered version, into the record.
	Decode(framed []byte, into avro.Record) error
	// DecodeNew reads framed bytes into a new record of the schema they name.
	DecodeNew(framed []byte) (avro.Record, error)
}

// Config is what the views of one process share. Every field is required, except where it says otherwise.
type Config struct {
	Topology *topology.Topology
	// Store keeps what the views have read; keys that begin with 'v' are theirs.
	Store  *localstore.Store
	Framer Framer
	// Client says how to reach the broker: seeds, TLS, SASL.
	Client []kgo.Opt
	// Clock tells what is old. Default: the machine's.
	Clock clock.Clock
	// Logger gets what an operator needs after an accident. Default: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Progress says how far a view has come in catching up with what was on its topics when it started.
type Progress struct {
	Done, Total int64 // in offsets
}
