package retailcsv

import "fmt"

// Error says what is wrong in a file, where, and what is expected there.
type Error struct {
	File   string
	Line   int    // from 1, the header; 0 where the whole file is meant
	Column string // name of the column, "" where the whole line is meant
	Value  string // as found, cut to 100 bytes
	Want   string // what is expected instead
}

func (e *Error) Error() string {
	text := e.File
	if e.Line > 0 {
		text += fmt.Sprintf(", line %d", e.Line)
	}
	if e.Column != "" {
		text += ", column " + e.Column
	}
	if e.Value != "" || e.Column != "" {
		text += fmt.Sprintf(": %q", e.Value)
	}
	return text + ": " + e.Want
}

func short[T string | []byte](value T) string {
	if len(value) > 100 {
		return string(value[:100]) + "…"
	}
	return string(value)
}
