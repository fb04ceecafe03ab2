package registrytest

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/embedded/registry"
)

// Embedded starts an embedded registry that keeps its schemas on these brokers and ends with the test. It returns the
// base address of its API.
func Embedded(t testing.TB, brokers ...string) (url string) {
	t.Helper()
	r, err := registry.Open(t.Context(), registry.Config{ClientOpts: []kgo.Opt{kgo.SeedBrokers(brokers...)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return r.URL()
}
