package elasticsearch

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/go-json-experiment/json"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// roundsMax is how often EnsureIndex looks again after somebody else has changed the index meanwhile.
const roundsMax = 10

// EnsureIndex creates the index; one with other fields it deletes first. Between the two, for some milliseconds, readers
// find none.
func (s *Store) EnsureIndex(ctx context.Context, spec ports.IndexSpec) (empty bool, err error) {
	if err := searchstore.CheckSpec(spec); err != nil {
		return false, err
	}
	for range roundsMax {
		empty, done, err := s.ensureOnce(ctx, spec)
		if err != nil {
			return false, fmt.Errorf("ensuring index %s: %w", spec.Name, err)
		}
		if done {
			return empty, nil
		}
	}
	return false, fmt.Errorf("ensuring index %s: somebody else changes it all the time: do programs with different fields share it?", spec.Name)
}

// ensureOnce does the next thing that has to be done; nothing remains if done.
func (s *Store) ensureOnce(ctx context.Context, spec ports.IndexSpec) (empty, done bool, err error) {
	ix, err := s.lookup(ctx, spec.Name)
	switch {
	case errors.Is(err, ports.ErrNoIndex):
		return false, false, s.create(ctx, spec)
	case err != nil:
		return false, false, err
	case !ix.same(spec):
		return false, false, s.drop(ctx, ix)
	}
	empty, err = s.isEmpty(ctx, ix)
	if errors.Is(err, ports.ErrNoIndex) {
		return false, false, nil // gone since
	}
	if err != nil {
		return false, false, err
	}
	s.mu.Lock()
	s.ensured[spec.Name], s.known[spec.Name] = ix, ix
	s.mu.Unlock()
	return empty, true, nil
}

// templatePriority is above that of the templates that Elasticsearch comes with, and of those in its documentation.
const templatePriority = 1000

// create makes the next generation of the index. That somebody else was faster is no error.
func (s *Store) create(ctx context.Context, spec ports.IndexSpec) error {
	definition := object{"settings": settings, "mappings": mapping(spec)}
	template := object{
		"index_patterns": []string{spec.Name + "~*"}, "priority": templatePriority, "template": definition,
		"_meta": object{"description": "read model " + spec.Name + " of Nexus"},
	}
	body, err := encode(template)
	if err != nil {
		return err
	}
	if err := s.client.do(ctx, esapi.IndicesPutIndexTemplateRequest{Name: "nexus-" + spec.Name, Body: body}, nil); err != nil {
		return fmt.Errorf("putting its template: %w", err)
	}
	ix := &index{spec: spec, concrete: spec.Name + "~" + strings.ToLower(rand.Text()[:12])}
	definition["aliases"] = object{spec.Name: object{"is_write_index": true}, ix.writes(): object{}}
	if body, err = encode(definition); err != nil {
		return err
	}
	err = s.client.do(ctx, esapi.IndicesCreateRequest{Index: ix.concrete, Body: body}, nil)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// The alias has a write index already? Elasticsearch has no code that says so; but then it can be seen.
	if _, lookErr := s.lookup(ctx, spec.Name); lookErr == nil {
		return nil
	}
	return err
}

// encode is the body of a request.
func encode(value object) (io.Reader, error) {
	text, err := json.Marshal(value)
	return bytes.NewReader(text), err // a reader that net/http can send again
}

// drop deletes a generation and with it its aliases. That it is gone already is no error.
func (s *Store) drop(ctx context.Context, ix *index) error {
	err := s.client.do(ctx, esapi.IndicesDeleteRequest{Index: []string{ix.concrete}}, nil)
	if errors.Is(err, ports.ErrNoIndex) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting it with its other fields: %w", err)
	}
	return nil
}

// How often, and after which pauses, an index that somebody else has just created is asked again.
const (
	startTries = 100
	startPause = 50 * time.Millisecond
)

// isEmpty says whether nothing was ever written to the generation: deletes are documents, too.
func (s *Store) isEmpty(ctx context.Context, ix *index) (bool, error) {
	err := s.refresh(ctx, ix)
	for try := 1; errors.Is(err, errNotStarted) && try < startTries; try++ {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(startPause):
		}
		err = s.refresh(ctx, ix)
	}
	if err != nil {
		return false, err
	}
	found, err := s.ask(ctx, ix, object{"size": 0, "track_total_hits": 1})
	return found.Total.Value == 0, err
}
