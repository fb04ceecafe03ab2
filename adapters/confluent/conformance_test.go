package confluent

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/embedded/registry"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/ports/portstest"
)

func TestRegistry_embedded(t *testing.T) {
	e := startEmbedded(t)
	conforms(t, e.url, e.stop, e.start)
}

func TestRegistry_Apicurio(t *testing.T) {
	s := registrytest.Apicurio(t)
	conforms(t, s.URL, s.Stop, s.Start)
}

func conforms(t *testing.T, url string, stop, start func(testing.TB)) {
	t.Helper()
	portstest.SchemaRegistry(t, connect(t, config.Registry{URL: url}), portstest.RegistryServer{
		SetLevel: func(t testing.TB, subject string, level ports.Level) {
			t.Helper()
			registrytest.SetLevel(t, url, subject, string(level))
		},
		Stop: stop, Start: start,
	})
}

func connect(t testing.TB, cfg config.Registry) *Registry {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// embedded is the laptop's registry, on a broker that outlives it.
type embedded struct {
	broker  *kfake.Cluster
	running *registry.Registry
	url     string
}

func startEmbedded(t *testing.T) *embedded {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	e := &embedded{broker: c}
	e.start(t)
	t.Cleanup(func() { e.stop(t) })
	return e
}

func (e *embedded) start(t testing.TB) {
	t.Helper()
	r, err := registry.Open(t.Context(), registry.Config{
		Listen: strings.TrimPrefix(e.url, "http://"), ClientOpts: []kgo.Opt{kgo.SeedBrokers(e.broker.ListenAddrs()...)},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.running, e.url = r, r.URL()
}

func (e *embedded) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.running.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
