package serde

import "errors"

// What can be wrong with a record or its schema. Errors of this package wrap one of them; the first three say that
// the record itself is at fault, so that it can be set aside, the others that the surroundings are.
var (
	// ErrFrame says that a value does not begin with a zero byte and a schema id.
	ErrFrame = errors.New("no confluent frame")
	// ErrUnknownSchema says that the registry has no schema of the id, or the program no type for its record.
	ErrUnknownSchema = errors.New("unknown schema")
	// ErrDecode says that the bytes do not fit their schema, or that their schema does not fit the record asked for.
	ErrDecode = errors.New("value does not fit")

	// ErrNotRegistered says that a record may not be published: its schema is not registered under its name.
	ErrNotRegistered = errors.New("schema is not registered")
	// ErrRegistry says that the registry could not be asked. The record may be fine: try again.
	ErrRegistry = errors.New("schema registry cannot be asked")

	// ErrWeakLevel says that the registry would register versions that cannot read all earlier ones, or checks nothing.
	ErrWeakLevel = errors.New("the registry lets versions in that break readers of the log")
)
