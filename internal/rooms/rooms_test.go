package rooms

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

func TestHouse_every_import_goes_through_a_door(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", Module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []Package
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, Package{Path: p.ImportPath, Imports: p.Imports})
	}
	if len(packages) < 10 {
		t.Fatalf("go list found %d packages only", len(packages))
	}
	for _, fault := range Judge(packages) {
		t.Error(fault)
	}
}

func TestJudge_finds_what_was_broken_on_purpose(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"domain", "strings", true},
		{"domain", "github.com/twmb/franz-go/pkg/kgo", false},
		{"domain", Module + "/schemas/avro", false},
		{"domain/domaintest", Module + "/domain", true},
		{"shop", Module + "/domain", true},
		{"shop", Module + "/schemas/avro/retail", true},
		{"shop", Module + "/gateway", false},
		{"shop", Module + "/internal/clock", false},
		{"shop", "github.com/twmb/franz-go/pkg/kgo", false},
		{"sink", Module + "/ports", true},
		{"sink", Module + "/adapters/embedded/search", false},
		{"sink", Module + "/processors", false},
		{"gateway", Module + "/views", true},
		{"gateway", Module + "/processors", false},
		{"processors/engine", Module + "/gateway", false},
		{"internal/check", Module + "/processors", false},
		{"internal/check", Module + "/views", false},
		{"cmd/nexus", Module + "/shop", true},
		{"internal/localstore", "github.com/cockroachdb/pebble/v2/bloom", true},
		{"processors/engine", "github.com/cockroachdb/pebble/v2", false},
		{"internal/system", "github.com/cockroachdb/pebble/v2", false},
		{"utils", "strings", false},
	} {
		got := len(Judge([]Package{{Path: Module + "/" + c.from, Imports: []string{c.to}}})) == 0
		if got != c.ok {
			t.Errorf("%s → %s passes: %v, want %v", c.from, c.to, got, c.ok)
		}
	}
}
