package domain

import "fmt"

// Fault is something wrong with a command itself, whatever the state: it is
// found before Decide and answered with 400.
type Fault struct {
	Pointer string // RFC 6901, into the command's JSON, such as "/lines/0/quantity"
	Code    string // stable, such as "not-positive"
	Detail  string // a sentence for people; may change
}

// Faultf makes a Fault with a formatted detail.
func Faultf(pointer, code, format string, args ...any) Fault {
	return Fault{Pointer: pointer, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Rejection is a business "no" that depends on the aggregate's state.
// It is an answer, not a failure: the command is remembered with it.
type Rejection struct {
	Code   string // stable, such as "order-already-placed"
	Detail string // a sentence for people; may change
}

// Reject makes a Rejection with a formatted detail.
func Reject(code, format string, args ...any) *Rejection {
	return &Rejection{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Error lets a Rejection travel as an error in tests and tools.
func (r *Rejection) Error() string { return r.Code + ": " + r.Detail }
