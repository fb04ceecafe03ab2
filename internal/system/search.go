package system

import (
	"context"
	"fmt"

	"github.com/nexusblueprint/nexus/adapters/elasticsearch"
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
	store, err := OpenSearch(ctx, s.settings.Search)
	if err != nil {
		return err
	}
	s.onStop(store.Close)
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

// OpenSearch reaches a search store that others run.
func OpenSearch(ctx context.Context, cfg config.Search) (*elasticsearch.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	store, err := elasticsearch.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("search store %s: %w", cfg.HTTP(), err)
	}
	return store, nil
}
