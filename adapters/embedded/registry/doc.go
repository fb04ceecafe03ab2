// Package registry is the schema registry that the laptop carries: the part of
// Confluent's REST API that Kafka clients use, served over HTTP on loopback,
// for Avro. It gives out the ids that frame every value on a topic, and
// refuses a version that would break readers. It does not frame, encode or
// decode values, and production does not use it: there the same clients talk
// to a real registry.
//
// # How it works
//
// The Kafka topic _schemas is the only store. Its records are those of
// Confluent's registry (keys SCHEMA, CONFIG, MODE, DELETE_SUBJECT, NOOP), so
// that either can read the other's topic. [Open] replays the topic into
// memory, then serves. A change is planned against memory, written, and only
// after the broker has acknowledged it applied to memory, by the code that
// replays: what a restart will see is what was answered.
//
// One change at a time holds the writer's slot; readers are never blocked by
// the broker. Locks are taken in the order slot, Registry.mu, parser.mu. If a
// write fails, memory stays as it was and the caller gets 500 with code 50001
// or 50002; as the record may have arrived all the same, the next change first
// reads the topic to its end.
//
// A schema is identified by what its text says: white space, order of keys and
// spelling of names do not make a new one, but documentation, defaults,
// aliases and other attributes do, because readers and policies use them. One
// id has one text in all subjects. An id is never given out twice: before a
// schema is deleted for good, the highest id is kept in the value of the NOOP
// record (Confluent's registry ignores it), since compaction may remove the
// record that held it.
//
// # Limits
//
// One process writes the topic. Avro only; references are resolved, schema
// contexts, metadata, rule sets, aliases of subjects and compatibility groups
// are refused with 422 rather than dropped. Bodies are at most 1 MiB, schemas
// nest at most [compat.MaxDepth] brackets deep, 64 requests are served at a
// time. There is no authentication: it listens on loopback, answers no other
// Host, serves no other Origin and sends no CORS headers. The global level is
// BACKWARD_TRANSITIVE (Confluent's is BACKWARD), because the log is read for
// ever.
package registry
