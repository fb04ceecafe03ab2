package system

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table of rights in docs/how-to/operate.md")

// That the rights are enough, and none too many, a test of cmd/nexus shows.
func TestRights_are_those_of_the_page(t *testing.T) {
	const begin, end = "<!-- Made from internal/system/rights.go: go test ./internal/system -run Rights -update -->\n\n", "\n<!-- end of the rights -->"
	path := filepath.Join("..", "..", "docs", "how-to", "operate.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(page), begin)
	shown, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		t.Fatalf("%s has no table of rights between %q and %q", path, begin, end)
	}
	if *update {
		shown = rightsTable()
		if err := os.WriteFile(path, []byte(before+begin+shown+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if shown != rightsTable() {
		t.Errorf("%s is stale: go test ./internal/system -run Rights -update", path)
	}
}
