// Package policies judges a system before it runs: rules in Rego, evaluated by
// OPA within the program, over facts about the topology, its schemas and their
// history, the Go source and the live settings.
//
// It gathers no live facts itself and stops nothing: the start, `nexus verify`
// and CI do, by its verdict.
package policies

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/nexusblueprint/nexus/topology"
)

//go:embed rules/*.rego
var bundle embed.FS

// Facts are what rules are asked about. A nil part was not gathered; the rules
// that need it are reported as not judged.
type Facts struct {
	Topology *topology.Description `json:"topology,omitempty"`
	History  *History              `json:"history,omitempty"`
	Source   *Source               `json:"source,omitempty"`
	Live     *Live                 `json:"live,omitempty"`
}

// Live are the settings of a running broker and registry.
type Live struct {
	Topics   map[string]LiveTopic `json:"topics,omitempty"`
	Registry *LiveRegistry        `json:"registry,omitempty"`
}

// LiveTopic is a topic as the broker has it, with Kafka's names.
type LiveTopic struct {
	Partitions int32             `json:"partitions"`
	Config     map[string]string `json:"config"`
}

// LiveRegistry is what the schema registry holds.
type LiveRegistry struct {
	Subjects []string `json:"subjects"`
}

// Violation is one place where a rule does not hold.
type Violation struct {
	Rule     string `json:"rule"`     // id, such as "append_only"
	Severity string `json:"severity"` // "error"
	Place    string `json:"place"`    // file and line, topic, schema
	Detail   string `json:"detail"`   // what is wrong and what to do
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s: %s", v.Place, strings.ReplaceAll(v.Rule, "_", "-"), v.Detail)
}

// Verdict is the outcome of all rules.
type Verdict struct {
	Judged     []string    `json:"judged"`    // rules that were asked
	NotJudged  []string    `json:"notJudged"` // rules whose facts were not gathered
	Violations []Violation `json:"violations"`
}

// OK says that no rule that was asked is violated.
func (v Verdict) OK() bool { return len(v.Violations) == 0 }

// Judge asks every rule. It fails only if the rules themselves do not compile.
func Judge(ctx context.Context, facts Facts) (Verdict, error) {
	modules, err := modules(bundle)
	if err != nil {
		return Verdict{}, err
	}
	options := []func(*rego.Rego){rego.Query("rules = data.nexus.rules"), rego.Input(facts)}
	for _, m := range modules {
		options = append(options, rego.ParsedModule(m))
	}
	results, err := rego.New(options...).Eval(ctx)
	if err != nil {
		return Verdict{}, fmt.Errorf("judging the policies: %w", err)
	}
	if len(results) != 1 {
		return Verdict{}, fmt.Errorf("judging the policies: %d results", len(results))
	}
	rules, ok := results[0].Bindings["rules"].(map[string]any)
	if !ok {
		return Verdict{}, fmt.Errorf("judging the policies: data.nexus.rules is %T", results[0].Bindings["rules"])
	}
	return verdict(rules, facts)
}

// modules parses the bundle without its tests.
func modules(files fs.FS) ([]*ast.Module, error) {
	names, err := fs.Glob(files, "rules/*.rego")
	if err != nil {
		return nil, err
	}
	var parsed []*ast.Module
	for _, name := range names {
		if strings.HasSuffix(name, "_test.rego") {
			continue
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		m, err := ast.ParseModule(name, string(text))
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", name, err)
		}
		parsed = append(parsed, m)
	}
	return parsed, nil
}

func verdict(rules map[string]any, facts Facts) (Verdict, error) {
	there := map[string]bool{
		"topology": facts.Topology != nil, "history": facts.History != nil, "source": facts.Source != nil, "live": facts.Live != nil,
	}
	v := Verdict{Judged: []string{}, NotJudged: []string{}, Violations: []Violation{}}
	for id, body := range rules {
		rule, ok := body.(map[string]any)
		if !ok {
			return v, fmt.Errorf("policy %s is %T, not a rule", id, body)
		}
		judged := true
		for _, need := range list(rule["needs"]) {
			judged = judged && there[fmt.Sprint(need)]
		}
		if !judged {
			v.NotJudged = append(v.NotJudged, id)
			continue
		}
		v.Judged = append(v.Judged, id)
		for _, found := range list(rule["violations"]) {
			fields, _ := found.(map[string]any)
			v.Violations = append(v.Violations, Violation{
				Rule: id, Severity: fmt.Sprint(fields["severity"]), Place: fmt.Sprint(fields["place"]), Detail: fmt.Sprint(fields["detail"]),
			})
		}
	}
	slices.Sort(v.Judged)
	slices.Sort(v.NotJudged)
	slices.SortFunc(v.Violations, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return v, nil
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}
