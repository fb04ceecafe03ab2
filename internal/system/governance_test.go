package system

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/gateway"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

// nothing of the topics is left to the policies.
func nothing(topology.Difference) bool { return false }

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// An event topic that forgets stops a start. With governance: warn it does not, and the log, /readyz and the metrics
// say so; what nothing can run with stops it all the same.
func TestRun_with_governance_warn(t *testing.T) {
	b := kafkatest.Kfake(t)
	c := settings(t, b, true)
	start := func(governance string, log *programtest.Transcript) (*System, error) {
		c.Governance = governance
		return begin(t, c, log)
	}
	refused := func(governance string, parts ...string) {
		t.Helper()
		s, err := start(governance, &programtest.Transcript{})
		if err == nil {
			_ = s.Stop()
			t.Fatal("it starts")
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("no word of %q in: %v", part, err)
			}
		}
	}
	var log programtest.Transcript
	s, err := start(config.Enforce, &log) // creates the topics
	if err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, s.Endpoints().API+"/metrics"); strings.Contains(body, "nexus_governance_violations{") {
		t.Error("violations are counted where there are none")
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), `msg="the policies are judged"`) || !strings.Contains(log.String(), "left_to_ci=\"blind-spots ") {
		t.Errorf("the log does not say what was judged:\n%s", log.String())
	}
	t.Logf("the gate took %s", s.judging)

	const topic = "shop.order.events"
	admin := kadm.NewClient(b.Client(t))
	alter := func(name, value string) {
		t.Helper()
		resp, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
		if err != nil || resp[0].Err != nil {
			t.Fatal(err, resp)
		}
	}
	client, err := confluent.New(c.Registry)
	if err != nil {
		t.Fatal(err)
	}
	registrytest.SetLevel(t, c.Registry.URL, "shop.stock.StockReceived", "NONE")
	text := twoPartitions().Schemas.Find("shop.stock.StockReceived").Text
	end := strings.LastIndex(text, "]")
	next := text[:end] + `,{"name":"note","type":"string"}` + text[end:]
	if _, err := client.Register(t.Context(), ports.Schema{Subject: "shop.stock.StockReceived", Text: next}); err != nil {
		t.Fatal(err)
	}
	registrytest.SetLevel(t, c.Registry.URL, "shop.stock.StockReceived", "FULL_TRANSITIVE")
	const breaks = "schema shop.stock.StockReceived: schema-evolution: breaks with version 2 in the registry: "
	refused(config.Enforce, breaks)

	alter("retention.ms", "604800000")
	registrytest.SetLevel(t, c.Registry.URL, "shop.order.OrderPlaced", "BACKWARD")
	refused(config.Enforce, "topic shop.order.events has retention.ms=604800000")

	log.Reset()
	if s, err = start(config.Warn, &log); err != nil {
		t.Fatal(err)
	}
	status, body := get(t, s.Endpoints().API+"/readyz")
	var shown struct{ Governance gateway.Governance }
	if err := json.Unmarshal([]byte(body), &shown); err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, v := range shown.Governance.Violations {
		rules = append(rules, v.Rule+" at "+v.Place)
		if v.Severity != policies.Error || v.Detail == "" {
			t.Errorf("%+v", v)
		}
		if n := strings.Count(log.String(), "rule="+v.Rule); n != 1 {
			t.Errorf("%s is logged %d times:\n%s", v.Rule, n, log.String())
		}
	}
	if got := strings.Join(rules, ", "); got != "append-only at broker: topic shop.order.events, registry-compatibility at registry: subject shop.order.OrderPlaced, schema-evolution at schema shop.stock.StockReceived" {
		t.Errorf("violations: %s", got)
	}
	if g := shown.Governance; status != http.StatusOK || g.Mode != config.Warn || !strings.Contains(strings.Join(g.NotJudged, " "), "direct-calls") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if _, body := get(t, s.Endpoints().API+"/metrics"); !strings.Contains(body, `nexus_governance_violations{rule="append-only",severity="error"} 1`) {
		t.Errorf("the metrics do not say so:\n%s", body)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}

	alter("max.message.bytes", "1000")
	refused(config.Warn, "topic shop.order.events has max.message.bytes=1000", "which lets violations of policies pass; this is none")
}

func TestStart_knows_what_governance_can_be(t *testing.T) {
	_, err := Start(t.Context(), twoPartitions(), Config{Data: t.TempDir(), Governance: "off"})
	if err == nil || !strings.Contains(err.Error(), `governance: "off": enforce or warn is wanted`) {
		t.Errorf("error %v", err)
	}
	broken := twoPartitions()
	broken.Aggregates = nil
	_, err = Start(t.Context(), broken, Config{Data: t.TempDir(), Governance: config.Warn, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "topology does not pass") || !strings.Contains(err.Error(), "this is none, nothing can run with it") {
		t.Errorf("a topology with faults: %v", err)
	}
}
