package compat

import (
	"fmt"
	"strings"
)

// Level says which versions of a subject must be able to read which.
type Level string

// The compatibility levels of Confluent's registry. The zero Level is none of
// them; use [ParseLevel] for input.
const (
	None               Level = "NONE"
	Backward           Level = "BACKWARD"
	BackwardTransitive Level = "BACKWARD_TRANSITIVE"
	Forward            Level = "FORWARD"
	ForwardTransitive  Level = "FORWARD_TRANSITIVE"
	Full               Level = "FULL"
	FullTransitive     Level = "FULL_TRANSITIVE"
)

// Levels holds every level, weakest first.
var Levels = []Level{None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive}

// ParseLevel reads a level as people and clients write it, in any case.
func ParseLevel(s string) (Level, error) {
	for _, l := range Levels {
		if strings.EqualFold(s, string(l)) {
			return l, nil
		}
	}
	return "", fmt.Errorf("unknown compatibility level %.40q: use one of %v", s, Levels)
}

// Transitive reports whether the level looks at every earlier version, not
// only at the last one.
func (l Level) Transitive() bool { return strings.HasSuffix(string(l), "_TRANSITIVE") }

// Backward reports whether a new version must read data of earlier ones.
func (l Level) Backward() bool {
	return strings.HasPrefix(string(l), "BACKWARD") || strings.HasPrefix(string(l), "FULL")
}

// Forward reports whether earlier versions must read data of a new one.
func (l Level) Forward() bool {
	return strings.HasPrefix(string(l), "FORWARD") || strings.HasPrefix(string(l), "FULL")
}

// Violation is an incompatibility between a new version and an earlier one.
type Violation struct {
	// Earlier is the index into the earlier versions given to [Evolve].
	Earlier int
	// NewReads is true if the new version could not read the earlier one's
	// data (backward), false if the earlier one could not read the new one's.
	NewReads bool
	Incompatibility
}

// Evolve checks a new version against the earlier ones, oldest first, as the
// level demands. No violation means that the new version may be stored.
func Evolve(level Level, next *Schema, earlier []*Schema) []Violation {
	first := 0
	if !level.Transitive() {
		first = max(0, len(earlier)-1)
	}
	var out []Violation
	for i := len(earlier) - 1; i >= first; i-- {
		if level.Backward() {
			out = appendViolations(out, i, true, next, earlier[i])
		}
		if level.Forward() {
			out = appendViolations(out, i, false, earlier[i], next)
		}
		if len(out) >= maxReported {
			return out[:maxReported]
		}
	}
	return out
}

func appendViolations(out []Violation, earlier int, newReads bool, reader, writer *Schema) []Violation {
	for _, found := range CheckSchemas(reader, writer) {
		out = append(out, Violation{Earlier: earlier, NewReads: newReads, Incompatibility: found})
	}
	return out
}
