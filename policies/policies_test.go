package policies

import (
	"io/fs"
	"slices"
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

func TestJudge_finds_each_seeded_violation(t *testing.T) {
	for name, c := range map[string]struct {
		seed func(*Facts)
		rule string
	}{
		"a compacted event store": {func(f *Facts) { setting(f.Topology, topology.EventTopic, "cleanup.policy", "compact") }, "append-only"},
		"a limited event store":   {func(f *Facts) { setting(f.Topology, topology.EventTopic, "retention.ms", "1000") }, "append-only"},
		"a schema gone":           {func(f *Facts) { f.Topology.Schemas = f.Topology.Schemas[1:] }, ""},
		"an event schema gone": {func(f *Facts) {
			f.Topology.Schemas = append([]topology.SchemaDescription{}, f.Topology.Schemas...)
			for i, s := range f.Topology.Schemas {
				if s.Subject == "shop.order.OrderPlaced" {
					f.Topology.Schemas[i].Subject = "shop.order.Other"
				}
			}
		}, "registered-schemas"},
		"no limit": {func(f *Facts) { f.Topology.Limits.TemporalQueriesPerMinute = 0 }, "temporal-limits"},
		"another broker setting": {func(f *Facts) {
			f.Live = &Live{Topics: map[string]LiveTopic{"shop.order.events": {Partitions: 8, Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "retention.bytes": "-1"}}}}
		}, "append-only"},
		"an unregistered subject": {func(f *Facts) { f.Live = &Live{Registry: &LiveRegistry{Subjects: []string{"nexus.Metadata"}}} }, "registered-schemas"},
	} {
		f := shopFacts()
		c.seed(&f)
		v := judge(t, f)
		if c.rule == "" {
			continue // metadata stands in no topic's list: nothing hangs on it here
		}
		if v.OK() || !slices.ContainsFunc(v.Violations, func(v Violation) bool { return v.Rule == c.rule }) || v.Violations[0].Place == "" || v.Violations[0].Detail == "" {
			t.Errorf("%s: %+v, want a violation of %s", name, v.Violations, c.rule)
		}
	}
}

func setting(d *topology.Description, kind topology.Kind, name, value string) {
	for i := range d.Topics {
		if d.Topics[i].Kind == kind {
			d.Topics[i].Config[name] = value
			return
		}
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
