package elasticsearch

import (
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/elastictest"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/ports/portstest"
)

// openAt opens a store on the cluster and closes it with the test.
func openAt(t testing.TB, url string) *Store {
	t.Helper()
	s, err := open(t.Context(), config.Search{URL: url}, 3*time.Minute) // of a starved machine
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore_Conforms(t *testing.T) {
	portstest.SearchStore(t, openAt(t, elastictest.Shared(t)))
}

func TestStore_Outage(t *testing.T) {
	for name, stop := range map[string]func(*elastictest.Server, testing.TB){
		"stopped in order": (*elastictest.Server).Stop, "killed": (*elastictest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			server := elastictest.Start(t)
			s := openAt(t, server.URL)
			portstest.SearchStoreOutage(t, s, portstest.SearchOutage{
				Stop:  func() { stop(server, t) },
				Start: func() ports.SearchStore { server.Restart(t); return s },
			})
		})
	}
}
