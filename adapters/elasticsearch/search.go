package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// hits is the answer to a search.
type hits struct {
	Total struct {
		Value int64 `json:"value"`
	} `json:"total"`
	Hits []hit `json:"hits"`
}

type hit struct {
	ID      string `json:"_id"`
	Version uint64 `json:"_version"`
	Source  struct {
		JSON string `json:"json"`
	} `json:"_source"`
	Sort jsontext.Value `json:"sort"`
}

func (h *hit) document() ports.Document {
	return ports.Document{ID: h.ID, Version: h.Version, JSON: []byte(h.Source.JSON)}
}

// ask sends one search. No part of an answer is taken for the whole: a shard that fails fails the search.
func (s *Store) ask(ctx context.Context, ix *index, body object) (hits, error) {
	var got struct {
		Hits hits `json:"hits"`
	}
	text, err := encode(body)
	if err != nil {
		return hits{}, err
	}
	err = s.client.do(ctx, esapi.SearchRequest{
		Index: []string{ix.concrete}, Body: text, AllowPartialSearchResults: new(false), Preference: ix.spec.Name,
	}, &got)
	return got.Hits, err
}

// readable refuses an index that another release laid out.
func (ix *index) readable() error {
	if ix.layout == layout {
		return nil
	}
	return fmt.Errorf("%w: %s has layout %d and this release reads %d: run one release, its sink fills the index anew", ErrForeign, ix.concrete, ix.layout, layout)
}

// Search returns one page.
func (s *Store) Search(ctx context.Context, name string, q ports.Query) (page ports.Page, err error) {
	err = s.reading(ctx, name, func(ix *index) error {
		page, err = s.page(ctx, ix, q)
		return err
	})
	if err != nil {
		return ports.Page{}, fmt.Errorf("searching index %s: %w", name, err)
	}
	return page, nil
}

func (s *Store) page(ctx context.Context, ix *index, q ports.Query) (ports.Page, error) {
	if err := ix.readable(); err != nil {
		return ports.Page{}, err
	}
	p, err := newPlan(ix, q)
	if err != nil {
		return ports.Page{}, err
	}
	found, err := s.ask(ctx, ix, p.body)
	var refused *answerError
	if errors.As(err, &refused) && refused.Status == http.StatusBadRequest && q.Cursor != "" {
		return ports.Page{}, fmt.Errorf("%w: %w: start again without a cursor", ports.ErrBadCursor, err)
	}
	if err != nil {
		return ports.Page{}, err
	}
	page := ports.Page{Total: found.Total.Value}
	if len(found.Hits) > p.limit {
		found.Hits = found.Hits[:p.limit]
		place := found.Hits[p.limit-1].Sort
		if err := place.Compact(); err != nil {
			return ports.Page{}, err
		}
		page.Next = searchstore.SealCursor(p.identity, place)
	}
	for i := range found.Hits {
		page.Documents = append(page.Documents, found.Hits[i].document())
	}
	return page, nil
}

// Get returns the document as it was last refreshed.
func (s *Store) Get(ctx context.Context, name, id string) (doc ports.Document, ok bool, err error) {
	err = s.reading(ctx, name, func(ix *index) error {
		doc, ok, err = s.get(ctx, ix, id)
		return err
	})
	if err != nil {
		return ports.Document{}, false, fmt.Errorf("reading %q of index %s: %w", id, name, err)
	}
	return doc, ok, nil
}

// get searches: the way of Elasticsearch to get a document is quicker, but names the id in a path, answers a missing index
// in several forms, and makes the writer keep what was not refreshed for those who ask.
func (s *Store) get(ctx context.Context, ix *index, id string) (ports.Document, bool, error) {
	if err := ix.readable(); err != nil {
		return ports.Document{}, false, err
	}
	if !searchstore.ValidID(id) {
		return ports.Document{}, false, nil
	}
	found, err := s.ask(ctx, ix, object{
		"size": 1, "track_total_hits": false, "version": true, "_source": []string{"json"},
		"query": object{"bool": object{"filter": object{"ids": object{"values": []string{id}}}, "must_not": alive}},
	})
	if err != nil || len(found.Hits) == 0 {
		return ports.Document{}, false, err
	}
	return found.Hits[0].document(), true, nil
}

// Count returns the number of documents: of all that there are, less the deletes. Elasticsearch knows the first without
// looking, and the second grows with the deletes alone. A refresh between the two may tell them apart for that moment.
func (s *Store) Count(ctx context.Context, name string) (n int64, err error) {
	err = s.reading(ctx, name, func(ix *index) error {
		if err := ix.readable(); err != nil {
			return err
		}
		deleted, err := s.ask(ctx, ix, object{"size": 0, "track_total_hits": true, "query": alive[0]})
		if err != nil {
			return err
		}
		all, err := s.ask(ctx, ix, object{"size": 0, "track_total_hits": true})
		n = all.Total.Value - deleted.Total.Value
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("counting index %s: %w", name, err)
	}
	return n, nil
}
