package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nexusblueprint/nexus/internal/serde"
)

// Verdict on one invariant.
type Verdict string

// The verdicts.
const (
	OK       Verdict = "ok"
	Violated Verdict = "violated"
	Unknown  Verdict = "unknown" // it could not be judged, see the examples for why
)

// examplesMax bounds the examples of one invariant.
const examplesMax = 10

// Invariant is what was found about one of them.
type Invariant struct {
	ID         string   `json:"id"`
	Title      string   `json:"-"`
	Verdict    Verdict  `json:"verdict"`
	Checked    int64    `json:"checked"`    // commands, events, aggregates or documents
	Violations int64    `json:"violations"` // all of them
	Examples   []string `json:"examples"`   // the first ones
}

func (i *Invariant) violate(format string, args ...any) {
	i.Verdict = Violated
	i.Violations++
	if len(i.Examples) < examplesMax {
		i.Examples = append(i.Examples, fmt.Sprintf(format, args...))
	}
}

// unreadable says that a record could not be read: it is wrong, unless the
// registry that knows its schema gave no answer.
func (i *Invariant) unreadable(err error, format string, args ...any) {
	if errors.Is(err, serde.ErrRegistry) {
		i.unknown(format, args...)
		return
	}
	i.violate(format, args...)
}

func (i *Invariant) unknown(format string, args ...any) {
	if i.Verdict == OK {
		i.Verdict = Unknown
	}
	if len(i.Examples) < examplesMax {
		i.Examples = append(i.Examples, fmt.Sprintf(format, args...))
	}
}

// Report is the whole verdict.
type Report struct {
	OK         bool         `json:"ok"`
	Invariants []*Invariant `json:"invariants"`
}

// titles of the invariants this package judges, in their order.
var titles = []struct{ id, title string }{
	{"I1", "every command has exactly one outcome"},
	{"I2", "event ids are unique"},
	{"I3", "versions per aggregate are 1..n in log order"},
	{"I4", "table state is the fold of the log"},
	{"I5", "read models are the fold of the log"},
	{"I9", "the hash chain verifies"},
}

func newReport() *Report {
	r := &Report{}
	for _, t := range titles {
		r.Invariants = append(r.Invariants, &Invariant{ID: t.id, Title: t.title, Verdict: OK, Examples: []string{}})
	}
	return r
}

func (r *Report) of(id string) *Invariant {
	for _, i := range r.Invariants {
		if i.ID == id {
			return i
		}
	}
	panic("no invariant " + id)
}

func (r *Report) settle() {
	r.OK = true
	for _, i := range r.Invariants {
		r.OK = r.OK && i.Verdict == OK
	}
}

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	for _, i := range r.Invariants {
		fmt.Fprintf(&b, "%-3s %-9s %9d checked  %s\n", i.ID, i.Verdict, i.Checked, i.Title)
		if i.Violations > 0 {
			fmt.Fprintf(&b, "      %d violations, such as:\n", i.Violations)
		}
		for _, example := range i.Examples {
			fmt.Fprintf(&b, "      - %s\n", example)
		}
	}
	return b.String()
}
