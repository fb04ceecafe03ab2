package avro

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Fault is one reason why a JSON body is not a value of a schema.
type Fault struct {
	// Pointer is the RFC 6901 JSON pointer of the value at fault, "" for the whole body; cut at 256 bytes.
	Pointer string `json:"pointer"`
	// Code is one of the Fault constants.
	Code string `json:"code"`
	// Detail is a sentence for people; it holds no value of the body.
	Detail string `json:"detail"`
}

// The codes of faults. They are stable: clients may switch on them.
const (
	FaultMalformed    = "malformed-json"    // no JSON; nothing behind it was looked at
	FaultUTF8         = "invalid-utf8"      // a string that is not Unicode; nothing behind it was looked at
	FaultTrailing     = "trailing-data"     // more than one value
	FaultTooDeep      = "too-deep"          // more than 32 levels; nothing behind it was looked at
	FaultType         = "wrong-type"        // another JSON type than the schema's, or a number that must be whole
	FaultMissing      = "missing-field"     // a field without default was left out
	FaultUnknown      = "unknown-field"     // a field the schema does not have
	FaultDuplicate    = "duplicate-key"     // a field or map key that stands twice
	FaultRange        = "out-of-range"      // a number beyond its type
	FaultDecimals     = "too-many-decimals" // more than three significant fraction digits
	FaultNoDecimal    = "not-a-decimal"     // money that is no decimal
	FaultNoTimestamp  = "not-a-timestamp"   // not RFC 3339, or finer than a millisecond
	FaultNoUUID       = "not-a-uuid"        // not the canonical text of a UUID
	FaultNoBase64     = "not-base64"        // bytes that are not standard padded base64
	FaultSymbol       = "unknown-symbol"    // not a symbol of the enum
	FaultTooLong      = "too-long"          // longer than maxLength
	FaultLength       = "wrong-length"      // a fixed with another number of bytes
	FaultNotSupported = "not-supported"     // a schema that cannot be written as JSON: a union of several types
)

const (
	faultsMax       = 20
	jsonDepthMax    = 32
	pointerBytesMax = 256
)

// fault records a fault at the given place and ends the reading when there are enough of them.
func (j *jsonReader) fault(pointer, code, detail string) {
	if len(pointer) > pointerBytesMax {
		pointer = strings.ToValidUTF8(pointer[:pointerBytesMax], "") + "…"
	}
	if !j.done {
		j.faults = append(j.faults, Fault{Pointer: pointer, Code: code, Detail: detail})
	}
	j.done = j.done || len(j.faults) == faultsMax
}

// here is the pointer of the value read last.
func (j *jsonReader) here() string { return string(j.dec.StackPointer()) }

// fatal records a fault after which nothing can be read.
func (j *jsonReader) fatal(pointer, code, detail string) {
	j.fault(pointer, code, detail)
	j.done = true
}

// broken records an error of the JSON decoder.
func (j *jsonReader) broken(err error) {
	var syntax *jsontext.SyntacticError
	switch {
	case err == io.EOF: //nolint:errorlint // the decoder returns it unwrapped; a wrapped one is another error
		j.fatal("", FaultMalformed, "the body is empty")
	case !errors.As(err, &syntax):
		j.fatal("", FaultMalformed, err.Error())
	default:
		code, text := FaultMalformed, syntax.Err.Error()
		if strings.Contains(text, "UTF-8") || strings.Contains(text, "surrogate") {
			code = FaultUTF8
		}
		j.fatal(string(syntax.JSONPointer), code, fmt.Sprintf("at byte %d: %s", syntax.ByteOffset, text))
	}
}

// child returns the pointer of a member of the value at parent.
func child(parent, name string) string {
	return parent + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
