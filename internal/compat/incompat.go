package compat

import "fmt"

// Type names the rule that is broken, in the words of Avro Java's
// SchemaCompatibility, which Confluent's answers use too.
type Type string

// The rules of schema resolution that can be broken.
const (
	NameMismatch                   Type = "NAME_MISMATCH"
	FixedSizeMismatch              Type = "FIXED_SIZE_MISMATCH"
	MissingEnumSymbols             Type = "MISSING_ENUM_SYMBOLS"
	ReaderFieldMissingDefaultValue Type = "READER_FIELD_MISSING_DEFAULT_VALUE"
	TypeMismatch                   Type = "TYPE_MISMATCH"
	MissingUnionBranch             Type = "MISSING_UNION_BRANCH"
	maxReported                         = 100 // findings per pair of schemas; more helps nobody
)

// Incompatibility is one reason why a reader cannot read what a writer wrote.
type Incompatibility struct {
	Type Type `json:"type"`
	// Location is a JSON pointer (RFC 6901) into the reader's schema; "" is its root.
	// Below a name that refers to a definition elsewhere it goes on as if the
	// definition stood there.
	Location string `json:"location"`
	// Message is one sentence that names the parts involved.
	Message string `json:"message"`
}

// String gives the finding on one line, for logs and terminals.
func (i Incompatibility) String() string {
	return fmt.Sprintf("%s at %q: %s", i.Type, i.Location, i.Message)
}
