// Package eventid names events: the same command always makes the same ids, so
// a replayed decision can never add a second event beside the first.
package eventid

import (
	"crypto/sha1" //nolint:gosec // see Of
	"strconv"

	"github.com/google/uuid"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// namespace is the UUIDv5 namespace of all event ids. It is part of the log's
// format and never changes.
var namespace = uuid.MustParse("6f1d7c5e-5a0c-5d0e-9d1b-7f6f0a3b2c11")

// Of is the id of the index-th event (from 0) that a command caused: UUIDv5
// (RFC 9562) over aggregate type, aggregate id, command id and index, each
// ended by a zero byte, which none of them can contain.
func Of(aggregateType, aggregateID, commandID string, index int) avro.UUID {
	var space [192]byte
	name := append(space[:0], namespace[:]...)
	name = append(append(name, aggregateType...), 0)
	name = append(append(name, aggregateID...), 0)
	name = append(append(name, commandID...), 0)
	name = append(strconv.AppendInt(name, int64(index), 10), 0)
	sum := sha1.Sum(name) //nolint:gosec // UUIDv5 is SHA-1 by definition; nothing rests on its strength
	id := avro.UUID(sum[:len(avro.UUID{})])
	id[6] = id[6]&0x0f | 5<<4 // version
	id[8] = id[8]&0x3f | 0x80 // variant
	return id
}
