package views

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// MetaHeader names the header that holds a record's metadata: framed Avro.
const MetaHeader = "nexus-meta"

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

// partitionOf is Kafka's partition of a key among n, what every producer of the platform uses.
func partitionOf(key string, n int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % n
}

// murmur2 is Kafka's key hash (org.apache.kafka.common.utils.Utils.murmur2).
func murmur2(key string) uint32 {
	const (
		seed uint32 = 0x9747b28c
		m    uint32 = 0x5bd1e995
	)
	h := seed ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h *= m
		h ^= k
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
