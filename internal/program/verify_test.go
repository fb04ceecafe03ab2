package program

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/policies"
)

// folder writes files, by their paths, and returns where they are.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// calling is a module with one violation, at order.go:5.
func calling() map[string]string {
	return map[string]string{
		"go.mod":   "module example.com/shop\n\ngo 1.26\n",
		"order.go": "package shop\n\nimport \"net/http\"\n\nvar _, _ = http.Get(\"http://stock/reserve\")\n",
	}
}

func with(files map[string]string, name, text string) map[string]string {
	files[name] = text
	return files
}

const theCall = "order.go:5: direct-calls: example.com/shop opens a connection of its own with net/http.Get"

// verified runs nexus verify and compares exit code and what is said.
func verified(t *testing.T, code int, want string, args ...string) string {
	t.Helper()
	out, got := nexus(t, append([]string{"verify"}, args...)...)
	if got != code || !strings.Contains(out, want) {
		t.Errorf("nexus verify %q: exit code %d, want %d and %q:\n%s", args, got, code, want, out)
	}
	return out
}

func TestVerify_judges_this_repository_and_finds_a_call_that_goes_past_the_platform(t *testing.T) {
	verified(t, 0, "19 rules judged, 0 violations", "../..")
	dir := folder(t, calling())
	verified(t, 1, theCall, dir)
	verified(t, 2, "no Go module", filepath.Join(dir, "nothing"))
	verified(t, 2, "is a file: name the folder of a Go module", "verify_test.go")
}

func TestVerify_judges_against_a_registry(t *testing.T) {
	verified(t, 0, "19 rules judged, 0 violations", "../..", "--registry", world.Registry)
	verified(t, 2, "http://127.0.0.1:1", folder(t, map[string]string{"go.mod": "module example.com/shop\n\ngo 1.26\n", "shop.go": "package shop\n"}), "--registry", "http://127.0.0.1:1")
}

// The embedded broker is in the process that runs on it; its registry may be a server.
func TestVerify_judges_the_registry_of_a_configuration_with_an_embedded_broker(t *testing.T) {
	config := filepath.Join(folder(t, map[string]string{"nexus.yaml": "registry: " + world.Registry + "\n"}), "nexus.yaml")
	module := folder(t, map[string]string{"go.mod": "module example.com/shop\n\ngo 1.26\n", "shop.go": "package shop\n"})
	out := verified(t, 0, " 0 violations", module, "--config", config)
	if strings.Contains(out, "no broker answers") || strings.Contains(out, "not judged here: registry-compatibility") {
		t.Errorf("%s", out)
	}
}

// The broker that a configuration names is judged by the rules that judge deploy files. What it does not tell is said;
// where nobody answers, the rest is judged all the same, and the exit code says that it is not all.
func TestVerify_judges_the_broker_of_a_configuration(t *testing.T) {
	module := folder(t, map[string]string{"go.mod": "module example.com/shop\n\ngo 1.26\n", "shop.go": "package shop\n"})
	b := kafkatest.Kfake(t)
	b.Fake.ControlKey(int16(kmsg.DescribeACLs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
		resp.ErrorCode = kerr.SecurityDisabled.Code // as Kafka does without an authorizer
		return resp, nil, true
	})
	config := configured(t, "kafka://"+b.Addrs[0], "127.0.0.1:0", "")
	const gap = "could not judge by live.acls: event-access: the broker has no authorizer, so whoever reaches it may write and delete events"
	verified(t, 0, gap, module, "--config", config)
	if _, err := kadm.NewClient(b.Client(t)).CreateTopic(t.Context(), 5, 1, map[string]*string{"retention.ms": kadm.StringPtr("1000")}, "shop.order.events"); err != nil {
		t.Fatal(err)
	}
	junit, sarif := filepath.Join(t.TempDir(), "verify.xml"), filepath.Join(t.TempDir(), "verify.sarif")
	out := verified(t, 1, gap, module, "--config", config, "--junit", junit, "--sarif", sarif)
	for _, want := range []string{"broker: topic shop.order.events: append-only: ", "broker: topic shop.order.events: kept-partitions: has 5 partitions", "broker: topic shop.dlq: dead-letters: is not there"} {
		if !strings.Contains(out, want) {
			t.Errorf("no word of %q in:\n%s", want, out)
		}
	}
	for file, want := range map[string]string{junit: `<skipped message="` + gap, sarif: gap} {
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %q: %v\n%s", file, want, err, text)
		}
	}

	nobody := configured(t, "kafka://127.0.0.1:1", "127.0.0.1:0", "")
	out = verified(t, 2, "could not judge by live.acls: event-access: no broker answers at 127.0.0.1:1", module, "--config", nobody)
	if !strings.Contains(out, "could not judge by live.topics: append-only, dead-letters, declared-topics, kept-partitions: ") || !strings.Contains(out, " 0 violations") {
		t.Errorf("%s", out)
	}
	verified(t, 1, theCall, folder(t, calling()), "--config", nobody)
	verified(t, 2, "bus.password does not belong into this file", module, "--config", filepath.Join(folder(t, map[string]string{"nexus.yaml": "bus: {url: 'kafka://a:1', user: u, password: hush}\nregistry: http://r\n"}), "nexus.yaml"))
}

func TestVerify_writes_reports_besides_the_text(t *testing.T) {
	dir := folder(t, calling())
	sarif, junit := filepath.Join(dir, "verify.sarif"), filepath.Join(dir, "verify.xml")
	verified(t, 1, theCall, dir, "--sarif", sarif, "--junit", junit)

	var report struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID, Level string
				Message       struct{ Text string }
				Locations     []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
			}
		}
	}
	text, err := os.ReadFile(sarif)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	if report.Version != "2.1.0" || len(report.Runs) != 1 || len(report.Runs[0].Results) != 1 || len(report.Runs[0].Tool.Driver.Rules) != 19 {
		t.Fatalf("%s", text)
	}
	result := report.Runs[0].Results[0]
	at := result.Locations[0].PhysicalLocation
	if result.RuleID != "direct-calls" || result.Level != "error" || !strings.HasSuffix(at.ArtifactLocation.URI, "/order.go") || at.Region.StartLine != 5 {
		t.Errorf("%+v", result)
	}

	var suites struct {
		Failures int `xml:"failures,attr"`
		Suite    struct {
			Cases []struct {
				Name    string  `xml:"name,attr"`
				Failure *string `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if text, err = os.ReadFile(junit); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(text, &suites); err != nil {
		t.Fatal(err)
	}
	if suites.Failures != 1 || len(suites.Suite.Cases) != 19 {
		t.Errorf("%s", text)
	}
	for _, c := range suites.Suite.Cases {
		if failed := c.Failure != nil; failed != strings.HasPrefix(c.Name, "direct-calls: ") || failed && !strings.Contains(*c.Failure, "order.go:5: ") {
			t.Errorf("%+v", c)
		}
	}
}

// Nothing is judged for a report that cannot be written, and what is judged is said whatever becomes of the report.
func TestVerify_opens_its_reports_first(t *testing.T) {
	dir := folder(t, calling())
	for _, flag := range []string{"--sarif", "--junit"} {
		out := verified(t, 2, flag+": open "+filepath.Join(dir, "no", "folder")+": no such file or directory: name a file in a folder that is there", dir, flag, filepath.Join(dir, "no", "folder"))
		if strings.Contains(out, theCall) {
			t.Errorf("it was judged:\n%s", out)
		}
		if out := verified(t, 2, "writing the verdict: write /dev/full: no space left on device", dir, flag, "/dev/full"); !strings.Contains(out, theCall) {
			t.Errorf("no verdict:\n%s", out)
		}
	}

	report, link := filepath.Join(dir, "report"), filepath.Join(dir, "link")
	if err := os.WriteFile(report, []byte("of another run, longer than any report of this one could not be"+strings.Repeat(".", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(report, link); err != nil {
		t.Fatal(err)
	}
	verified(t, 2, "--sarif and --junit name one file", dir, "--sarif", report, "--junit", report)
	fresh := filepath.Join(dir, "fresh") // an empty file is no report, and what stood there before is of another run
	for _, before := range []string{"", "of another run"} {
		if before != "" {
			if err := os.WriteFile(fresh, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		verified(t, 2, "no Go module", filepath.Join(dir, "nothing"), "--sarif", fresh)
		if _, err := os.Stat(fresh); !os.IsNotExist(err) {
			t.Errorf("a report of nothing: %v", err)
		}
	}
	verified(t, 2, "--sarif and --junit name one file", dir, "--sarif", report, "--junit", link)
	if info, err := os.Stat(report); err != nil || info.Size() < 1<<20 {
		t.Errorf("what stood there is gone: %v", err)
	}
	verified(t, 1, theCall, dir, "--junit", report)
	if text, err := os.ReadFile(report); err != nil || xml.Unmarshal(text, new(struct{})) != nil || strings.HasSuffix(string(text), ".") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestVerify_lets_pass_what_is_waived_until_the_waiver_expires(t *testing.T) {
	waiver := func(expires string) string {
		return "waivers:\n- rule: direct-calls\n  place: order.go\n  reason: moves to the saga\n  owner: sales\n  expires: " + expires + "\n"
	}
	verified(t, 0, "waived until 9999-12-31 by sales: "+theCall, folder(t, with(calling(), "nexus-waivers.yaml", waiver("9999-12-31"))))
	verified(t, 1, "(its waiver, of sales, expired on 2020-01-31)", folder(t, with(calling(), "nexus-waivers.yaml", waiver("2020-01-31"))))
	verified(t, 0, "19 rules judged", folder(t, with(calling(), "elsewhere.yaml", waiver("9999-12-31"))), "--waivers", filepath.Join(folder(t, with(calling(), "w", waiver("9999-12-31"))), "w"))
	clean := map[string]string{"go.mod": "module example.com/shop\n\ngo 1.26\n", "shop.go": "package shop\n", "nexus-waivers.yaml": waiver("9999-12-31")}
	verified(t, 0, "a waiver of direct-calls, of sales, covers nothing: take it out", folder(t, clean))
	verified(t, 2, `expires is "soon"`, folder(t, with(calling(), "nexus-waivers.yaml", waiver("soon"))))
	verified(t, 2, "reading the waivers", folder(t, calling()), "--waivers", "no-such-file")
}

func TestVerify_asks_rules_of_the_users_own(t *testing.T) {
	const metadata = "# METADATA\n# title: packages have short names\n# custom:\n#   severity: error\n#   needs: [source]\n#   remedy: Choose a shorter name.\n"
	rule := metadata + "package nexus.rules.short_names\n\nviolations contains {\"place\": p.path, \"detail\": \"its name is too long\"} if {\n\tsome p in input.source.packages\n\tcount(p.path) > 10\n}\n"
	dir := folder(t, map[string]string{"go.mod": "module example.com/shop\n\ngo 1.26\n", "shop.go": "package shop\n"})
	verified(t, 0, "19 rules judged", dir)
	verified(t, 1, "example.com/shop: short-names: its name is too long", dir, "--policies", folder(t, map[string]string{"mine/short.rego": rule}))
	verified(t, 0, "short-names (error, needs source): packages have short names", dir, "--rules", "--policies", folder(t, map[string]string{"short.rego": rule}))

	verified(t, 2, "--policies is empty", dir, "--policies", "")

	for want, text := range map[string]string{
		"no METADATA with a title":             strings.Replace(rule, "# title", "# description", 1),
		"custom.severity is fatal":             strings.Replace(rule, "error", "fatal", 1),
		`custom.needs has "sources"`:           strings.Replace(rule, "[source]", "[sources]", 1),
		"no custom.remedy":                     strings.Replace(rule, "#   remedy: Choose a shorter name.\n", "", 1),
		"there is a rule owners already":       strings.Replace(rule, "short_names", "owners", 1),
		"a violation has a detail":             strings.Replace(rule, `"detail"`, `"text"`, 1),
		"has no set named violations":          strings.Replace(rule, "violations contains", "findings contains", 1),
		"http.send":                            strings.Replace(rule, "count(p.path) > 10", `http.send({"method": "get", "url": "http://x"}).status_code == 200`, 1),
		"rego_parse_error":                     strings.Replace(rule, "} if {", "} if", 1),
		"a rule's package is nexus.rules.<id>": strings.Replace(rule, "short_names", "short.names", 1),
		"packages nexus.rules.<id> there":      strings.Replace(rule, "nexus.rules.", "nexus.rule.", 1),
		"there is no rule in /":                "",
	} {
		files := map[string]string{"short.rego": text}
		if text == "" {
			files = map[string]string{"README": "none"}
		}
		verified(t, 2, want, dir, "--policies", folder(t, files))
	}
}

func TestVerify_shows_a_warning_and_passes(t *testing.T) {
	dir := folder(t, map[string]string{"go.mod": "module example.com/shop\n\ngo 1.26\n", "shop.go": "package shop\n", "deploy/broken.yaml": "a: b\n  c: d\n"})
	out := verified(t, 0, "deploy/broken.yaml:2: warning: readable-deploy-files: is not judged: ", dir)
	if !strings.Contains(out, "19 rules judged, 0 violations") {
		t.Errorf("a warning counts: %s", out)
	}
}

func TestVerify_prints_the_facts(t *testing.T) {
	dir := folder(t, with(calling(), "compose.yaml", "services:\n  order: {image: order}\n"))
	out := verified(t, 0, "", dir, "--facts")
	var facts struct {
		Version  string
		Topology struct{ Context string }
		Source   struct {
			Packages []struct{ Calls []struct{ Call string } }
		}
		Deploy struct{ Workloads []struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(out), &facts); err != nil {
		t.Fatal(err)
	}
	if facts.Version != policies.FactsVersion || facts.Topology.Context != "shop" || facts.Source.Packages[0].Calls[0].Call != "net/http.Get" || facts.Deploy.Workloads[0].Name != "order" {
		t.Errorf("%s", out)
	}
}

func TestVerify_prints_the_facts_of_a_broker_and_no_secret(t *testing.T) {
	b := kafkatest.Kfake(t)
	t.Setenv("NEXUS_SEARCH_API_KEY", "hush")
	file := configured(t, "{url: 'kafka://"+b.Addrs[0]+"', principals: 'processors, User:sink', breakGlass: [rescue]}", "127.0.0.1:0", "search: elasticsearch+http://127.0.0.1:1\n")
	out := verified(t, 0, "", folder(t, map[string]string{"go.mod": "module example.com/shop\n\ngo 1.26\n", "shop.go": "package shop\n"}), "--facts", "--config", file)
	var facts struct {
		Configuration struct {
			Settings   map[string]struct{ Value, From string }
			Principals struct{ Platform, BreakGlass []string }
		}
		Live struct {
			Topics  map[string]any
			Broker  struct{ Brokers int }
			ACLs    []any
			Unknown []any
		}
	}
	if err := json.Unmarshal([]byte(out), &facts); err != nil {
		t.Fatal(err)
	}
	c, live := facts.Configuration, facts.Live
	if strings.Contains(out, "hush") || c.Settings["search.apiKey"].From != "NEXUS_SEARCH_API_KEY" || c.Settings["roles"].Value != "processors" || c.Settings["roles"].From != file+":2:8" || c.Settings["governance"].From != "default" {
		t.Errorf("settings: %v", c.Settings)
	}
	if got := strings.Join(append(c.Principals.Platform, c.Principals.BreakGlass...), " "); got != "User:processors User:sink User:rescue" {
		t.Errorf("principals: %s", got)
	}
	if live.Topics == nil || live.Broker.Brokers != 1 || live.ACLs == nil || len(live.Unknown) != 0 {
		t.Errorf("%+v", live)
	}
}
