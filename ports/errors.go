package ports

import "errors"

// Errors of a search store. They arrive wrapped, with what was wrong; test with errors.Is.
var (
	// ErrNoIndex says that no index has this name: EnsureIndex was not called for it, or the name is misspelt.
	ErrNoIndex = errors.New("no such index")

	// ErrRejected says that the store refuses this document for ever, however often it is sent: it belongs to the
	// dead letters. Every other error of a document may pass: send it again.
	ErrRejected = errors.New("document rejected")

	// ErrBadIndex says that an IndexSpec breaks its rules. Nothing was changed.
	ErrBadIndex = errors.New("bad index")

	// ErrBadQuery says that the query asks for what the index does not have (an unknown field, a value of another
	// type, a limit out of range). The text names it and may be shown to the client.
	ErrBadQuery = errors.New("bad query")

	// ErrBadCursor says that the cursor was not issued for this query by this kind of store, or was altered. The client
	// starts again at the first page.
	ErrBadCursor = errors.New("bad cursor")
)

// Errors of a schema registry. They arrive wrapped, with what was wrong; test with errors.Is.
var (
	// ErrUnknownSchema says that the registry has no such subject, version, schema or id.
	ErrUnknownSchema = errors.New("the registry has no such schema")

	// ErrIncompatible says that the schema breaks readers at the level of its subject. The text gives the registry's
	// reasons, where it has any.
	ErrIncompatible = errors.New("schema is incompatible with earlier versions")

	// ErrInvalidSchema says that a text is no Avro schema, or none that the registry can work with.
	ErrInvalidSchema = errors.New("invalid schema")

	// ErrRegistryUnavailable says that the registry gave no answer, or none that counts. A registration may or may not
	// have happened: try again.
	ErrRegistryUnavailable = errors.New("schema registry gave no answer")
)
