package policies

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/reference/governance.md")

// The reference lists each rule with a fixture that violates it and one that
// does not.
func TestGovernance_the_reference_is_what_rules_and_fixtures_say(t *testing.T) {
	const file = "../docs/reference/governance.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(text), " -->\n")
	if !ok {
		t.Fatalf("%s has no line that says where the rules begin", file)
	}
	p, err := Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	fixtures := readFixtures(t)
	var b strings.Builder
	b.WriteString(head + " -->\n")
	for _, rule := range p.Rules() {
		i := slices.IndexFunc(fixtures, func(f fixture) bool { return f.rule == rule.ID && strings.HasPrefix(f.name, "1-") })
		if i < 0 {
			t.Fatalf("rule %s has no fixture whose name begins with 1-", rule.ID)
		}
		fmt.Fprintf(&b, "\n## %s\n\n**%s.** %s\n\n%s (Severity: %s; needs: %s%s.)\n",
			rule.ID, upperFirst(rule.Title), rule.Description, comments.ReplaceAllString(rule.Remedy, "`$0`"), rule.Severity, strings.Join(rule.Needs, ", "), admitted(rule))
		fmt.Fprintf(&b, "\nViolates it: %s\n", fixtures[i].comment)
		example(&b, fixtures[i].cases["bad"])
		b.WriteString("\nDoes not:\n")
		example(&b, fixtures[i].cases["good"])
		limits(&b, rule.ID, fixtures)
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.String() != string(text) {
		t.Errorf("%s is not what the rules and fixtures say; if the change is meant, rewrite it with go test ./policies -update", file)
	}
}

// limits says what the rule does not find, each with a fixture that shows it.
func limits(b *strings.Builder, rule string, fixtures []fixture) {
	said := map[string]bool{}
	for _, f := range fixtures {
		for _, name := range slices.Sorted(maps.Keys(f.cases)) {
			limit := strings.Join(strings.Fields(f.cases[name]["LIMIT"]), " ")
			if f.rule != rule || limit == "" || said[limit] {
				continue
			}
			if len(said) == 0 {
				b.WriteString("\nNot found:\n\n")
			}
			said[limit] = true
			fmt.Fprintf(b, "- %s\n", limit)
		}
	}
}

// admitted names the kinds that a cluster can ask the rule about.
func admitted(rule Rule) string {
	if len(rule.Admission) == 0 {
		return ""
	}
	var kinds []string
	for _, k := range rule.Admission {
		kind, _, _ := strings.Cut(k, ".")
		kinds = append(kinds, kind)
	}
	return "; at admission: " + strings.Join(kinds, ", ")
}

// comments of source are code where a remedy names them.
var comments = regexp.MustCompile(`//nexus:allow [a-z-]+ <reason>`)

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

var languages = map[string]string{".go": "go", ".yaml": "yaml", ".yml": "yaml", ".avsc": "json"}

// example prints a case's files without their marks.
func example(b *strings.Builder, files map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name == "WANT" || name == "LIMIT" {
			continue
		}
		language, title := languages[path.Ext(name)], ""
		switch {
		case name == "PATCH":
			language, title = "json", "With these facts:"
		case len(files) > 1:
			title = "`" + name + "`:"
		}
		if title != "" {
			fmt.Fprintf(b, "\n%s\n", title)
		}
		fmt.Fprintf(b, "\n```%s\n", language)
		for line := range strings.Lines(files[name]) {
			b.WriteString(wantMark.ReplaceAllString(strings.TrimSuffix(line, "\n"), "") + "\n")
		}
		b.WriteString("```\n")
	}
}
