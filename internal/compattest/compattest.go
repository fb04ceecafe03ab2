// Package compattest holds the cases by which everything that judges Avro schemas is judged here: pairs of a reader's and
// a writer's schema, with the verdict of the Avro specification. It also asks Avro's own Java library for its verdicts.
package compattest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The verdicts on a case.
const (
	Compatible   = "compatible"
	Incompatible = "incompatible"
	Refused      = "refused" // one of the two texts is no schema for whoever judges
)

// Case is one pair of schemas.
type Case struct {
	Rule    string          `json:"rule"` // the part of the specification
	Name    string          `json:"name"` // of this case alone
	Verdict string          `json:"verdict"`
	Reader  json.RawMessage `json:"reader"`
	Writer  json.RawMessage `json:"writer"`
	// Findings are those of internal/compat, as "TYPE location".
	Findings []string `json:"findings"`
}

//go:embed cases.json
var cases []byte

// Cases returns all cases, in the order of their rules.
func Cases(t testing.TB) []Case {
	t.Helper()
	var all []Case
	dec := json.NewDecoder(bytes.NewReader(cases))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&all); err != nil {
		t.Fatalf("reading cases.json: %v", err)
	}
	return all
}

// Java returns the verdicts of Avro Java's SchemaCompatibility by the names of the cases, of which it needs the two
// schemas alone. Its program takes two seconds, besides what it has to install the first time.
func Java(t testing.TB, cases []Case) map[string]string {
	t.Helper()
	in, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(file), "java", "verdicts.sh")) //nolint:gosec // our own script
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the tests need the verdicts of Avro's Java library, and %s failed: %v\n%s", cmd.Path, err, said.Bytes())
	}
	verdicts := map[string]string{}
	for line := range strings.Lines(string(out)) {
		verdict, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		verdicts[name] = verdict
	}
	if len(verdicts) != len(cases) {
		t.Fatalf("%d verdicts of Avro's Java library on %d cases", len(verdicts), len(cases))
	}
	return verdicts
}
