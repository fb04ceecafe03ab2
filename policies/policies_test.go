package policies

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

// The rules' own tests, in Rego.
func TestRules(t *testing.T) {
	modules := map[string]*ast.Module{}
	names, err := fs.Glob(bundle, "rules/*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(bundle, name)
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = ast.MustParseModule(string(text))
	}
	results, err := tester.NewRunner().SetModules(modules).RunTests(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for r := range results {
		ran++
		if !r.Pass() {
			t.Errorf("%s", r)
		}
	}
	if ran < 15 {
		t.Errorf("%d tests ran only", ran)
	}
}

func shopFacts() Facts {
	d := shop.Topology().Describe()
	return Facts{Topology: &d}
}

func judge(t *testing.T, f Facts) Verdict {
	t.Helper()
	v, err := Judge(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestJudge_the_shop_is_clean_and_says_what_was_not_judged(t *testing.T) {
	v := judge(t, shopFacts())
	if !v.OK() {
		t.Errorf("violations: %v", v.Violations)
	}
	if got := strings.Join(v.NotJudged, " "); got != "blind-spots declared-topics deploy-calls direct-calls event-access gateway-routes network-policies personal-fields pure-folds readable-deploy-files registry-compatibility schema-evolution" {
		t.Errorf("not judged: %s", got)
	}
	if got := strings.Join(v.Judged, " "); got != "append-only dead-letters kept-partitions owners rebuildable-projections registered-schemas temporal-limits" {
		t.Errorf("judged: %s", got)
	}
}

func TestReadHistory_judges_today_against_every_release(t *testing.T) {
	d := topology.Description{Schemas: []topology.SchemaDescription{
		{Subject: "a.Kept", Schema: `{"type":"record","name":"a.Kept","fields":[{"name":"x","type":"string"},{"name":"y","type":"int","default":0}]}`},
		{Subject: "a.Broken", Schema: `{"type":"record","name":"a.Broken","fields":[{"name":"x","type":"int"}]}`},
	}}
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	h, err := ReadHistory(d, fstest.MapFS{
		"README.md":             file("not a release"),
		"0.1.0/a.Kept.avsc":     file(`{"type":"record","name":"a.Kept","fields":[{"name":"x","type":"string"}]}`),
		"0.1.0/a.Broken.avsc":   file(`{"type":"record","name":"a.Broken","fields":[{"name":"x","type":"string"}]}`),
		"0.2.0/a.Gone.avsc":     file(`{"type":"record","name":"a.Gone","fields":[]}`),
		"0.2.0/nothing.to.read": file("x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	v := judge(t, Facts{History: h})
	var places []string
	for _, violation := range v.Violations {
		places = append(places, violation.Place)
	}
	if got := strings.Join(places, ", "); got != "schema a.Broken, schema a.Broken, schema a.Gone" {
		t.Errorf("violations at %s: %v", got, v.Violations)
	}
}

// A registry may hold under a name of ours what somebody else put there.
func TestBreaks_of_a_version_that_is_no_schema(t *testing.T) {
	const today = `{"type":"record","name":"a.A","fields":[]}`
	for _, older := range []string{`syntax = "proto3"; message A {}`, `{"type":"object"}`, `{"type":"record","name":"a.A","fields":[{"name":"x","type":"b.Elsewhere"}]}`} {
		if reasons, err := Breaks(today, older); err != nil || len(reasons) != 1 || !strings.HasPrefix(reasons[0], "it is no schema that this program reads: ") {
			t.Errorf("%s: %q, error %v", older, reasons, err)
		}
	}
	if _, err := Breaks("today's", today); err == nil {
		t.Error("today's may be no schema")
	}
}
