package program

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/processors"
)

// emptyKafka is a broker that nothing has used, with a registry of other ids than the world's, and the settings of an instance on
// both.
func emptyKafka(t *testing.T) (b *kafkatest.Broker, file string) {
	t.Helper()
	b = kafkatest.Kfake(t, kfake.NumBrokers(3)) // tools are told all of them, in one word
	registry := registrytest.Embedded(t, b.Addrs...)
	client, err := confluent.New(config.Registry{URL: registry})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := client.Register(t.Context(), ports.Schema{Subject: fmt.Sprint("somebody.elses", i), Text: fmt.Sprintf(`{"type":"fixed","name":"f%d","size":1}`, i)}); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(t.TempDir(), "nexus.yaml")
	text := fmt.Sprintf("instance: one\nlisten: 127.0.0.1:0\ndata: %s\nbus: kafka://%s\nregistry: %s\n", filepath.Join(t.TempDir(), "data"), strings.Join(b.Addrs, ","), registry)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return b, file
}

// instanceOf runs on the settings of a file until stop.
func instanceOf(t *testing.T, file string) (e system.Endpoints, stop func()) {
	t.Helper()
	settings, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := system.Run(context.Background(), testTopology(), *settings, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s.Endpoints(), stop
}

// sendAs sends a command under an id and returns the answer.
func sendAs(t *testing.T, api, id, name, body string) (header http.Header, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api+"/api/commands/"+name, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", id)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s %s, %v", name, resp.Status, text, err)
	}
	return resp.Header, string(text)
}

func TestEventsImport_onto_Kafka(t *testing.T) {
	const body = `{"sku":"moved","description":"MUG","quantity":3,"reference":"once"}`
	_, first := sendAs(t, world.API, "moved-1", "ReceiveStock", body)
	dir := exported(t)
	want := documents(t, world.API)
	b, file := emptyKafka(t)
	nx(t, "events", "import", dir, "--config", file).is(t, 0).has(t, "are whole and fit this program", "imported onto kafka://")
	topics, err := kadm.NewClient(b.Client(t)).ListTopics(t.Context())
	if err != nil || topics.Has(testTopology().Importing()) {
		t.Errorf("the import leaves %v, error %v", topics.Names(), err)
	}

	e, stop := instanceOf(t, file)
	nx(t, "check", "--server", e.API, "--config", file).is(t, 0)
	got := documents(t, e.API)
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s differs:\n%s\nwant\n%s", name, strings.Join(got[name], "\n"), strings.Join(want[name], "\n"))
		}
	}
	again := filepath.Join(t.TempDir(), "again")
	nx(t, "events", "export", again, "--server", e.API).is(t, 0)
	for _, a := range testTopology().Aggregates {
		if before, after := readFile(t, dir, a.Name()), readFile(t, again, a.Name()); !bytes.Equal(before, after) {
			t.Errorf("%s: %d bytes come back as %d others", a.Name(), len(before), len(after))
		}
	}
	t.Run("which answers a command that is sent again as it was answered before", func(t *testing.T) {
		header, second := sendAs(t, e.API, "moved-1", "ReceiveStock", body)
		upToPosition := func(answer string) string { head, _, _ := strings.Cut(answer, `"position"`); return head }
		if header.Get("Idempotency-Replayed") != "true" || upToPosition(second) != upToPosition(first) {
			t.Errorf("answered with\n%s%v\nat first\n%s", second, header, first)
		}
	})
	t.Run("and is refused while an instance runs", func(t *testing.T) {
		session, _ := processors.Timeouts()
		nx(t, "events", "import", dir, "--config", file).is(t, 1).has(t, "group shop.order has 1 members",
			fmt.Sprintf("until their sessions are over (%g s)", session.Seconds()), "topic shop.order.events holds records")
	})
	stop()
	t.Run("and where one has run", func(t *testing.T) {
		nx(t, "events", "import", dir, "--config", file).is(t, 1).has(t, "topic shop.order.events holds records", "an import makes a new system and adds to none")
	})
}

// Nothing starts on half a log.
func TestEventsImport_onto_Kafka_keeps_instances_away_until_it_is_complete(t *testing.T) {
	dir := exported(t)
	b, file := emptyKafka(t)
	if _, err := kadm.NewClient(b.Client(t)).CreateTopic(t.Context(), 1, 1, nil, testTopology().Importing()); err != nil {
		t.Fatal(err)
	}
	nx(t, "schemas", "register", "--config", file).is(t, 0)
	nx(t, "run", "--config", file).is(t, 1).has(t, "an import has begun and is not complete", "run nexus events import again")
	nx(t, "doctor", "--config", file).is(t, 1).has(t, "an import has begun and is not complete")
	nx(t, "events", "import", dir, "--config", file).is(t, 0)
	e, _ := instanceOf(t, file)
	nx(t, "check", "--server", e.API).is(t, 0)
}

func TestEventsImport_onto_Kafka_refuses_what_does_not_fit(t *testing.T) {
	dir := exported(t)
	b, file := emptyKafka(t)
	t.Run("topics of another topology", func(t *testing.T) {
		admin := kadm.NewClient(b.Client(t))
		if _, err := admin.CreateTopic(t.Context(), 5, 1, nil, "shop.order.events"); err != nil {
			t.Fatal(err)
		}
		nx(t, "events", "import", dir, "--config", file).is(t, 1).has(t, "topic shop.order.events has 5 partitions")
		if topics, err := admin.ListTopics(t.Context()); err != nil || topics.Has("shop.stock.events") {
			t.Errorf("topics %v, error %v", topics.Names(), err)
		}
	})
	t.Run("a configuration of the embedded broker", func(t *testing.T) {
		empty := filepath.Join(t.TempDir(), "nexus.yaml")
		if err := os.WriteFile(empty, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		nx(t, "events", "import", dir, "--config", empty).is(t, 2).has(t, "names the embedded broker")
		nx(t, "events", "import", dir, "--config", file, "--data", t.TempDir()).is(t, 2)
	})
}
