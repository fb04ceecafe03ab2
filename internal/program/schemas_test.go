package program

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/shop"
)

// nexus runs a command line in this process.
func nexus(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	code := Run(shop.Topology(), Options{}, args, strings.NewReader(""), &out, &out)
	return out.String(), code
}

const releases = "../../schemas/avro/history"

func TestSchemas_check_passes_against_every_release(t *testing.T) {
	if out, code := nexus(t, "schemas", "check", "--history", releases); code != 0 || !strings.Contains(out, " 0 breaks") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestSchemas_check_and_diff_find_a_breaking_change(t *testing.T) {
	dir := t.TempDir()
	release := filepath.Join(dir, "9.9.9")
	if err := os.Mkdir(release, 0o755); err != nil {
		t.Fatal(err)
	}
	released, err := os.ReadFile(filepath.Join(releases, "0.1.0", "shop.order.OrderPlaced.avsc"))
	if err != nil {
		t.Fatal(err)
	}
	older := strings.Replace(string(released), `"name": "orderId"`, `"name": "number"`, 1)
	if older == string(released) {
		t.Fatal("the release has no field orderId")
	}
	if err := os.WriteFile(filepath.Join(release, "shop.order.OrderPlaced.avsc"), []byte(older), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := nexus(t, "schemas", "check", "--history", dir)
	if code != 1 || !strings.Contains(out, "shop.order.OrderPlaced breaks with release 9.9.9") {
		t.Errorf("check: exit code %d\n%s", code, out)
	}
	out, code = nexus(t, "schemas", "diff", "--history", dir)
	if code != 0 || !strings.Contains(out, "breaks   shop.order.OrderPlaced") || !strings.Contains(out, "new      shop.order.PlaceOrder") {
		t.Errorf("diff: exit code %d\n%s", code, out)
	}
}

func TestSchemas_freeze_never_touches_a_release(t *testing.T) {
	dir := t.TempDir()
	if out, code := nexus(t, "schemas", "freeze", "1.0.0", "--history", dir); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	if out, code := nexus(t, "schemas", "freeze", "1.0.0", "--history", dir); code != 1 || !strings.Contains(out, "never changed") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if out, code := nexus(t, "schemas", "check", "--history", dir); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
