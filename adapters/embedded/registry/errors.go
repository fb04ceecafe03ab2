package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/nexusblueprint/nexus/internal/compat"
)

// apiError is an answer that is not a success: the HTTP status and Confluent's
// error code. Clients rely on the code; the text may change.
type apiError struct {
	status, code int
	message      string
}

func (e *apiError) Error() string { return e.message }

// body is the JSON of Confluent's errors.
func (e *apiError) body() any {
	return struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}{e.code, e.message}
}

func problem(code int, format string, args ...any) *apiError {
	status := code
	if code >= 10000 {
		status = code / 100
	}
	return &apiError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// Confluent's codes, in the order of its own list.
const (
	codeSubjectNotFound       = 40401
	codeVersionNotFound       = 40402
	codeSchemaNotFound        = 40403
	codeSubjectSoftDeleted    = 40404
	codeSubjectNotSoftDeleted = 40405
	codeVersionSoftDeleted    = 40406
	codeVersionNotSoftDeleted = 40407
	codeNoSubjectConfig       = 40408
	codeNoSubjectMode         = 40409
	codeIncompatible          = 409
	codeInvalidSchema         = 42201
	codeInvalidVersion        = 42202
	codeInvalidLevel          = 42203
	codeInvalidMode           = 42204
	codeNotPermitted          = 42205
	codeReferenceExists       = 42206
	codeInvalidSubject        = 42208
	codeSchemaTooLarge        = 42209
	codeStore                 = 50001
	codeTimeout               = 50002
)

func subjectNotFound(subject string) *apiError {
	return problem(codeSubjectNotFound, "Subject '%s' not found.", subject)
}

func versionNotFound(version int) *apiError {
	return problem(codeVersionNotFound, "Version %d not found.", version)
}

func schemaNotFound(id int) *apiError {
	return problem(codeSchemaNotFound, "Schema %d not found", id)
}

func invalidSchema(err error) *apiError {
	return problem(codeInvalidSchema, "%s", err)
}

// errRecordTooLarge means that a record would not fit into the broker's largest batch.
var errRecordTooLarge = errors.New("record larger than the broker accepts")

// toAPI maps any error to an answer. What is not ours to explain to a client
// becomes 50001 or 50002 without its internals; the caller logs those.
func toAPI(err error) *apiError {
	var answer *apiError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.Is(err, compat.ErrInvalid):
		return invalidSchema(err)
	case errors.As(err, &tooLarge):
		return problem(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, errRecordTooLarge):
		return problem(codeSchemaTooLarge, "the schema does not fit into a record of the broker")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem(codeTimeout, "Operation timed out: the broker did not answer in time; whether the write arrived will be known at the next change")
	}
	return problem(codeStore, "Error in the backend datastore: the broker did not confirm the write; nothing has changed here")
}
