package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The records of _schemas, as Confluent's registry writes them: keys and
// values are JSON, and since the broker compacts by the bytes of the key, the
// order of a key's attributes is part of the format.
const (
	keySchema        = "SCHEMA"
	keyConfig        = "CONFIG"
	keyMode          = "MODE"
	keyDeleteSubject = "DELETE_SUBJECT"
	keyNoop          = "NOOP"
)

// change is one record to write. A nil value is a tombstone.
type change struct{ key, value []byte }

// recordKey reads every kind of key; fields a kind does not have stay zero.
type recordKey struct {
	Type    string `json:"keytype"`
	Subject string `json:"subject"` // "" for the global CONFIG and MODE, whose subject is null
	Version int    `json:"version"`
}

type schemaKey struct {
	Type    string `json:"keytype"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
	Magic   int    `json:"magic"`
}

type subjectKey struct {
	Type    string  `json:"keytype"`
	Subject *string `json:"subject"`
	Magic   int     `json:"magic"`
}

type noopKey struct {
	Type  string `json:"keytype"`
	Magic int    `json:"magic"`
}

// Reference is a use of another subject's version inside a schema.
type Reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

type schemaValue struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	SchemaType string      `json:"schemaType,omitempty"` // absent: Avro
	References []Reference `json:"references,omitempty"`
	Schema     string      `json:"schema"`
	Deleted    bool        `json:"deleted"`
}

type configValue struct {
	Subject *string `json:"subject,omitempty"`
	Level   string  `json:"compatibilityLevel"`
}

type modeValue struct {
	Subject *string `json:"subject,omitempty"`
	Mode    string  `json:"mode"`
}

type deleteSubjectValue struct {
	Subject string `json:"subject"`
	Version int    `json:"version"` // all versions up to this one are deleted
}

// noopValue is ours: Confluent's registry writes null and ignores what it finds.
type noopValue struct {
	MaxID int `json:"maxId"`
}

func putSchema(v schemaValue) change {
	return change{encode(schemaKey{keySchema, v.Subject, v.Version, 1}), encode(v)}
}

func removeSchema(subject string, version int) change {
	return change{key: encode(schemaKey{keySchema, subject, version, 1})}
}

func putConfig(subject, level string) change {
	return change{encode(subjectKey{keyConfig, nullable(subject), 0}), encode(configValue{nullable(subject), level})}
}

func removeConfig(subject string) change {
	return change{key: encode(subjectKey{keyConfig, nullable(subject), 0})}
}

func putMode(subject, mode string) change {
	return change{encode(subjectKey{keyMode, nullable(subject), 0}), encode(modeValue{nullable(subject), mode})}
}

func removeMode(subject string) change {
	return change{key: encode(subjectKey{keyMode, nullable(subject), 0})}
}

func putDeleteSubject(subject string, upTo int) change {
	return change{encode(subjectKey{keyDeleteSubject, &subject, 0}), encode(deleteSubjectValue{subject, upTo})}
}

func putNoop(maxID int) change {
	return change{encode(noopKey{keyNoop, 0}), encode(noopValue{maxID})}
}

// nullable turns the global scope, "" here, into the null of the format.
func nullable(subject string) *string {
	if subject == "" {
		return nil
	}
	return &subject
}

// encode writes JSON as Jackson does: compact, without escaping HTML.
func encode(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("registry: %T does not encode: %v", v, err))
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
