package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
)

// cluster is what instances share: a Kafka of the test's own, and a registry on it.
type cluster struct {
	t        *testing.T
	bus      string
	registry string
	search   string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	return newClusterOn(t, kafkatest.Dedicated(t))
}

func newClusterOn(t *testing.T, kafka *kafkatest.Cluster) *cluster {
	t.Helper()
	return &cluster{t: t, search: "embedded:", bus: strings.Join(kafka.Addrs, ","), registry: registrytest.Embedded(t, kafka.Addrs...)}
}

// instance is a name under which processes of `nexus run` run.
type instance struct {
	*programtest.Process
	*cluster
}

// instance writes its nexus.yaml; roles as in the file.
func (c *cluster) instance(name, roles string) *instance {
	c.t.Helper()
	return &instance{cluster: c, Process: programtest.Instance(c.t, c.t.TempDir(), name, programtest.Settings{
		"roles": roles, "bus": "kafka://" + c.bus, "registry": c.registry, "search": c.search,
	})}
}

// start begins an instance and waits until it is ready.
func (c *cluster) start(t *testing.T, name, roles string, args ...string) *instance {
	t.Helper()
	i := c.instance(name, roles)
	i.Start(t, args...)
	return i
}

// reply is an answer of an API.
type reply struct {
	status int
	body   map[string]any
	text   string
}

func (i *instance) call(method, path, body string, headers ...string) reply {
	i.t.Helper()
	req, err := http.NewRequest(method, i.API()+path, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for h := 0; h < len(headers); h += 2 {
		req.Header.Set(headers[h], headers[h+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{text: err.Error()}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{text: err.Error()}
	}
	r := reply{status: resp.StatusCode, text: string(text)}
	_ = json.Unmarshal(text, &r.body)
	return r
}

// receive posts a stock receipt of one piece.
func (i *instance) receive(sku, id string) reply {
	i.t.Helper()
	return i.call(http.MethodPost, "/api/commands/ReceiveStock", fmt.Sprintf(`{"sku":%q,"description":"MUG","quantity":1,"reference":%q}`, sku, id), "Idempotency-Key", id)
}

func (c *cluster) register() {
	c.t.Helper()
	programtest.Must(c.t, "schemas", "register", "--registry", c.registry)
}

// One instance with all roles on a real Kafka: it refuses to register schemas,
// takes commands, answers queries, and is checked with the same tools as nexus dev.
func TestRun_one_instance_on_kafka(t *testing.T) {
	c := newCluster(t)
	i := c.instance("a", "gateway,processors,sink")
	i.Begin(t)
	if code := i.Exit(t); code == 0 || !strings.Contains(i.Log.String(), "nexus schemas register --registry "+c.registry) {
		t.Fatalf("without schemas it ended with %d:\n%s", code, i.Log.String())
	}
	c.register()
	i.Start(t)
	r := i.receive("22423", "r-1")
	if r.status != http.StatusCreated {
		t.Fatalf("%d %s", r.status, r.text)
	}
	if q := i.call(http.MethodGet, "/api/queries/products/22423?position="+fmt.Sprint(r.body["position"]), ""); q.status != http.StatusOK || q.body["onHand"] != 1.0 {
		t.Errorf("%d %s", q.status, q.text)
	}
	out := programtest.Must(t, "check", "--server", i.API())
	t.Log(out)
	i.Stop(t)
	if !strings.Contains(i.Log.String(), "stopped") {
		t.Errorf("no clean stop:\n%s", programtest.Tail(i.Log.String()))
	}
	i.Start(t)
	if again := i.receive("22423", "r-1"); again.status != http.StatusCreated {
		t.Errorf("the repetition: %d %s", again.status, again.text)
	}
	i.Stop(t)
}
