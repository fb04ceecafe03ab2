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

// Errors of an event bus. They arrive wrapped, with what was wrong; test with errors.Is.
var (
	// ErrOverloaded says that more commands are on their way than the buffer holds. Nothing was sent: try again later.
	ErrOverloaded = errors.New("too many commands are on their way to the log")

	// ErrBusUnavailable says that the log cannot be reached or takes nothing. Nothing was sent: try again later.
	ErrBusUnavailable = errors.New("the log takes no commands at present")

	// ErrLogFull is the ErrBusUnavailable of a log that has no room for records: it takes commands again once there is
	// room.
	ErrLogFull = errors.New("the broker refuses writes, as it does when its disk is nearly full or its log as large as allowed")

	// ErrInDoubt says that it is not known whether the log has the command: it was on its way when the answer failed to
	// come. It may still be handled. Sending it again under the same command id is safe: it counts once.
	ErrInDoubt = errors.New("it is not known whether the command was logged")

	// ErrRefused says that the command can never be logged as it is: its schema is not registered, there is no
	// aggregate of this type, or it is too large.
	ErrRefused = errors.New("the command cannot be logged")

	// ErrTooLarge is the ErrRefused of a command that is larger than its topic allows.
	ErrTooLarge = errors.New("the command is too large for its topic")

	// ErrBusClosed says that the bus was closed. Nothing was sent.
	ErrBusClosed = errors.New("the bus is closed")
)

// Errors of what is read back from a log. They arrive wrapped; test with errors.Is.
var (
	// ErrUnknownType says that the topology declares no aggregate of this type.
	ErrUnknownType = errors.New("no such aggregate type")

	// ErrCatchingUp says that this process has not read the log yet, after a start or a rebuild. Ask again later.
	ErrCatchingUp = errors.New("the view is still catching up")
)
