package confluent

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nexusblueprint/nexus/internal/compat"
	"github.com/nexusblueprint/nexus/internal/compattest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
)

// history is the first two versions of a subject, as fields; every level takes the second after the first.
var history = []string{`{"name":"a","type":"int"}`, `{"name":"a","type":"int","default":0},{"name":"b","type":"int","default":0}`}

// thirds are candidates for the third version, with the levels that take them.
var thirds = []third{
	{"an optional field more", history[1] + `,{"name":"c","type":"int","default":0}`, "NONE BACKWARD BACKWARD_TRANSITIVE FORWARD FORWARD_TRANSITIVE FULL FULL_TRANSITIVE"},
	{"a mandatory field more", history[1] + `,{"name":"c","type":"int"}`, "NONE FORWARD FORWARD_TRANSITIVE"},
	{"a field that the first version lacks is mandatory", `{"name":"a","type":"int","default":0},{"name":"b","type":"int"}`, "NONE BACKWARD FORWARD FORWARD_TRANSITIVE FULL"},
	{"a field that the first version cannot do without is gone", `{"name":"b","type":"int","default":0}`, "NONE BACKWARD BACKWARD_TRANSITIVE FORWARD FULL"},
	{"a wider field", `{"name":"a","type":"long","default":0},{"name":"b","type":"int","default":0}`, "NONE BACKWARD BACKWARD_TRANSITIVE"},
	{"another type", `{"name":"a","type":"string","default":""}`, "NONE"},
}

// checks are the verdicts that a check of a third version got, "level: title", by registry.
type checks struct {
	mu       sync.Mutex
	verdicts map[string]map[string]string
}

func (c *checks) note(t *testing.T, p *peer, name, verdict string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verdicts[name] == nil {
		c.verdicts[name] = map[string]string{}
	}
	if old := c.verdicts[name][p.name]; old != "" && old != verdict {
		t.Errorf("%s: %s checks it as %s for the registry's level and as %s for the subject's", name, p.name, old, verdict)
	}
	c.verdicts[name][p.name] = verdict
}

// Registrations are refused or not as the levels say, on both registries, whether the level is the registry's or the
// subject's own. What a check says before is another matter.
func TestRegistries_holdLevelsSideBySide(t *testing.T) {
	embedded, apicurio := peers(t)
	said := &checks{verdicts: map[string]map[string]string{}}
	for _, p := range []*peer{embedded, apicurio} {
		for _, level := range compat.Levels {
			registrytest.SetLevel(t, p.url, "", string(level))
			p.tryThirds(t, said, level, "registry", thirds, func(string) {})
			// The registry's own level says the opposite, so that only the subject's explains the outcome.
			opposite := "NONE"
			if level == compat.None {
				opposite = "FULL_TRANSITIVE"
			}
			registrytest.SetLevel(t, p.url, "", opposite)
			p.tryThirds(t, said, level, "subject", thirds[2:4], func(subject string) { registrytest.SetLevel(t, p.url, subject, string(level)) })
		}
		registrytest.SetLevel(t, p.url, "", "BACKWARD_TRANSITIVE")
	}
	var found [][]string
	for _, level := range compat.Levels {
		for _, third := range thirds {
			name, want := string(level)+": "+third.title, third.verdict(level)
			got := said.verdicts[name]
			if got["embedded"] != want || got["Apicurio"] != want {
				found = append(found, []string{name, want, got["embedded"], got["Apicurio"]})
			}
		}
	}
	listed(t, "Checks before a registration", found)
}

type third struct{ title, fields, takes string }

func (c third) verdict(level compat.Level) string {
	if slices.Contains(strings.Fields(c.takes), string(level)) {
		return compattest.Compatible
	}
	return compattest.Incompatible
}

// tryThirds gives each candidate a subject with the history, and checks and registers it.
func (p *peer) tryThirds(t *testing.T, said *checks, level compat.Level, scope string, candidates []third, prepare func(subject string)) {
	t.Helper()
	var group sync.WaitGroup
	for i, c := range candidates {
		group.Go(func() {
			name := fmt.Sprintf("%s%s%d", level, scope, i)
			subject := p.prefix + name
			schema := func(fields string) string {
				return avro(`{"type":"record","name":"` + name + `","fields":[` + fields + `]}`)
			}
			prepare(subject)
			for n, fields := range history {
				if status, answer := p.ask(t, "POST", "/subjects/"+subject+"/versions", schema(fields)); status != http.StatusOK {
					t.Errorf("version %d at the %s's level %s of %s: HTTP %d %s", n+1, scope, level, p.name, status, answer)
				}
			}
			verdict := compattest.Incompatible
			status, answer := p.ask(t, "POST", "/compatibility/subjects/"+subject+"/versions", schema(c.fields))
			if strings.Contains(string(answer), `"is_compatible":true`) {
				verdict = compattest.Compatible
			} else if status != http.StatusOK || !strings.Contains(string(answer), `"is_compatible":false`) {
				t.Errorf("checking %s at the %s's level %s of %s: HTTP %d %s", c.title, scope, level, p.name, status, answer)
			}
			said.note(t, p, string(level)+": "+c.title, verdict)
			want, versions := http.StatusOK, "[1,2,3]"
			if c.verdict(level) == compattest.Incompatible {
				want, versions = http.StatusConflict, "[1,2]"
			}
			if status, answer = p.ask(t, "POST", "/subjects/"+subject+"/versions", schema(c.fields)); status != want {
				t.Errorf("registering %s at the %s's level %s of %s: HTTP %d %s; want %d", c.title, scope, level, p.name, status, answer, want)
			}
			if _, answer = p.ask(t, "GET", "/subjects/"+subject+"/versions", ""); string(answer) != versions {
				t.Errorf("%s at the %s's level %s of %s leaves the versions %s; want %s", c.title, scope, level, p.name, answer, versions)
			}
		})
	}
	group.Wait()
}
