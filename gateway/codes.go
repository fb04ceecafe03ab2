package gateway

import "net/http"

// code is one kind of problem. Its name is a contract; title and detail may
// change.
type code int

// The codes, in the order of their statuses.
const (
	codeInvalidCommand code = iota
	codeInvalidBatchLine
	codeInvalidID
	codeInvalidIdempotencyKey
	codeInvalidPrecondition
	codeInvalidParameter
	codeForbiddenHost
	codeForbiddenOrigin
	codeNotFound
	codeUnknownCommand
	codeUnknownCommandID
	codeUnknownReadModel
	codeUnknownDocument
	codeUnknownAggregateType
	codeUnknownAggregate
	codeMethodNotAllowed
	codeRequestTimeout
	codeCommandIDReused
	codeStaleCommand
	codeVersionConflict
	codeBodyTooLarge
	codeBatchTooLarge
	codeUnsupportedMediaType
	codeRejected
	codeStateTooLarge
	codeOverloaded
	codeInternal
	codeDeadLetter
	codeUnavailable
	codeOutcomeUnknown
	codeBehind

	codeCount
)

// problemKind is what the registry knows of a code.
type problemKind struct {
	name   string
	status int
	title  string
	// retry says after how many seconds the same request may succeed; 0 means
	// that it never will.
	retry int
}

// registry maps every code to its HTTP answer: the only place that does.
var registry = [codeCount]problemKind{
	codeInvalidCommand:        {"invalid-command", http.StatusBadRequest, "The command is invalid", 0},
	codeInvalidBatchLine:      {"invalid-batch-line", http.StatusBadRequest, "The line is not a command", 0},
	codeInvalidID:             {"invalid-id", http.StatusBadRequest, "The id in the path is invalid", 0},
	codeInvalidIdempotencyKey: {"invalid-idempotency-key", http.StatusBadRequest, "The command id is invalid", 0},
	codeInvalidPrecondition:   {"invalid-precondition", http.StatusBadRequest, "The expected version is invalid", 0},
	codeInvalidParameter:      {"invalid-parameter", http.StatusBadRequest, "A query parameter is invalid", 0},
	codeForbiddenHost:         {"forbidden-host", http.StatusForbidden, "The Host header names another server", 0},
	codeForbiddenOrigin:       {"forbidden-origin", http.StatusForbidden, "The request comes from a page of another origin", 0},
	codeNotFound:              {"not-found", http.StatusNotFound, "There is nothing at this path", 0},
	codeUnknownCommand:        {"unknown-command", http.StatusNotFound, "No aggregate takes this command", 0},
	codeUnknownCommandID:      {"unknown-command-id", http.StatusNotFound, "No outcome is known under this command id", 0},
	codeUnknownReadModel:      {"unknown-read-model", http.StatusNotFound, "There is no read model of this name", 0},
	codeUnknownDocument:       {"unknown-document", http.StatusNotFound, "The read model has no such document", 0},
	codeUnknownAggregateType:  {"unknown-aggregate-type", http.StatusNotFound, "There is no aggregate of this type", 0},
	codeUnknownAggregate:      {"unknown-aggregate", http.StatusNotFound, "The aggregate does not exist", 0},
	codeMethodNotAllowed:      {"method-not-allowed", http.StatusMethodNotAllowed, "The path does not know this method", 0},
	codeRequestTimeout:        {"request-timeout", http.StatusRequestTimeout, "The body did not arrive in time", 0},
	codeCommandIDReused:       {"command-id-reused", http.StatusConflict, "The command id was used for another command", 0},
	codeStaleCommand:          {"stale-command", http.StatusConflict, "The command id is too old", 0},
	codeVersionConflict:       {"version-conflict", http.StatusPreconditionFailed, "The aggregate stands at another version", 0},
	codeBodyTooLarge:          {"body-too-large", http.StatusRequestEntityTooLarge, "The body is too large", 0},
	codeBatchTooLarge:         {"batch-too-large", http.StatusRequestEntityTooLarge, "The batch is too large", 0},
	codeUnsupportedMediaType:  {"unsupported-media-type", http.StatusUnsupportedMediaType, "The body has the wrong media type", 0},
	codeRejected:              {"rejected", http.StatusUnprocessableEntity, "The command was rejected", 0},
	codeStateTooLarge:         {"state-too-large", http.StatusUnprocessableEntity, "The aggregate would grow too large", 0},
	codeOverloaded:            {"overloaded", http.StatusTooManyRequests, "Too many requests are under way", 1},
	codeInternal:              {"internal", http.StatusInternalServerError, "The server failed", 0},
	codeDeadLetter:            {"dead-letter", http.StatusInternalServerError, "The command could not be handled", 0},
	codeUnavailable:           {"unavailable", http.StatusServiceUnavailable, "The log or a store cannot be reached", 2},
	codeOutcomeUnknown:        {"outcome-unknown", http.StatusServiceUnavailable, "The command may or may not have been logged", 2},
	codeBehind:                {"behind", http.StatusServiceUnavailable, "What was asked for is not visible yet", 1},
}

func (c code) kind() *problemKind { return &registry[c] }

// outcomeCodes are the codes of outcomes that the platform gives instead of the
// domain.
var outcomeCodes = map[string]code{
	"version-conflict":  codeVersionConflict,
	"command-id-reused": codeCommandIDReused,
	"stale-command":     codeStaleCommand,
	"state-too-large":   codeStateTooLarge,
	"invalid-command":   codeInvalidCommand,
}
