// Package search is the search store inside the binary: SQLite in one file, behind ports.SearchStore.
//
// The sink writes documents into it, the gateway reads them. It is never a source of truth: what it holds is copied from
// the tables of the projections, so a damaged or missing file is replaced by an empty one and filled again. The package
// knows nothing of topics, projections or schemas. ADR 0003 says why it is SQLite and how it is laid out.
package search

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/nexusblueprint/nexus/ports"
)

var _ ports.SearchStore = (*Store)(nil)

// Config says where the store lives.
type Config struct {
	Path   string       // of the database file; its folder is made if need be. Beside it appear files named Path-…
	Logger *slog.Logger // nil: silent
}

// Report says what Open found.
type Report struct {
	// Recreated: the store is empty and every index has to be filled from its table. EnsureIndex says so too, index by
	// index.
	Recreated bool
	Reason    string // why, in words; "" if not Recreated
	SetAside  string // where the unusable file was moved, replacing one set aside earlier; "" if there was none
}

// Store is an open search store. It starts no goroutine; its methods are safe for concurrent use. Writers take turns,
// readers see the last commit and wait for nobody.
type Store struct {
	path string
	log  *slog.Logger
	lock *sql.DB
	read *sql.DB
	turn chan *writer // holds the writer while nobody writes; closed by Close

	scanMax int64 // up to how many documents a query reads them all rather than make a column index: some milliseconds

	mu      sync.RWMutex
	indexes map[string]*index

	damage    sync.Once
	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

// Open opens or creates the store. What cannot be used is moved aside, unless a newer release wrote it or it is somebody
// else's database.
// Errors: ErrLocked, ErrNewerFormat, ErrForeign.
func Open(ctx context.Context, cfg Config) (*Store, Report, error) {
	return open(ctx, cfg, bootID())
}

func open(ctx context.Context, cfg Config, boot string) (_ *Store, _ Report, err error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, Report{}, fmt.Errorf("opening search store %s: %w", cfg.Path, err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, Report{}, fmt.Errorf("making folder of search store: %w", err)
	}
	lock, err := lockStore(ctx, path)
	if err != nil {
		return nil, Report{}, err
	}
	s := &Store{path: path, log: cfg.Logger, lock: lock, turn: make(chan *writer, 1), scanMax: 2_000, indexes: map[string]*index{}}
	report, err := s.openFile(ctx, boot)
	if err != nil {
		return nil, Report{}, errors.Join(fmt.Errorf("opening search store %s: %w", path, err), lock.Close())
	}
	return s, report, nil
}

// openFile opens the file, or moves it aside and opens an empty one.
func (s *Store) openFile(ctx context.Context, boot string) (Report, error) {
	created, reason, err := s.tryOpen(ctx, boot)
	if err != nil {
		return Report{}, err
	}
	if created {
		return Report{Recreated: true, Reason: "there was none"}, nil
	}
	if reason == "" {
		return Report{}, nil
	}
	aside, err := setAside(s.path)
	if err != nil {
		return Report{}, err
	}
	s.log.Warn("search store set aside, to be filled again", "path", s.path, "aside", aside, "reason", reason)
	if created, reason, err := s.tryOpen(ctx, boot); err != nil || !created {
		return Report{}, errors.Join(fmt.Errorf("creating an empty file failed %s", reason), err)
	}
	return Report{Recreated: true, Reason: reason, SetAside: aside}, nil
}

// Close waits for writers and readers, moves the log into the file and closes it. It may be called again.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.closed.Store(true)
		if w := <-s.turn; w != nil {
			s.closeErr = w.close()
		}
		close(s.turn)
		s.closeErr = errors.Join(s.closeErr, s.read.Close(), s.lock.Close())
	})
	return s.closeErr
}

// Refresh has nothing to do: a commit is visible to every search that starts after it.
func (s *Store) Refresh(ctx context.Context, index string) error {
	if s.closed.Load() {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := s.index(index)
	return err
}

func (s *Store) index(name string) (*index, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ix := s.indexes[name]
	if ix == nil {
		return nil, fmt.Errorf("%w: %q", ports.ErrNoIndex, name)
	}
	return ix, nil
}

// take waits until nobody else writes and hands over the writer, which has to be given back.
func (s *Store) take(ctx context.Context) (*writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err // select would take either
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case w := <-s.turn:
		if w == nil {
			return nil, ErrClosed
		}
		return w, nil
	}
}

func (s *Store) give(w *writer) { s.turn <- w }

// check names an error of SQLite. Damage is remembered, so that the next Open does not trust the file again.
func (s *Store) check(err error) error {
	if err != nil && s.closed.Load() {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if !isDamage(err) {
		return err
	}
	s.damage.Do(func() {
		s.log.Error("search store is damaged, a restart replaces and fills it", "path", s.path, "err", err)
		if werr := os.WriteFile(s.path+damagedSuffix, []byte(err.Error()+"\n"), 0o600); werr != nil {
			s.log.Error("damaged search store could not be marked, remove it by hand", "path", s.path, "err", werr)
		}
	})
	return fmt.Errorf("%w, restart to replace and fill it: %w", ErrDamaged, err)
}
