package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if code, is := runRole(); is {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// testLog shows a benchmark's words with the test that ran it.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// Each benchmark runs in its short form, verification included: what no longer
// runs, or no longer verifies, fails here and not after an hour.
func TestBenchmarks_run_and_verify(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range benches {
		t.Run(b.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			r := &runner{short: true, pairs: 1, stack: "kfake", root: root, dir: t.TempDir(), log: testLog{t}}
			rep, err := b.run(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			if len(rep.claims) == 0 || len(rep.notes) == 0 || len(r.lines) == 0 {
				t.Fatalf("the report lacks figures, conditions or runs: %+v", rep)
			}
			for _, c := range rep.claims {
				if c.value == "" || strings.Contains(c.value, "NaN") || strings.Contains(c.value, "Inf") {
					t.Errorf("%s: %q", c.what, c.value)
				}
			}
			t.Log("\n" + rep.text())
		})
	}
}

func TestVerification_finds_what_is_missing_twice_or_foreign(t *testing.T) {
	now := time.Now()
	o := newOnce("event", 3)
	for _, i := range []int{0, 2} {
		if err := o.note(commandID(now, i)); err != nil {
			t.Fatal(err)
		}
	}
	if o.all() == nil {
		t.Error("a command without an event was not found")
	}
	if o.note(commandID(now, 2)) == nil {
		t.Error("a second event was not found")
	}
	if o.note(commandID(now, 3)) == nil || o.note("load:order:1") == nil {
		t.Error("an event of a foreign command was not found")
	}
	if err := o.note(commandID(now, 1)); err != nil || o.all() != nil {
		t.Errorf("complete events do not verify: %v, %v", err, o.all())
	}
}

func TestFigures_of_another_value_are_not_equal(t *testing.T) {
	for _, c := range []struct {
		a, b any
		want bool
	}{
		{"12.50", "12.5", true},
		{"12.50", 12.5, true},
		{"12.51", "12.50", false},
		{nil, "0", false},
		{map[string]any{"a": "1.0"}, map[string]any{"a": "1.00"}, true},
		{map[string]any{"a": "1.0", "b": "2"}, map[string]any{"a": "1.00"}, false},
		{[]any{"a", 1.0}, []any{"a", 2.0}, false},
	} {
		if got := equalFigures(c.a, c.b); got != c.want {
			t.Errorf("%v and %v: %v", c.a, c.b, got)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for share, want := range map[float64]float64{0: 1, 0.5: 2.5, 0.99: 4, 1: 4} {
		if got := quantile(values, share); got != want {
			t.Errorf("quantile %v: %v, want %v", share, got, want)
		}
	}
}

func TestReadme_keeps_the_other_sections(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(file, []byte("# Title\n\nwords\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, s := range [][2]string{{"load", "first\n"}, {"orders", "second\n"}, {"load", "third\n"}} {
		if err := writeSection(file, s[0], s[1]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Title\n\nwords\n\n<!-- bench:load -->\nthird\n<!-- /bench:load -->\n\n<!-- bench:orders -->\nsecond\n<!-- /bench:orders -->\n"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
