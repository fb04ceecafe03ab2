package ports

import "context"

// SchemaBytesMax is a size of Schema.Text that every registry takes.
const SchemaBytesMax = 128 << 10

// Schema is an Avro schema under the subject that it is a version of. In Nexus a subject is the full name of the record.
type Schema struct {
	Subject string // not empty
	Text    string // the schema in JSON; it defines every name it uses
}

// SchemaVersion is a schema as the registry has it.
type SchemaVersion struct {
	Number int    // within its subject, rising from 1; gaps are where a version was deleted
	ID     uint32 // not 0; what Confluent's framing puts before a value
	Text   string // what was registered, or another spelling of the same schema
}

// Level is a compatibility level by Confluent's name: what a registry demands of the next version of a subject.
type Level string

// The levels that Nexus tells apart; every other is too weak for a log that is read for ever.
const (
	LevelNone               Level = "NONE"                // nothing is checked; also where no level was ever set
	LevelBackwardTransitive Level = "BACKWARD_TRANSITIVE" // reads what every earlier version wrote
	LevelFullTransitive     Level = "FULL_TRANSITIVE"     // and every earlier version reads what it writes
)

// SchemaRegistry gives schemas the ids that frame every value, and lets no version in that breaks readers. An id belongs
// to one registry: the same schema has another in the next.
//
// Two texts are the same schema if they differ only in white space and in whether a name is written in full or beside its
// namespace; they are different ones if they differ in a name, type, default or attribute. Whether documentation or an
// alias alone makes a schema another is the registry's own matter, and no writer's concern.
//
// It is safe for concurrent use. Every method asks the registry, in bounded time: nothing is remembered. Besides those
// named, every method has the errors ErrRegistryUnavailable, ctx.Err() and, without a sentinel, whatever else the
// registry refuses (credentials that it does not take, a subject that is read-only), in its own words.
type SchemaRegistry interface {
	// Register makes the schema a version of its subject and returns its id. If the subject has it already, nothing
	// changes, so registering again is harmless; the same schema has the same id in every subject. With an error
	// other than ErrRegistryUnavailable nothing was registered.
	//
	// Some registries do not keep concurrent registrations of one subject apart. Those of one schema may then make two
	// versions with two ids, each of which means that schema for ever, and those of two schemas are not compared with
	// each other. So whoever deploys registers, once, and not every instance at its start.
	// Errors: ErrIncompatible, ErrInvalidSchema.
	Register(ctx context.Context, s Schema) (id uint32, err error)

	// Lookup returns the id of a schema that is a version of its subject. It never registers.
	// Errors: ErrUnknownSchema.
	Lookup(ctx context.Context, s Schema) (id uint32, err error)

	// Text returns the schema of an id, in some spelling, and those it refers to, directly or not, if it is none of Nexus's making.
	// Errors: ErrUnknownSchema; ErrInvalidSchema if it is not an Avro schema, or its references lead nowhere.
	Text(ctx context.Context, id uint32) (text string, refersTo []string, err error)

	// Versions returns the versions of a subject, oldest first, and at least one.
	// Errors: ErrUnknownSchema.
	Versions(ctx context.Context, subject string) ([]SchemaVersion, error)

	// Check says whether Register would refuse the schema for what it does to readers, without registering it. A
	// subject without versions takes any.
	// Errors: ErrIncompatible, ErrInvalidSchema.
	Check(ctx context.Context, s Schema) error

	// Level returns the level that holds for a subject: its own, or that of the registry. The subject need not exist.
	Level(ctx context.Context, subject string) (Level, error)
}
