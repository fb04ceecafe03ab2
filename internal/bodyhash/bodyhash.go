// Package bodyhash tells a repeated command from another one that came under
// the same id. Gateways and processors compare its sums, and the log keeps
// them: the rule never changes.
package bodyhash

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// Sum is the hash of a command: the first 16 bytes of SHA-256 over the full
// name of its schema, a zero byte, the expectation (one byte), the expected
// version (eight bytes, big-endian) and the command's Avro bytes without their
// framing.
//
// The bytes must be canonical, which is what AppendAvro makes.
func Sum(commandType string, expectation platform.Expectation, expectedVersion int64, avro []byte) platform.BodyHash {
	var head [9]byte
	head[0] = byte(expectation)
	binary.BigEndian.PutUint64(head[1:], uint64(expectedVersion))
	h := sha256.New()
	h.Write([]byte(commandType))
	h.Write([]byte{0}) // a schema's name cannot contain it, so no two inputs run together
	h.Write(head[:])
	h.Write(avro)
	var full [sha256.Size]byte
	h.Sum(full[:0])
	return platform.BodyHash(full[:len(platform.BodyHash{})])
}
