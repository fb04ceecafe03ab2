package system

import (
	"context"

	"github.com/nexusblueprint/nexus/adapters/embedded/search"
	"github.com/nexusblueprint/nexus/internal/config"
)

// openSearch opens the search store, where a role reads or writes it.
func (s *System) openSearch(ctx context.Context) error {
	if !s.settings.Has(config.Gateway) && !s.settings.Has(config.Sink) {
		return nil
	}
	if s.settings.Search.Embedded() {
		return s.openEmbeddedSearch(ctx)
	}
	store, stop, err := OpenSearch(ctx, s.settings.Search)
	if err != nil {
		return err
	}
	s.onStop(stop)
	s.search = store
	return nil
}

func (s *System) openEmbeddedSearch(ctx context.Context) error {
	store, report, err := search.Open(ctx, search.Config{Path: s.dir.Path("search.db"), Logger: s.logger})
	if err != nil {
		return err
	}
	s.onStop(store.Close)
	s.search = store
	if report.Recreated && !s.dir.New {
		s.logger.Warn("the search store is filled anew from the tables", "reason", report.Reason)
	}
	return nil
}
