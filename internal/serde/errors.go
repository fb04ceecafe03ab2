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
	// ErrWrongID says that the registry gives a schema the id of another one: nothing may be published with it.
	ErrWrongID = errors.New("the registry contradicts itself about an id")

	// ErrNoLevel says that the registry has no compatibility level: it would let any version in.
	ErrNoLevel = errors.New("the registry checks no compatibility (level NONE)")

	// ErrWeakLevel says that a compatibility level lets versions in that cannot read all earlier ones.
	ErrWeakLevel = errors.New("the compatibility level is too weak")
)
