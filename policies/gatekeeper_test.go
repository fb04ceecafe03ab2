package policies

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"go.yaml.in/yaml/v3"

	"github.com/nexusblueprint/nexus/policies/deploy"
)

// gatekeeper is a rule's template and constraint as a cluster holds them.
type gatekeeper struct {
	query      rego.PreparedEvalQuery
	kinds      []string // that the constraint matches, as the rule has them
	parameters map[string]any
}

type gatekeeperTemplate struct {
	Metadata struct{ Name string }
	Spec     struct {
		CRD struct {
			Spec struct{ Names struct{ Kind string } }
		}
		Targets []struct {
			Target string
			Code   []struct {
				Engine string
				Source struct {
					Version string
					Rego    string
					Libs    []string
				}
			}
		}
	}
}

type gatekeeperConstraint struct {
	Kind string
	Spec struct {
		Match struct {
			Kinds []struct {
				APIGroups []string `yaml:"apiGroups"`
				Kinds     []string
			}
		}
		Parameters map[string]any
	}
}

func documents[T any](t *testing.T, file string) []T {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	for part := range bytes.SplitSeq(text, []byte("---\n")) {
		var one *T
		if err := yaml.Unmarshal(part, &one); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if one != nil {
			all = append(all, *one)
		}
	}
	return all
}

// gatekeepers loads what a cluster would, by rule. What Gatekeeper refuses in a
// template, this refuses: libraries and imports outside data.lib.
func gatekeepers(t *testing.T) map[string]gatekeeper {
	t.Helper()
	constraints := map[string]gatekeeperConstraint{}
	for _, c := range documents[gatekeeperConstraint](t, constraintsFile) {
		constraints[c.Kind] = c
	}
	byKind := map[string]gatekeeper{}
	for _, template := range documents[gatekeeperTemplate](t, templatesFile) {
		kind := template.Spec.CRD.Spec.Names.Kind
		if template.Metadata.Name != strings.ToLower(kind) || len(template.Spec.Targets) != 1 || len(template.Spec.Targets[0].Code) != 1 {
			t.Fatalf("no template: %+v", template)
		}
		code := template.Spec.Targets[0].Code[0]
		if code.Engine != "Rego" || code.Source.Version != "v1" || template.Spec.Targets[0].Target != "admission.k8s.gatekeeper.sh" {
			t.Fatalf("not of Gatekeeper's: %+v", code)
		}
		modules := map[string]*ast.Module{"template": ast.MustParseModule(code.Source.Rego)}
		for i, lib := range code.Source.Libs {
			m := ast.MustParseModule(lib)
			if !strings.HasPrefix(m.Package.Path.String(), "data.lib.") {
				t.Errorf("%s: library %s is not in data.lib", kind, m.Package.Path)
			}
			modules[fmt.Sprint("lib", i)] = m
		}
		for _, m := range modules {
			for _, i := range m.Imports {
				if !strings.HasPrefix(i.Path.String(), "data.lib.") {
					t.Errorf("%s imports %s, which is not in data.lib", kind, i.Path)
				}
			}
		}
		compiler := ast.NewCompiler().WithCapabilities(capabilities())
		if compiler.Compile(modules); compiler.Failed() {
			t.Fatalf("%s: %v", kind, compiler.Errors)
		}
		query, err := rego.New(rego.Query("violations = data.nexus.violation"), rego.Compiler(compiler)).PrepareForEval(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, ok := constraints[kind]
		if !ok {
			t.Fatalf("%s has no constraint", kind)
		}
		g := gatekeeper{query: query, parameters: c.Spec.Parameters}
		for _, m := range c.Spec.Match.Kinds {
			for _, group := range m.APIGroups {
				for _, k := range m.Kinds {
					g.kinds = append(g.kinds, strings.TrimSuffix(k+"."+group, "."))
				}
			}
		}
		byKind[kind] = g
	}
	all := map[string]gatekeeper{}
	for _, rule := range admissionRules(t) {
		g, ok := byKind[gatekeeperKind(rule)]
		if !ok {
			t.Fatalf("rule %s has no template", rule.ID)
		}
		all[rule.ID] = g
	}
	return all
}

// review is what the API server asks about an object that is created: the
// answer is what is wrong with it, nil if the constraint does not match it.
func (g gatekeeper) review(t *testing.T, d deploy.Document) []string {
	t.Helper()
	version, _ := d.Content["apiVersion"].(string)
	group, version, ok := strings.Cut(version, "/")
	if !ok {
		group, version = "", group
	}
	if !slices.Contains(g.kinds, strings.TrimSuffix(d.Kind+"."+group, ".")) {
		return nil
	}
	parameters := g.parameters
	if parameters == nil {
		parameters = map[string]any{}
	}
	results, err := g.query.Eval(t.Context(), rego.EvalInput(map[string]any{
		"review": map[string]any{
			"uid": "1", "operation": "CREATE", "name": d.Name, "namespace": "shop",
			"kind":   map[string]any{"group": group, "version": version, "kind": d.Kind},
			"object": d.Content,
		},
		"parameters": parameters,
	}))
	if err != nil || len(results) != 1 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	var found []string
	for _, v := range results[0].Bindings["violations"].([]any) {
		found = append(found, v.(map[string]any)["msg"].(string))
	}
	slices.Sort(found)
	return found
}

// Each manifest of the fixtures is put to every template: a cluster refuses what
// nexus verify finds in it, in the same words, and admits the clean twins.
func TestAdmission_refuses_what_verify_finds_in_a_manifest(t *testing.T) {
	all := gatekeepers(t)
	refused, admitted := map[string]int{}, map[string]int{}
	for _, f := range readFixtures(t) {
		for _, name := range slices.Sorted(maps.Keys(f.cases)) {
			if isGo(f.cases[name]) {
				continue
			}
			facts := f.facts(t, name)
			if facts.Deploy == nil {
				continue
			}
			found := map[string]int{}
			for _, d := range facts.Deploy.Documents {
				if d.Format != deploy.Kubernetes {
					continue
				}
				alone := facts
				alone.Deploy = &deploy.Facts{Documents: []deploy.Document{d}}
				verdict := judge(t, alone)
				for rule, g := range all {
					var want []string
					for _, v := range verdict.Violations {
						if v.Rule == rule && v.File != "" {
							want = append(want, rule+": "+v.Detail)
						}
					}
					slices.Sort(want)
					got := g.review(t, d)
					if want = slices.Compact(want); !slices.Equal(got, want) {
						t.Errorf("%s, %s of %s/%s/%s: admission says %q, verify says %q", rule, filepath.Base(d.File), f.rule, f.name, name, got, want)
					}
					found[rule] += len(got)
				}
			}
			for rule := range all {
				marked := slices.ContainsFunc(f.wanted(name, ""), func(w string) bool { return strings.HasPrefix(w, rule+" ") })
				manifest := slices.ContainsFunc(facts.Deploy.Documents, func(d deploy.Document) bool { return d.Format == deploy.Kubernetes })
				switch {
				case !manifest:
				case marked != (found[rule] > 0):
					t.Errorf("%s/%s/%s: %d findings of %s, marked as violating it: %v", f.rule, f.name, name, found[rule], rule, marked)
				case marked:
					refused[rule]++
				case f.rule == rule:
					admitted[rule]++
				}
			}
		}
	}
	for rule := range all {
		t.Logf("%s: %d cases refused, %d admitted", rule, refused[rule], admitted[rule])
		if refused[rule] == 0 {
			t.Errorf("%s refuses no fixture", rule)
		}
	}
}
