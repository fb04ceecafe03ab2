package program

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/nexusblueprint/nexus/shop"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// What `nexus topology` prints is read by people and programs: the diff of the
// golden files is the review.
func TestDescribe_matches_its_golden_files(t *testing.T) {
	for _, format := range []string{"text", "mermaid", "json"} {
		got, err := describe(shop.Topology().Describe(), format)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", "topology."+format)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from %s; if the change is meant, rewrite it with go test ./internal/program -update", format, file)
		}
	}
	if _, err := describe(shop.Topology().Describe(), "dot"); err == nil {
		t.Error("an unknown format is accepted")
	}
}
