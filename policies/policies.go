// Package policies judges a system before it runs: rules in Rego, evaluated by
// OPA within the program, over facts about the topology, its schemas and their
// history, the Go source, the deploy files and the live settings.
//
// It gathers no live facts itself and stops nothing: the start, `nexus verify`
// and CI do, by its verdict.
package policies

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"
)

// Violation is one place where a rule does not hold.
type Violation struct {
	Rule     string `json:"rule"`           // id, such as "append-only"
	Severity string `json:"severity"`       // "error" or "warning"
	Place    string `json:"place"`          // file and line, topic, schema
	File     string `json:"file,omitempty"` // empty for what stands in no file
	Line     int    `json:"line,omitempty"`
	Detail   string `json:"detail"` // what is wrong and what to do
}

func (v Violation) String() string {
	kind := ""
	if v.Severity != Error {
		kind = v.Severity + ": "
	}
	return fmt.Sprintf("%s: %s%s: %s", v.Place, kind, v.Rule, v.Detail)
}

// Gap is a part of the live facts that was asked for and is not told.
type Gap struct {
	Part  string   `json:"part"`  // such as "live.acls"
	Rules []string `json:"rules"` // that look at it: what they say is not all that there is to say
	Why   string   `json:"why"`   // and what to do
}

func (g Gap) String() string {
	return fmt.Sprintf("could not judge by %s: %s: %s", g.Part, strings.Join(g.Rules, ", "), g.Why)
}

// Verdict is the outcome of all rules.
type Verdict struct {
	Judged     []string    `json:"judged"`    // rules that were asked
	NotJudged  []string    `json:"notJudged"` // rules whose facts were not gathered
	Gaps       []Gap       `json:"gaps"`      // where a running system does not tell enough
	Violations []Violation `json:"violations"`
	Waived     []Waived    `json:"waived"` // violations that a waiver lets pass
	Idle       []Waiver    `json:"idle"`   // waivers that let nothing pass: they can go
}

// OK says that no rule that was asked is violated; warnings violate nothing.
func (v Verdict) OK() bool { return v.Errors() == 0 }

// Errors counts the violations that are no warnings.
func (v Verdict) Errors() int {
	n := 0
	for _, violation := range v.Violations {
		if violation.Severity == Error {
			n++
		}
	}
	return n
}

// builtin are the rules that the program ships with, compiled once.
var builtin = sync.OnceValues(func() (*Policies, error) { return Load(context.Background(), "") })

// Judge asks every rule that the program ships with. It fails only if the rules
// themselves do not compile.
func Judge(ctx context.Context, facts Facts) (Verdict, error) {
	p, err := builtin()
	if err != nil {
		return Verdict{}, err
	}
	return p.Judge(ctx, facts)
}

// Judge asks every rule whose facts are there. It fails if a rule cannot be
// evaluated, if a user's takes too long, or if one answers what is no violation.
func (p *Policies) Judge(ctx context.Context, facts Facts) (Verdict, error) {
	v := Verdict{Judged: []string{}, NotJudged: []string{}, Gaps: []Gap{}, Violations: []Violation{}, Waived: []Waived{}, Idle: []Waiver{}}
	var plain any = facts
	if err := util.RoundTrip(&plain); err != nil {
		return v, fmt.Errorf("judging the policies: %w", err)
	}
	input, err := ast.InterfaceToValue(plain)
	if err != nil {
		return v, fmt.Errorf("judging the policies: %w", err)
	}
	v.Gaps = append(v.Gaps, p.gaps(facts)...)
	there := facts.gathered()
	for _, rule := range p.Rules() {
		if slices.ContainsFunc(rule.Needs, func(need string) bool { return !met(need, there) }) {
			v.NotJudged = append(v.NotJudged, rule.ID)
			continue
		}
		v.Judged = append(v.Judged, rule.ID)
		found, err := p.ask(ctx, rule, input)
		if err != nil {
			return v, err
		}
		v.Violations = append(v.Violations, found...)
	}
	slices.SortFunc(v.Violations, func(a, b Violation) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, strings.Compare(a.String(), b.String()))
	})
	return v, nil
}

// ask evaluates one rule.
func (p *Policies) ask(ctx context.Context, rule Rule, input ast.Value) (found []Violation, err error) {
	bounded := ctx
	if rule.own {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, p.patience)
		defer cancel()
	}
	results, err := rule.query.Eval(bounded, rego.EvalParsedInput(input))
	var stumbled *topdown.Error
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, fmt.Errorf("judging the policies: %w", ctx.Err())
	case bounded.Err() != nil:
		return nil, fmt.Errorf("rule %s (%s) has no answer after %v: let it look at less: a loop within a loop multiplies, a lookup by key does not", rule.ID, rule.file, p.patience)
	case errors.As(err, &stumbled) && stumbled.Location != nil:
		return nil, fmt.Errorf("rule %s cannot be judged: %s:%d: %s: let it say what holds in that case", rule.ID, stumbled.Location.File, stumbled.Location.Row, stumbled.Message)
	default:
		return nil, fmt.Errorf("rule %s (%s) cannot be judged: %w", rule.ID, rule.file, err)
	}
	var answers []any
	if len(results) == 1 {
		answers, _ = results[0].Bindings["violations"].([]any)
	}
	if answers == nil {
		return nil, fmt.Errorf("rule %s (%s) has no set named violations: write violations contains {…} if {…}", rule.ID, rule.file)
	}
	for _, answer := range answers {
		violation, err := violationOf(rule, answer)
		if err != nil {
			return nil, err
		}
		found = append(found, violation)
	}
	return found, nil
}

// gaps names the rules that look at what is not known.
func (p *Policies) gaps(facts Facts) (all []Gap) {
	if facts.Live == nil {
		return nil
	}
	for _, unknown := range facts.Live.Unknown {
		gap := Gap{Part: livePrefix + unknown.Part, Why: unknown.Why}
		for _, rule := range p.Rules() {
			if slices.Contains(rule.live, gap.Part) {
				gap.Rules = append(gap.Rules, rule.ID)
			}
		}
		if gap.Rules != nil { // else nobody misses it
			all = append(all, gap)
		}
	}
	return all
}

// met says that a part is there that a rule needs, or one of "a or b".
func met(need string, there map[string]bool) bool {
	return slices.ContainsFunc(strings.Split(need, either), func(part string) bool { return there[part] })
}

func violationOf(rule Rule, found any) (Violation, error) {
	fields, _ := found.(map[string]any)
	text := func(name string) string { s, _ := fields[name].(string); return s }
	v := Violation{Rule: rule.ID, Severity: rule.Severity, Place: text("place"), File: text("file"), Detail: text("detail")}
	if n, ok := fields["line"].(json.Number); ok {
		line, err := n.Int64()
		if err != nil {
			return v, fmt.Errorf("rule %s: line is %s: must be a whole number", rule.ID, n)
		}
		v.Line = int(line)
	}
	if v.Place == "" && v.File != "" {
		v.Place = fmt.Sprintf("%s:%d", v.File, max(v.Line, 1))
	}
	if v.Place == "" || v.Detail == "" {
		return v, fmt.Errorf("rule %s answers %v: a violation has a detail, and a file with its line or a place", rule.ID, found)
	}
	return v, nil
}
