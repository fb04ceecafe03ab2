package policies

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

//go:embed rules/*.rego
var bundle embed.FS

// Severities of rules.
const (
	Error   = "error"   // a violation fails: CI, and the start
	Warning = "warning" // a violation is shown
)

// Rule is one rule, as its package says in its METADATA.
type Rule struct {
	ID          string   `json:"id"` // the last part of its package, such as "append-only"
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Severity    string   `json:"severity"`
	Remedy      string   `json:"remedy"` // a sentence that says what to do
	Needs       []string `json:"needs"`  // parts of the facts without which it is not judged; of "a or b" one is enough

	// Admission are the kinds of Kubernetes objects, such as "KafkaTopic.kafka.strimzi.io", that the rule judges one
	// by one, so that deploy/admission has a template for it.
	Admission []string `json:"admission,omitempty"`

	file  string // where it stands, for messages
	own   bool   // the user's
	query rego.PreparedEvalQuery
	live  []string // parts of the live facts that it looks at, such as "live.acls"
}

// either stands in a need between parts of which one is enough.
const either = " or "

// Policies are rules ready to be asked. They are safe for concurrent use.
type Policies struct {
	rules    map[string]Rule
	patience time.Duration
}

// rulePatience bounds the evaluation of one rule of the user's. Those of the
// program take milliseconds, and no start fails because a machine stood still.
const rulePatience = 30 * time.Second

// capabilities are what rules may use: not what would make a verdict depend on
// anything but the facts.
func capabilities() *ast.Capabilities {
	outside := []string{"http.send", "net.lookup_ip_addr", "opa.runtime", "rand.intn", "time.now_ns", "uuid.rfc4122"}
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return slices.Contains(outside, b.Name) })
	return c
}

// Load compiles the rules that the program ships with and the user's own, each
// .rego file below the folder own; empty: none.
func Load(ctx context.Context, own string) (*Policies, error) {
	p := &Policies{rules: map[string]Rule{}, patience: rulePatience}
	all, err := modules(bundle, "")
	if err != nil {
		return nil, err
	}
	if err := p.add(all, false); err != nil {
		return nil, err
	}
	if own != "" {
		more, err := modules(os.DirFS(own), own)
		if err != nil {
			return nil, err
		}
		shipped := len(p.rules)
		if err := p.add(more, true); err != nil {
			return nil, err
		}
		if len(p.rules) == shipped { // a misspelt package would judge nothing, in silence
			return nil, fmt.Errorf("there is no rule in %s: put .rego files with packages nexus.rules.<id> there", own)
		}
		all = append(all, more...)
	}
	byName := map[string]*ast.Module{}
	for i, m := range all {
		byName[fmt.Sprintf("%d:%s", i, m.Package.Location.File)] = m
	}
	compiler := ast.NewCompiler().WithCapabilities(capabilities())
	if compiler.Compile(byName); compiler.Failed() {
		return nil, fmt.Errorf("compiling the policies: %w", compiler.Errors)
	}
	for id, rule := range p.rules {
		// One query each, so that trouble has a rule's name. What a built-in cannot compute is undefined to the program's
		// own rules, which are written for documents of any shape; to a user's it is an error, as it would be a rule that
		// finds nothing, in silence.
		query := fmt.Sprintf("violations = data.nexus.rules[%q].violations", packageOf(id))
		if rule.query, err = rego.New(rego.Query(query), rego.Compiler(compiler), rego.StrictBuiltinErrors(rule.own)).PrepareForEval(ctx); err != nil {
			return nil, fmt.Errorf("compiling the policies: %w", err)
		}
		p.rules[id] = rule
	}
	return p, nil
}

func packageOf(id string) string { return strings.ReplaceAll(id, "-", "_") }

// Rules lists the rules by id.
func (p *Policies) Rules() []Rule {
	return slices.SortedFunc(maps.Values(p.rules), func(a, b Rule) int { return strings.Compare(a.ID, b.ID) })
}

// modules parses the .rego files, tests left out. They are named in messages by
// their paths below where.
func modules(files fs.FS, where string) ([]*ast.Module, error) {
	var parsed []*ast.Module
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".rego") || strings.HasSuffix(name, "_test.rego") {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		name = path.Join(where, name)
		m, err := ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{ProcessAnnotation: true})
		if err != nil {
			return fmt.Errorf("policy %s: %w", name, err)
		}
		parsed = append(parsed, m)
		return nil
	})
	return parsed, err
}

// rulePackage is where rules live; other packages are libraries of theirs.
const rulePackage = "data.nexus.rules."

func (p *Policies) add(all []*ast.Module, own bool) error {
	for _, m := range all {
		name, ok := strings.CutPrefix(m.Package.Path.String(), rulePackage)
		if !ok {
			continue
		}
		file := m.Package.Location.File
		if strings.ContainsAny(name, ".[") {
			return fmt.Errorf("policy %s: package %s: a rule's package is nexus.rules.<id>", file, name)
		}
		rule, err := describe(m)
		if err != nil {
			return fmt.Errorf("policy %s: %w", file, err)
		}
		rule.file, rule.own, rule.live = file, own, liveParts(m)
		rule.ID = strings.ReplaceAll(name, "_", "-")
		if _, twice := p.rules[rule.ID]; twice {
			return fmt.Errorf("policy %s: there is a rule %s already: choose another package", file, rule.ID)
		}
		p.rules[rule.ID] = rule
	}
	return nil
}

// describe reads the METADATA of a rule's package.
func describe(m *ast.Module) (Rule, error) {
	var rule Rule
	for _, a := range m.Annotations {
		if a.Scope == "package" {
			rule = Rule{
				Title: a.Title, Description: strings.TrimSpace(a.Description),
				Severity: fmt.Sprint(a.Custom["severity"]), Remedy: fmt.Sprint(a.Custom["remedy"]), Needs: []string{},
			}
			rule.Needs = append(rule.Needs, texts(a.Custom["needs"])...)
			rule.Admission = texts(a.Custom["admission"])
		}
	}
	known := Facts{}.gathered()
	switch {
	case rule.Title == "":
		return rule, fmt.Errorf("the package has no METADATA with a title")
	case rule.Severity != Error && rule.Severity != Warning:
		return rule, fmt.Errorf("custom.severity is %s in METADATA: write error or warning", rule.Severity)
	case rule.Remedy == "" || rule.Remedy == "<nil>":
		return rule, fmt.Errorf("METADATA has no custom.remedy: write a sentence that says what to do")
	case len(rule.Needs) == 0:
		return rule, fmt.Errorf("METADATA has no custom.needs: list the facts it judges, of %s", names(known))
	}
	for _, need := range rule.Needs {
		for part := range strings.SplitSeq(need, either) {
			if _, ok := known[part]; !ok {
				return rule, fmt.Errorf("custom.needs has %q: there is %s", part, names(known))
			}
		}
	}
	return rule, nil
}

// liveParts are those that a rule looks at by itself, needed or not: all of them
// where it takes the live facts as a whole.
func liveParts(m *ast.Module) []string {
	seen := map[string]bool{}
	var all []string
	for part := range (Facts{}).gathered() {
		if strings.HasPrefix(part, livePrefix) {
			all = append(all, part)
		}
	}
	ast.WalkRefs(m, func(r ast.Ref) bool {
		if !r.HasPrefix(ast.MustParseRef("input.live")) {
			return false
		}
		if len(r) > 2 {
			if part, ok := r[2].Value.(ast.String); ok {
				seen[livePrefix+string(part)] = true
				return false
			}
		}
		for _, part := range all {
			seen[part] = true
		}
		return false
	})
	return slices.Sorted(maps.Keys(seen))
}

const livePrefix = "live."

func texts(list any) (all []string) {
	items, _ := list.([]any)
	for _, item := range items {
		all = append(all, fmt.Sprint(item))
	}
	return all
}

func names(m map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }
