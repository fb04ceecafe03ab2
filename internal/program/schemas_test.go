package program

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/policies"
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

// Every release is sealed, and whatever is done to a released file is found by
// what CI runs.
func TestSchemas_a_release_that_was_edited_is_found(t *testing.T) {
	folders, err := filepath.Glob(filepath.Join(releases, "*", "*.avsc"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("%d released schemas, %v", len(folders), err)
	}
	for _, file := range folders {
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), policies.SumsFile)); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		edit func(file string) error
		want string
	}{
		"a doc is changed": {func(file string) error {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			return os.WriteFile(file, bytes.Replace(text, []byte(`"doc": "`), []byte(`"doc": "Not `), 1), 0o644)
		}, "shop.order.OrderPlaced is not what was released"},
		"a file is gone": {os.Remove, "shop.order.OrderPlaced was released and its file is gone"},
		"a file is added": {func(file string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(file), "shop.order.OrderLost.avsc"), []byte(`{"type":"record","name":"shop.order.OrderLost","fields":[]}`), 0o644)
		}, "shop.order.OrderLost was added to the release afterwards"},
		"the sums are no sums": {func(file string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(file), policies.SumsFile), []byte("none\n"), 0o644)
		}, "line 1 of SHA256SUMS is not a sum"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			history := filepath.Join(dir, "schemas", "avro", "history")
			if err := os.CopyFS(history, os.DirFS(releases)); err != nil {
				t.Fatal(err)
			}
			if err := c.edit(filepath.Join(history, "0.1.0", "shop.order.OrderPlaced.avsc")); err != nil {
				t.Fatal(err)
			}
			if out, code := nexus(t, "schemas", "check", "--history", history); code == 0 || !strings.Contains(out, c.want) {
				t.Errorf("schemas check: exit code %d, want %q\n%s", code, c.want, out)
			}
			top := shop.Topology()
			facts, err := policies.ReadHistory(top.Describe(), os.DirFS(history))
			if err == nil && (len(facts.Edited) != 1 || !strings.Contains(c.want, facts.Edited[0].Reason)) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("nexus verify sees %+v, %v", facts, err)
			}
		})
	}
}
