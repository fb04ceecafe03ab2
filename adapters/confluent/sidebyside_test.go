package confluent

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nexusblueprint/nexus/internal/compat"
	"github.com/nexusblueprint/nexus/internal/compattest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
)

// The tests of this file put the same questions to the embedded registry and to Apicurio, over HTTP, because much of them
// is beyond the port. Where the two differ, docs/reference/registry-compatibility.md says so, and who is right: a
// difference that is not listed there fails, and so does a listed one that is none any more.
const sideBySide = "../../docs/reference/registry-compatibility.md"

// peer is a registry under comparison, with subjects that no other run has used.
type peer struct {
	name, url, prefix string
}

func peers(t *testing.T) (embedded, apicurio *peer) {
	t.Helper()
	prefix := fmt.Sprintf("side.r%x.", rand.Uint64())
	return &peer{"embedded", startEmbedded(t).url, prefix}, &peer{"Apicurio", registrytest.Apicurio(t).URL, prefix}
}

// ask sends one request, and returns the status and the answer's body. It may be called by several goroutines of a test.
func (p *peer) ask(t *testing.T, method, path, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("asking %s: %v", p.name, err)
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("asking %s: %v", p.name, err)
	}
	return resp.StatusCode, answer
}

// avro is the body that carries a schema.
func avro(schema string) string {
	b, _ := json.Marshal(map[string]string{"schema": schema, "schemaType": "AVRO"})
	return string(b)
}

// table reads a table of the document: the cells of its rows by the first one, and the order of the columns.
func table(t *testing.T, heading string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(sideBySide)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", sideBySide, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string][]string{}
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|--") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows[cells[0]] = cells
	}
	return rows
}

// listed compares the differences that were found with those of the document. Each row ends with a cell of its own that
// says what is to be thought of it.
func listed(t *testing.T, heading string, found [][]string) {
	t.Helper()
	rows := table(t, heading)
	for _, want := range found {
		got := rows[want[0]]
		delete(rows, want[0])
		if len(got) != len(want)+1 || !slices.Equal(got[:len(want)], want) || got[len(want)] == "" {
			t.Errorf("section %q of %s has the row\n| %s |\nand should have\n| %s | who is right, and why |",
				heading, sideBySide, strings.Join(got, " | "), strings.Join(want, " | "))
		}
	}
	for name, row := range rows {
		if name != "case" && name != "step" {
			t.Errorf("section %q of %s lists what is no difference any more: | %s |", heading, sideBySide, strings.Join(row, " | "))
		}
	}
}

func TestRegistries_judgeSchemasSideBySide(t *testing.T) {
	embedded, apicurio := peers(t)
	cases := compattest.Cases(t)
	rules := map[string]int{}
	java := compattest.Java(t, cases)
	verdicts := map[*peer][]string{}
	for _, p := range []*peer{embedded, apicurio} {
		registrytest.SetLevel(t, p.url, "", "BACKWARD_TRANSITIVE")
		verdicts[p] = p.judgeAll(t, cases)
	}
	var found [][]string
	for i, c := range cases {
		rules[c.Rule+" "+c.Verdict]++
		ours := compattest.Compatible
		if got, err := compat.Check(string(c.Reader), string(c.Writer)); err != nil {
			ours = compattest.Refused
		} else if len(got) > 0 {
			ours = compattest.Incompatible
		}
		if got := verdicts[embedded][i]; got != ours {
			t.Errorf("%s: internal/compat says %s, the embedded registry %s", c.Name, ours, got)
		}
		row := []string{c.Name, c.Verdict, verdicts[embedded][i], verdicts[apicurio][i], java[c.Name]}
		if slices.ContainsFunc(row[2:], func(v string) bool { return v != c.Verdict }) {
			found = append(found, row)
		}
	}
	if len(cases) < 60 {
		t.Errorf("%d cases are too few", len(cases))
	}
	for _, c := range cases {
		for _, v := range []string{compattest.Compatible, compattest.Incompatible} {
			if rules[c.Rule+" "+v] == 0 {
				t.Errorf("no case of %q is %s", c.Rule, v)
			}
		}
	}
	listed(t, "Verdicts on pairs of schemas", found)
}

// judgeAll asks for the verdicts, some at a time.
func (p *peer) judgeAll(t *testing.T, cases []compattest.Case) []string {
	t.Helper()
	verdicts := make([]string, len(cases))
	slots := make(chan struct{}, 8)
	var group sync.WaitGroup
	for i, c := range cases {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			verdicts[i] = p.judge(t, fmt.Sprintf("%scase%d", p.prefix, i), c)
		})
	}
	group.Wait()
	return verdicts
}

// judge registers the writer's schema, and asks whether the reader's may follow.
func (p *peer) judge(t *testing.T, subject string, c compattest.Case) string {
	t.Helper()
	status, answer := p.ask(t, "POST", "/subjects/"+subject+"/versions", avro(string(c.Writer)))
	if status == http.StatusUnprocessableEntity {
		return compattest.Refused
	}
	if status != http.StatusOK {
		t.Errorf("%s: registering with %s: HTTP %d %s", c.Name, p.name, status, answer)
	}
	status, answer = p.ask(t, "POST", "/compatibility/subjects/"+subject+"/versions/latest", avro(string(c.Reader)))
	if status == http.StatusUnprocessableEntity {
		return compattest.Refused
	}
	var verdict struct {
		Is *bool `json:"is_compatible"`
	}
	if err := json.Unmarshal(answer, &verdict); status != http.StatusOK || err != nil || verdict.Is == nil {
		t.Errorf("%s: checking with %s: HTTP %d %s", c.Name, p.name, status, answer)
		return ""
	}
	if *verdict.Is {
		return compattest.Compatible
	}
	return compattest.Incompatible
}
