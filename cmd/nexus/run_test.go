package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/embedded/registry"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
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
	c := &cluster{t: t, search: "embedded:", bus: strings.Join(kafka.Addrs, ",")}
	r, err := registry.Open(t.Context(), registry.Config{Listen: "127.0.0.1:0", ClientOpts: []kgo.Opt{kgo.SeedBrokers(c.bus)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	c.registry = r.URL()
	return c
}

// instance is one process of `nexus run`.
type instance struct {
	*cluster
	name, data, file string
	api              string
	cmd              *exec.Cmd
	log              transcript
	done             chan error
}

// instance writes its nexus.yaml; roles as in the file.
func (c *cluster) instance(name, roles string) *instance {
	c.t.Helper()
	dir := c.t.TempDir()
	i := &instance{cluster: c, name: name, data: filepath.Join(dir, "data"), file: filepath.Join(dir, "nexus.yaml")}
	text := fmt.Sprintf("instance: %s\nroles: %s\nlisten: 127.0.0.1:0\ndata: %s\nbus: kafka://%s\nregistry: %s\nsearch: '%s'\n", name, roles, i.data, c.bus, c.registry, c.search)
	if err := os.WriteFile(i.file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if i.cmd != nil {
			i.kill()
		}
		if c.t.Failed() {
			c.t.Logf("log of %s:\n%s", i.name, tail(i.log.String()))
		}
	})
	return i
}

// begin starts the process and does not wait.
func (i *instance) begin(args ...string) *instance {
	i.t.Helper()
	i.cmd = exec.Command(binary, append([]string{"run", "--config", i.file}, args...)...)
	i.log.Reset()
	i.cmd.Stdout, i.cmd.Stderr = &i.log, &i.log
	if err := i.cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(i.cmd, i.done)
	return i
}

// start begins and waits until the instance is ready.
func (i *instance) start(args ...string) *instance {
	i.t.Helper()
	i.begin(args...).ready()
	return i
}

func (i *instance) ready() {
	i.t.Helper()
	i.eventually("it is ready", func() bool {
		var e endpoints
		text, err := os.ReadFile(filepath.Join(i.data, "endpoints.json"))
		if err != nil || json.Unmarshal(text, &e) != nil || e.PID != i.cmd.Process.Pid {
			return false
		}
		i.api = e.API
		return true
	})
}

// eventually polls until f answers true, while the process lives.
func (i *instance) eventually(what string, f func() bool) {
	i.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !f(); wait(10 * time.Millisecond) {
		select {
		case err := <-i.done:
			i.cmd = nil
			i.t.Fatalf("%s ended before %s: %v\n%s", i.name, what, err, tail(i.log.String()))
		default:
		}
		if time.Now().After(deadline) {
			i.t.Fatalf("%s: not within 90 s: %s\n%s", i.name, what, tail(i.log.String()))
		}
	}
}

func (i *instance) kill() {
	_ = i.cmd.Process.Kill()
	<-i.done
	i.cmd = nil
}

// exit waits for the process and returns its exit code.
func (i *instance) exit() int {
	i.t.Helper()
	select {
	case err := <-i.done:
		i.cmd = nil
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		if err != nil {
			i.t.Fatal(err)
		}
		return 0
	case <-time.After(90 * time.Second):
		i.t.Fatalf("%s does not end:\n%s", i.name, tail(i.log.String()))
		return -1
	}
}

func (i *instance) stop() {
	i.t.Helper()
	if err := i.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		i.t.Fatal(err)
	}
	if code := i.exit(); code != 0 {
		i.t.Fatalf("%s ended with %d:\n%s", i.name, code, tail(i.log.String()))
	}
}

// reply is an answer of an API.
type reply struct {
	status int
	body   map[string]any
	text   string
}

func (i *instance) call(method, path, body string, headers ...string) reply {
	i.t.Helper()
	req, err := http.NewRequest(method, i.api+path, strings.NewReader(body))
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
	must(c.t, "schemas", "register", "--registry", c.registry)
}

// One instance with all roles on a real Kafka: it refuses to register schemas,
// takes commands, answers queries, and is checked with the same tools as nexus dev.
func TestRun_one_instance_on_kafka(t *testing.T) {
	c := newCluster(t)
	i := c.instance("a", "gateway,processors,sink")
	i.begin()
	if code := i.exit(); code == 0 || !strings.Contains(i.log.String(), "nexus schemas register --registry "+c.registry) {
		t.Fatalf("without schemas it ended with %d:\n%s", code, i.log.String())
	}
	c.register()
	i.start()
	r := i.receive("22423", "r-1")
	if r.status != http.StatusCreated {
		t.Fatalf("%d %s", r.status, r.text)
	}
	if q := i.call(http.MethodGet, "/api/queries/products/22423?position="+fmt.Sprint(r.body["position"]), ""); q.status != http.StatusOK || q.body["onHand"] != 1.0 {
		t.Errorf("%d %s", q.status, q.text)
	}
	out := must(t, "check", "--server", i.api)
	t.Log(out)
	i.stop()
	if !strings.Contains(i.log.String(), "stopped") {
		t.Errorf("no clean stop:\n%s", tail(i.log.String()))
	}
	i.start()
	if again := i.receive("22423", "r-1"); again.status != http.StatusCreated {
		t.Errorf("the repetition: %d %s", again.status, again.text)
	}
	i.stop()
}
