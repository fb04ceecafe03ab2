package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/ports"
)

var _ ports.SearchStore = (*Store)(nil)

const supported = "7.17 and 8 are supported"

// Store is a cluster of Elasticsearch. It starts no goroutine; its methods are safe for concurrent use.
type Store struct {
	client  *client
	version string

	// Both maps are guarded by mu. What is written goes to the generation of an index that EnsureIndex saw, or nowhere: the
	// writer has to learn that it is gone. Readers follow the alias to the next one.
	mu      sync.RWMutex
	ensured map[string]*index
	known   map[string]*index
}

// Open asks the cluster at cfg.HTTP() who it is and returns a store on it.
// Errors: ErrConfig, ErrUnsupported, ErrUnavailable; an answer of the server, in its words.
func Open(ctx context.Context, cfg config.Search) (*Store, error) {
	return open(ctx, cfg, timeoutDefault)
}

func open(ctx context.Context, cfg config.Search, timeout time.Duration) (*Store, error) {
	c, err := newClient(cfg, timeout)
	if err != nil {
		return nil, err
	}
	s := &Store{client: c, ensured: map[string]*index{}, known: map[string]*index{}}
	if err := s.checkServer(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening search store: %w", err), c.close())
	}
	return s, nil
}

// Version of the server that answered Open, like "7.17.28".
func (s *Store) Version() string { return s.version }

// Close closes the connections. It may be called again.
func (s *Store) Close() error { return s.client.close() }

func (s *Store) checkServer(ctx context.Context) error {
	var info struct {
		Version struct {
			Number string `json:"number"`
		} `json:"version"`
	}
	if err := s.client.do(ctx, esapi.InfoRequest{}, &info); err != nil {
		return err
	}
	s.version = info.Version.Number
	if !accepted(s.version) {
		return fmt.Errorf("%w: elasticsearch at %s has version %q: %s", ErrUnsupported, s.client.name, s.version, supported)
	}
	return nil
}

// accepted says whether the adapter was made for this version.
func accepted(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 3 {
		return false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (major == 8 || (major == 7 && minor >= 17))
}

// shards is what became of a request at the copies of a shard.
type shards struct {
	Shards struct {
		Successful int `json:"successful"`
		Failed     int `json:"failed"`
	} `json:"_shards"`
}

// Refresh makes what was written visible, on every copy of the shard.
func (s *Store) Refresh(ctx context.Context, name string) error {
	ix, err := s.writable(name)
	if err != nil {
		return err
	}
	if err := s.refresh(ctx, ix); err != nil {
		return fmt.Errorf("refreshing index %s: %w", name, s.lost(ix, err))
	}
	return nil
}

// errNotStarted is of an index that was just created, or of a node that just came back.
var errNotStarted = fmt.Errorf("%w: no copy of its shard has started", ErrUnavailable)

func (s *Store) refresh(ctx context.Context, ix *index) error {
	var done shards
	if err := s.client.do(ctx, esapi.IndicesRefreshRequest{Index: []string{ix.concrete}}, &done); err != nil {
		return err
	}
	// A copy that is not assigned is neither: it is no one's to search, and refreshes before it is.
	if done.Shards.Failed == 0 && done.Shards.Successful == 0 {
		return errNotStarted
	}
	if done.Shards.Failed > 0 {
		return fmt.Errorf("%w: %d copies of the shard did not refresh, %d did", ErrUnavailable, done.Shards.Failed, done.Shards.Successful)
	}
	return nil
}

// writable is the generation of the index that this store ensured.
func (s *Store) writable(name string) (*index, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ix := s.ensured[name]
	if ix == nil {
		return nil, fmt.Errorf("%w: %q was not ensured, or is lost since", ports.ErrNoIndex, name)
	}
	return ix, nil
}

// lost forgets an index that err says is gone.
func (s *Store) lost(ix *index, err error) error {
	if !errors.Is(err, ports.ErrNoIndex) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ensured[ix.spec.Name] == ix {
		delete(s.ensured, ix.spec.Name)
	}
	if s.known[ix.spec.Name] == ix {
		delete(s.known, ix.spec.Name)
	}
	return fmt.Errorf("%w: %q is gone: %w", ports.ErrNoIndex, ix.spec.Name, err)
}

// reading calls act with the index that the alias stands for, as this store remembers it; if that is gone, with the one
// that the alias stands for now.
func (s *Store) reading(ctx context.Context, name string, act func(*index) error) error {
	s.mu.RLock()
	ix := s.known[name]
	s.mu.RUnlock()
	if ix != nil {
		err := s.lost(ix, act(ix))
		if !errors.Is(err, ports.ErrNoIndex) {
			return err
		}
	}
	ix, err := s.lookup(ctx, name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.known[name] = ix
	s.mu.Unlock()
	return s.lost(ix, act(ix))
}
