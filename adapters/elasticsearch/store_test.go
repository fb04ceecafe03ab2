package elasticsearch

import (
	"testing"

	"github.com/nexusblueprint/nexus/internal/elastictest"
	"github.com/nexusblueprint/nexus/ports/portstest"
)

// openAt opens a store on the cluster and closes it with the test.
func openAt(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{URLs: []string{url}})
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
