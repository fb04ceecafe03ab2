package serde

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// TestSerde_onApicurio takes the platform's schemas to a real registry: registered by one process, loaded by another,
// and in use while the registry is away.
func TestSerde_onApicurio(t *testing.T) {
	server := registrytest.Apicurio(t)
	registry, err := confluent.New(config.Registry{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	running := New(registry, program)
	if err := running.Load(t.Context()); !errors.Is(err, ErrNotRegistered) {
		t.Fatalf("loading from an empty registry: %v", err)
	}
	if err := New(registry, program).Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := running.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := running.CheckLevels(t.Context()); err != nil {
		t.Errorf("a registry at BACKWARD_TRANSITIVE: %v", err)
	}
	const name = "other.Thing"
	thing, err := registry.Register(t.Context(), ports.Schema{Subject: name, Text: `{"type":"record","name":"` + name + `","fields":[{"name":"a","type":"int"}]}`})
	if err != nil {
		t.Fatal(err)
	}

	server.Stop(t)
	framed, err := running.Append(nil, order())
	if err != nil {
		t.Errorf("framing without the registry: %v", err)
	}
	var back retail.OrderPlaced
	if err := running.Decode(framed, &back); err != nil || !reflect.DeepEqual(&back, order()) {
		t.Errorf("decoding without the registry: %+v, %v", back, err)
	}
	if _, err := running.JSON(frame(thing, []byte{2})); !errors.Is(err, ErrRegistry) {
		t.Errorf("an id never read before: %v, want: %v", err, ErrRegistry)
	}
	if err := running.CheckLevels(t.Context()); !errors.Is(err, ErrRegistry) {
		t.Errorf("asking for levels: %v, want: %v", err, ErrRegistry)
	}
	server.Start(t)

	if body, err := running.JSON(frame(thing, []byte{2})); err != nil || string(body) != `{"a":1}` {
		t.Errorf("the id after the restart: %s, %v", body, err)
	}
	again := New(registry, program)
	if err := again.Load(t.Context()); err != nil || !reflect.DeepEqual(again.known.Load().ids, running.known.Load().ids) {
		t.Errorf("ids after the restart: %v\n%v\nbefore\n%v", err, again.known.Load().ids, running.known.Load().ids)
	}
}

func TestSerde_judgesTheLevels(t *testing.T) {
	server := registrytest.Apicurio(t)
	registry, err := confluent.New(config.Registry{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s := New(registry, program)
	if err := s.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer registrytest.SetLevel(t, server.URL, "", "BACKWARD_TRANSITIVE")
	for _, c := range []struct {
		level string
		want  error
	}{{"BACKWARD_TRANSITIVE", nil}, {"FULL_TRANSITIVE", nil}, {"BACKWARD", ErrWeakLevel}, {"FORWARD_TRANSITIVE", ErrWeakLevel}, {"NONE", ErrNoLevel}} {
		registrytest.SetLevel(t, server.URL, "", c.level)
		if err := s.CheckLevels(t.Context()); !errors.Is(err, c.want) || (c.want == nil && err != nil) {
			t.Errorf("%s: %v, want: %v", c.level, err, c.want)
		}
	}
	registrytest.SetLevel(t, server.URL, "", "BACKWARD_TRANSITIVE")
	registrytest.SetLevel(t, server.URL, "shop.order.OrderPlaced", "FORWARD")
	registrytest.SetLevel(t, server.URL, "shop.order.OrderCancelled", "NONE")
	err = s.CheckLevels(t.Context())
	if !errors.Is(err, ErrWeakLevel) || !errors.Is(err, ErrNoLevel) ||
		!strings.Contains(err.Error(), "shop.order.OrderPlaced (FORWARD)") || !strings.Contains(err.Error(), "shop.order.OrderCancelled") {
		t.Errorf("two subjects with levels of their own: %v", err)
	}
}
