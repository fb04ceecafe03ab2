package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/internal/foldertest"
)

// module writes files, by their paths, and reads the facts of the module.
func module(t *testing.T, files map[string]string) (*Facts, error) {
	t.Helper()
	dir := t.TempDir()
	foldertest.Write(t, dir, files)
	return Read(t.Context(), dir)
}

func TestRead_says_why_source_cannot_be_judged(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no module":            {map[string]string{"a.go": "package a\n"}, "is no Go module (name its folder: nexus verify DIR)"},
		"no package":           {map[string]string{"go.mod": "module example.com/a\n\ngo 1.26\n"}, "holds no Go package"},
		"a type error":         {map[string]string{"go.mod": "module example.com/a\n\ngo 1.26\n", "a.go": "package a\n\nvar x int = \"\"\n"}, "cannot be judged before it compiles"},
		"a syntax error":       {map[string]string{"go.mod": "module example.com/a\n\ngo 1.26\n", "a.go": "package a\n\nfunc {\n"}, "cannot be judged before it compiles"},
		"a stray character":    {map[string]string{"go.mod": "module example.com/a\n\ngo 1.26\n", "a.go": "package a\n\x02\n"}, "a.go:2:1"},
		"an import cycle":      {map[string]string{"go.mod": "module example.com/a\n\ngo 1.26\n", "b/b.go": "package b\n\nimport _ \"example.com/a/c\"\n", "c/c.go": "package c\n\nimport _ \"example.com/a/b\"\n"}, "example.com/a/b imports example.com/a/c imports example.com/a/b"},
		"an unknown import":    {map[string]string{"go.mod": "module example.com/a\n\ngo 1.26\n", "a.go": "package a\n\nimport _ \"example.com/a/gone\"\n"}, "cannot be judged before it compiles"},
		"an impossible go.mod": {map[string]string{"go.mod": "modul example.com/a\n", "a.go": "package a\n"}, "go.mod"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := module(t, c.files)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if coded := interface{ ExitCode() int }(nil); errors.As(err, &coded) {
				t.Errorf("the go command's exit code %d would become the program's", coded.ExitCode())
			}
		})
	}
}

func TestRead_leaves_tests_out_and_takes_testdata_that_is_imported(t *testing.T) {
	f, err := module(t, map[string]string{
		"go.mod":                 "module example.com/a\n\ngo 1.26\n",
		"a.go":                   "package a\n\nimport _ \"example.com/a/testdata/hidden\"\n",
		"a_test.go":              "package a\n\nimport \"net\"\n\nvar _ = net.Dial\n",
		"testdata/hidden/h.go":   "package hidden\n\nimport \"net\"\n\nvar Dial = net.Dial\n",
		"testdata/unused/u.go":   "package unused\n\nimport \"net\"\n\nvar Dial = net.Dial\n",
		"nested/go.mod":          "module example.com/nested\n\ngo 1.26\n",
		"onlytests/only_test.go": "package onlytests\n\nimport \"net\"\n\nvar _ = net.Dial\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	var calls []Call
	for _, p := range f.Packages {
		calls = append(calls, p.Calls...)
	}
	if len(calls) != 1 || calls[0] != (Call{File: "testdata/hidden/h.go", Line: 5, Call: "net.Dial", Kind: "network"}) {
		t.Errorf("calls: %+v", calls)
	}
	if len(f.Blind) != 1 || f.Blind[0].File != "nested/go.mod" {
		t.Errorf("blind: %+v", f.Blind)
	}
}

func TestRead_lists_what_an_event_store_offers_embedded_or_not(t *testing.T) {
	f, err := module(t, map[string]string{
		"go.mod":     "module example.com/a\n\ngo 1.26\n",
		"a.go":       "package a\n\nimport \"example.com/a/other\"\n\ntype EventStore interface {\n\tAppend()\n\tother.Eraser\n}\n",
		"other/o.go": "package other\n\ntype Eraser interface{ DeleteEvents() }\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, m := range f.EventStoreMethods {
		got[m.File+" "+m.Name] = m.Line
	}
	if len(got) != 2 || got["a.go Append"] != 6 || got["a.go DeleteEvents"] != 5 {
		t.Errorf("methods: %v", got)
	}
}

func TestRead_finds_the_folds_of_the_shop(t *testing.T) {
	f, err := Read(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	roles := map[string]int{}
	for _, fold := range f.Folds {
		if strings.HasPrefix(fold.File, "shop/") {
			roles[fold.Role]++
		}
		if len(fold.Impure) > 0 {
			t.Errorf("%+v", fold)
		}
	}
	for role, least := range map[string]int{"evolve": 4, "id": 5, "validate": 5, "decide": 5, "split": 6, "apply": 6} {
		if roles[role] < least {
			t.Errorf("%d functions with the role %s, want at least %d", roles[role], role, least)
		}
	}
}

func TestFollowFolds_lists_the_folds_of_one_line_in_one_order(t *testing.T) {
	for range 20 {
		r := &reader{facts: &Facts{}, wrappers: map[string]string{}, given: map[string][]foldRoot{}}
		for i, role := range []string{"apply", "decide", "evolve", "id", "split", "upcast", "validate"} {
			r.wrappers[fmt.Sprint(i)] = role
			r.given[fmt.Sprint(i)] = []foldRoot{{fold: Fold{File: "a.go", Line: 1}}}
		}
		r.followFolds()
		var roles []string
		for _, fold := range r.facts.Folds {
			roles = append(roles, fold.Role)
		}
		if len(roles) != 7 || !slices.IsSorted(roles) {
			t.Fatalf("folds: %q", roles)
		}
	}
}
