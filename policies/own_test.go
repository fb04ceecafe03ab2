package policies

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ownRule loads one rule of the user's, with the conditions of its violations.
func ownRule(t *testing.T, conditions string) (p *Policies, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "mine.rego")
	text := "# METADATA\n# title: mine\n# custom:\n#   severity: error\n#   needs: [topology]\n#   remedy: Mend it.\npackage nexus.rules.mine\n\n" +
		"violations contains {\"place\": \"here\", \"detail\": \"wrong\"} if {\n" + conditions + "\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(t.Context(), filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	return p, file
}

func TestJudge_tells_of_what_a_users_rule_cannot_compute(t *testing.T) {
	for conditions, want := range map[string]string{
		`1 / (count(input.topology.topics) - count(input.topology.topics)) == 1`: ":10: div: divide by zero: let it say",
		`not to_number(input.topology.context) == 1`:                             ":10: to_number: ",
		`count(input.topology.topics[0].partitions) == 1`:                        ":10: count: ",
	} {
		p, file := ownRule(t, conditions)
		if _, err := p.Judge(t.Context(), shopFacts()); err == nil || !strings.Contains(err.Error(), "rule mine cannot be judged: "+file+want) {
			t.Errorf("%s: %v; want: %s", conditions, err, want)
		}
	}
}

// endless looks at more than anybody waits for.
const endless = "some i in numbers.range(1, 100000)\nsome j in numbers.range(1, 100000)\ni + j < 0"

func TestJudge_ends_a_rule_that_does_not(t *testing.T) {
	p, file := ownRule(t, endless)
	p.patience = 100 * time.Millisecond
	if _, err := p.Judge(t.Context(), shopFacts()); err == nil || !strings.Contains(err.Error(), "rule mine ("+file+") has no answer after 100ms") {
		t.Errorf("an endless rule: %v", err)
	}
}

// An interrupt is the caller's, and no word about a rule.
func TestJudge_is_interrupted(t *testing.T) {
	p, _ := ownRule(t, endless)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := p.Judge(ctx, shopFacts()); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "mine") {
		t.Errorf("interrupted: %v", err)
	}
}
