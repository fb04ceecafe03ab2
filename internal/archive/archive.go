// Package archive takes events out of a system and puts them into a new one:
// Avro object container files, one per aggregate type, that any Avro reader
// opens and that restore a system exactly. An event keeps its bytes: payload and
// metadata stand in the file as they stand in the log, each with the schema it
// was written with, because the hash chain runs over them. Only the framing is
// left out, since schema ids belong to one registry.
//
// Nothing else is archived: tables and read models are folds of the events and
// are made anew; commands and their outcomes have done their work.
package archive

import (
	"errors"
	"fmt"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// Extension ends the name of each file.
const Extension = ".avro"

// ErrExists says that a file or folder is there already and is not overwritten.
var ErrExists = errors.New("it exists already")

// ErrDamaged says that what was read is not what was written, or not all of it.
var ErrDamaged = errors.New("the archive is damaged")

// ErrForeign says that an archive does not fit this program.
var ErrForeign = errors.New("the archive does not fit this program")

// FaultError says what is wrong with a file, and where. It wraps ErrDamaged or
// ErrForeign.
type FaultError struct {
	File   string
	Record int64  // from 1; 0: the file's header
	Field  string // of the record or header; may be empty
	Reason string
	Kind   error
}

func (e *FaultError) Error() string {
	where := e.File
	if e.Record > 0 {
		where += fmt.Sprintf(", record %d", e.Record)
	} else {
		where += ", header"
	}
	if e.Field != "" {
		where += ", " + e.Field
	}
	return fmt.Sprintf("%s: %s: %v", where, e.Reason, e.Kind)
}

// Unwrap gives the kind.
func (e *FaultError) Unwrap() error { return e.Kind }

// Header is what a file says of itself.
type Header struct {
	Context   string // such as "shop"
	Aggregate string // type, such as "order"
	// Schemas of the metadata and of the events, self-contained JSON, every version
	// that the registry had, oldest first.
	Metadata, Events []string
}

// Event is one event as it was logged, without framing.
type Event struct {
	Number         int64 // in its file, from 1
	MetadataSchema int   // index into Header.Metadata
	Metadata       []byte
	PayloadSchema  int // index into Header.Events
	Payload        []byte
}

// schemas are the parsed schemas of a header, in its order.
type schemas struct{ metadata, events []*avro.Schema }

func (h Header) parse() (s schemas, err error) {
	if s.metadata, err = parseAll(h.Metadata); err != nil {
		return s, fmt.Errorf("schema of the metadata: %w", err)
	}
	if s.events, err = parseAll(h.Events); err != nil {
		return s, fmt.Errorf("schema of an event: %w", err)
	}
	return s, nil
}

func parseAll(texts []string) ([]*avro.Schema, error) {
	if len(texts) == 0 {
		return nil, errors.New("there is none")
	}
	parsed := make([]*avro.Schema, len(texts))
	for i, text := range texts {
		s, err := avro.ParseSchema(text)
		if err != nil {
			return nil, err
		}
		if s.Kind() != avro.KindRecord {
			return nil, fmt.Errorf("%s is no record", s.Name())
		}
		parsed[i] = s
	}
	return parsed, nil
}
