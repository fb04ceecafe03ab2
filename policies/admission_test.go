package policies

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/nexusblueprint/nexus/shop"
)

const (
	templatesFile   = "../deploy/admission/templates.yaml"
	constraintsFile = "../deploy/admission/constraints.yaml"
)

// The Gatekeeper templates are made of the rules' own Rego, so that a cluster
// says what nexus verify says.
func TestAdmission_the_templates_are_made_of_the_rules(t *testing.T) {
	for file, text := range map[string]string{templatesFile: admissionTemplates(t), constraintsFile: admissionConstraints(t)} {
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != text {
			t.Errorf("%s is not what the rules say (%v); if the change is meant, rewrite it with go test ./policies -update", file, err)
		}
	}
}

// admissionRules are those that judge single objects.
func admissionRules(t *testing.T) []Rule {
	t.Helper()
	p, err := Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(p.Rules(), func(r Rule) bool { return len(r.Admission) == 0 })
}

// gatekeeperKind is the kind of a rule's constraints: NexusAppendOnly.
func gatekeeperKind(rule Rule) string {
	kind := "Nexus"
	for word := range strings.SplitSeq(rule.ID, "-") {
		kind += upperFirst(word)
	}
	return kind
}

func admissionTemplates(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Gatekeeper's templates of the rules that judge single objects: docs/how-to/admit-manifests.md.\n" +
		"# Made from policies/rules: go test ./policies -run Admission -update\n")
	for _, rule := range admissionRules(t) {
		name := strings.ReplaceAll(rule.ID, "-", "_")
		kind := gatekeeperKind(rule)
		fmt.Fprintf(&b, templateHead, strings.ToLower(kind), rule.Title+". "+rule.Remedy, kind)
		fmt.Fprint(&b, indented(fmt.Sprintf(entryPoint, name, rule.ID), 10))
		b.WriteString("        libs:\n")
		for _, lib := range libraries(t, name) {
			b.WriteString("        - |\n" + indented(lib, 10))
		}
	}
	return b.String()
}

const templateHead = `---
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata:
  name: %s
  annotations:
    description: %q
spec:
  crd:
    spec:
      names:
        kind: %s
      validation:
        legacySchema: false
        openAPIV3Schema:
          type: object
          properties:
            topics:
              description: the topology's topics, as nexus topology --format json lists them
              type: array
              items:
                type: object
                properties:
                  name: {type: string}
                  kind: {type: string}
                  partitions: {type: integer}
  targets:
  - target: admission.k8s.gatekeeper.sh
    code:
    - engine: Rego
      source:
        version: v1
        rego: |
`

// entryPoint shows the rule a document as nexus verify gathers it.
const entryPoint = `package nexus

import data.lib.nexus.rules.%s

document := {
	"file": "the object",
	"line": 1,
	"lines": {},
	"format": "kubernetes",
	"kind": input.review.object.kind,
	"name": object.get(input.review.object, ["metadata", "name"], ""),
	"content": input.review.object,
}

facts := {
	"deploy": {"documents": [document]},
	"topology": {"topics": object.get(input, ["parameters", "topics"], [])},
}

# What stands in no file is about the topology, which CI judges.
violation contains {"msg": sprintf("%s: %%s", [found.detail])} if {
	all := %[1]s.violations with input as facts
	some found in all
	found.file == document.file
}
`

// libraries are a rule and what it imports, in the packages that Gatekeeper
// lets a template have.
func libraries(t *testing.T, rule string) []string {
	t.Helper()
	texts := map[string]string{} // by package
	files, err := fs.Glob(bundle, "rules/*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(bundle, file)
		if err != nil {
			t.Fatal(err)
		}
		texts[ast.MustParseModule(string(text)).Package.Path.String()] = string(text)
	}
	var libs []string
	next := []string{rulePackage + rule}
	for len(next) > 0 {
		text := texts[next[0]]
		next = next[1:]
		for _, i := range ast.MustParseModule(text).Imports {
			next = append(next, i.Path.String())
		}
		_, code, _ := strings.Cut("\n"+text, "\npackage nexus.") // METADATA is left out: the template has its own
		libs = append(libs, strings.ReplaceAll("package lib.nexus."+code, "import data.nexus.", "import data.lib.nexus."))
	}
	return libs
}

func admissionConstraints(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Constraints for the templates, with the shop's topics: docs/how-to/admit-manifests.md.\n" +
		"# Made from policies/rules and the shop's topology: go test ./policies -run Admission -update\n")
	for _, rule := range admissionRules(t) {
		action := "deny"
		if rule.Severity == Warning {
			action = "warn"
		}
		fmt.Fprintf(&b, "---\napiVersion: constraints.gatekeeper.sh/v1beta1\nkind: %s\nmetadata:\n  name: nexus-%s\nspec:\n  enforcementAction: %s\n  match:\n    kinds:\n",
			gatekeeperKind(rule), rule.ID, action)
		groups := map[string][]string{}
		for _, k := range rule.Admission {
			kind, group, _ := strings.Cut(k, ".")
			groups[group] = append(groups[group], kind)
		}
		for _, group := range slices.Sorted(maps.Keys(groups)) {
			fmt.Fprintf(&b, "    - apiGroups: [%q]\n      kinds: [%s]\n", group, strings.Join(groups[group], ", "))
		}
		if !slices.Contains(rule.Needs, "topology") {
			continue
		}
		b.WriteString("  parameters:\n    topics:\n")
		for _, topic := range shop.Topology().Describe().Topics {
			fmt.Fprintf(&b, "    - {name: %s, kind: %s, partitions: %d}\n", topic.Name, topic.Kind, topic.Partitions)
		}
	}
	return b.String()
}

func indented(text string, by int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString(strings.Repeat(" ", by))
		}
		b.WriteString(line)
	}
	return b.String()
}
