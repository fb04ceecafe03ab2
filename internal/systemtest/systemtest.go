// Package systemtest runs whole systems, as `nexus dev` does, in the process of a test.
package systemtest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/topology"
)

// Start runs a system on a data folder until the test ends.
func Start(t testing.TB, top *topology.Topology, data string) system.Endpoints {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := system.Start(ctx, top, system.Config{
		Data: data, Listen: "127.0.0.1:0", BusListen: "127.0.0.1:0", RegistryListen: "127.0.0.1:0", Version: "test",
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s.Endpoints()
}
