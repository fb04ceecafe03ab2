package search

import (
	"path/filepath"
	"testing"

	"github.com/nexusblueprint/nexus/ports/portstest"
)

// openAt opens the store at path and closes it with the test.
func openAt(t *testing.T, path string) (*Store, Report) {
	t.Helper()
	s, report, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, report
}

func openNew(t *testing.T) *Store {
	t.Helper()
	s, _ := openAt(t, filepath.Join(t.TempDir(), "search.db"))
	return s
}

func TestStore_Conforms(t *testing.T) {
	t.Run("reading small indexes whole", func(t *testing.T) {
		portstest.SearchStore(t, openNew(t))
	})
	t.Run("with column indexes from the first document on", func(t *testing.T) {
		s := openNew(t)
		s.scanMax = 0
		portstest.SearchStore(t, s)
	})
}
