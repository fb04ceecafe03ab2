package system

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

func twoPartitions() *topology.Topology {
	t := shop.Topology()
	t.Partitions = 2
	return t
}

// settings of an instance on a broker, with a registry of its own on that broker.
func settings(t *testing.T, b *kafkatest.Broker, registered bool) config.Config {
	t.Helper()
	c := *config.Default()
	c.Roles, c.Listen, c.Data, c.Instance = []string{config.Processors}, "127.0.0.1:0", t.TempDir(), "one"
	c.Bus.URL, c.Registry.URL = "kafka://"+strings.Join(b.Addrs, ","), registrytest.Embedded(t, b.Addrs...)
	if registered {
		client, err := confluent.New(c.Registry)
		if err != nil {
			t.Fatal(err)
		}
		if err := serde.New(client, twoPartitions()).Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func begin(t *testing.T, c config.Config, log *programtest.Transcript) (*System, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	return Run(ctx, twoPartitions(), c, "test", slog.New(slog.NewTextHandler(log, nil)))
}

// What is wrong with a provider stops the start, in words that say what to do.
func TestRun_says_why_it_does_not_start(t *testing.T) {
	refused := func(t *testing.T, c config.Config, parts ...string) {
		t.Helper()
		s, err := begin(t, c, &programtest.Transcript{})
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
	b := kafkatest.Kfake(t)
	c := settings(t, b, true)

	t.Run("schemas are missing", func(t *testing.T) {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error_code":40403,"message":"no such schema"}`)
		}))
		defer other.Close()
		c := c
		c.Registry.URL = other.URL
		refused(t, c, "nexus schemas register --registry "+other.URL, "shop.order.OrderPlaced")
		c.Governance = config.Warn
		refused(t, c, "nexus schemas register --registry "+other.URL, "governance is warn, which lets violations of policies pass; this is none")
	})
	t.Run("no broker answers", func(t *testing.T) {
		c := c
		c.Bus.URL = "kafka://127.0.0.1:1"
		refused(t, c, "no broker answers at 127.0.0.1:1")
	})
	t.Run("the broker is too old", func(t *testing.T) {
		old := settings(t, kafkatest.Kfake(t, kfake.MaxVersions(kversion.V3_9_0())), true)
		refused(t, old, "transaction.version is 0 and exactly-once needs 2", "use Kafka 4.0 or newer", "bus.allowTransactionV1")
		old.Bus.AllowTransactionV1 = true
		var log programtest.Transcript
		s, err := begin(t, old, &log)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(log.String(), "bus.allowTransactionV1 accepts that") {
			t.Errorf("no warning:\n%s", log.String())
		}
	})
	t.Run("a topic has other settings", func(t *testing.T) {
		admin := kadm.NewClient(b.Client(t))
		if _, err := admin.CreateTopic(t.Context(), 3, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, "shop.order.events"); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := admin.DeleteTopics(context.Background(), "shop.order.events"); err != nil {
				t.Error(err)
			}
		}()
		refused(t, c, "topic shop.order.events has 3 partitions", "cleanup.policy=compact")
	})
	t.Run("the registry checks nothing", func(t *testing.T) {
		registrytest.SetLevel(t, c.Registry.URL, "", "NONE")
		defer registrytest.SetLevel(t, c.Registry.URL, "", "FULL_TRANSITIVE")
		refused(t, c, "governance does not pass", "registry: subject shop.order.OrderPlaced: registry-compatibility: has the level NONE: set BACKWARD_TRANSITIVE or FULL_TRANSITIVE", "--governance=warn")
		registrytest.SetLevel(t, c.Registry.URL, "", "BACKWARD")
		refused(t, c, "registry: subject shop.order.OrderPlaced: registry-compatibility: has the level BACKWARD")
	})
	t.Run("no search store answers, or one of another release", func(t *testing.T) {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Elastic-Product", "Elasticsearch")
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"version":{"number":"6.8.23","build_flavor":"default"},"tagline":"You Know, for Search"}`)
		}))
		defer other.Close()
		c := c
		c.Roles, c.Search.URL = []string{config.Sink}, "elasticsearch+"+other.URL
		refused(t, c, "search store "+other.URL, "6.8.23")
		c.Search.URL = "elasticsearch+http://127.0.0.1:1"
		refused(t, c, "search store http://127.0.0.1:1")
	})
	t.Run("the data folder is in use", func(t *testing.T) {
		s, err := begin(t, c, &programtest.Transcript{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		}()
		refused(t, c, "is held by process")
	})
}

// More instances than partitions: what is left over is ready, and takes over.
func TestRun_a_spare_instance_is_ready(t *testing.T) {
	c := settings(t, kafkatest.Dedicated(t).Broker, true)
	var all []*System
	for _, name := range []string{"one", "two", "three"} {
		c.Instance, c.Data = name, t.TempDir()
		s, err := begin(t, c, &programtest.Transcript{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, s)
	}
	for _, s := range all { // the last to join made the others recover once more
		kafkatest.Eventually(t, time.Minute, s.settings.Instance+" is ready", func() bool {
			resp, err := http.Get(s.Endpoints().API + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	}
	for _, s := range all {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
}
