package search

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// writer is the one connection that writes. Who holds it writes alone.
type writer struct {
	db   *sql.DB
	conn *sql.Conn
}

func newWriter(ctx context.Context, path string) (*writer, error) {
	// Made here because SQLite would let others read it. Its other files take the permissions of this one.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(path, writerPragmas))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &writer{db: db, conn: conn}, nil
}

// transaction runs act in a transaction: all of it is committed or, if it or the commit fails, nothing. What has begun is
// finished even if ctx ends: the driver starts a goroutine per statement to watch a context that can end, which is too
// dear on the record path.
func (w *writer) transaction(ctx context.Context, act func(ctx context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("beginning transaction: %w", err)
	}
	err := act(ctx)
	if err == nil {
		if _, err = w.conn.ExecContext(ctx, "COMMIT"); err == nil {
			return nil
		}
		err = fmt.Errorf("committing: %w", err)
	}
	// Some errors (disk full, I/O) have rolled back by themselves; rolling back once more then fails, and means nothing.
	_, _ = w.conn.ExecContext(ctx, "ROLLBACK")
	return err
}

// close moves the log into the file, notes that it was closed in order, and closes it.
func (w *writer) close() error {
	ctx := context.Background()
	_, err := w.conn.ExecContext(ctx, "UPDATE running SET boot = ''")
	if err == nil {
		_, err = w.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(truncate)")
	}
	return errors.Join(err, w.abandon())
}

func (w *writer) abandon() error {
	return errors.Join(w.conn.Close(), w.db.Close())
}

// catalog reads which indexes there are.
func (w *writer) catalog(ctx context.Context) (map[string]*index, error) {
	found := map[string]*index{}
	rows, err := w.conn.QueryContext(ctx, "SELECT n, name, fields FROM catalog")
	err = each(rows, err, func() error {
		var n int64
		var fields []byte
		var spec ports.IndexSpec
		if err := rows.Scan(&n, &spec.Name, &fields); err != nil {
			return err
		}
		if err := json.Unmarshal(fields, &spec.Fields); err != nil {
			return fmt.Errorf("fields of %s: %w", spec.Name, err)
		}
		found[spec.Name] = newIndex(n, spec)
		return nil
	})
	for _, ix := range found {
		err = errors.Join(err, w.loadAccess(ctx, ix))
	}
	if err != nil {
		return nil, fmt.Errorf("reading catalog: %w", err)
	}
	return found, nil
}

// loadAccess reads which fields of the index have a column index.
func (w *writer) loadAccess(ctx context.Context, ix *index) error {
	rows, err := w.conn.QueryContext(ctx, "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", ix.docs)
	return each(rows, err, func() error {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		for i := range ix.fields {
			if name == ix.access(i) {
				ix.addAccess(i)
			}
		}
		return nil
	})
}

// EnsureIndex creates the index, or empties and changes it if its fields are others.
func (s *Store) EnsureIndex(ctx context.Context, spec ports.IndexSpec) (empty bool, err error) {
	if err := searchstore.CheckSpec(spec); err != nil {
		return false, err
	}
	w, err := s.take(ctx)
	if err != nil {
		return false, err
	}
	defer s.give(w)
	old := s.indexes[spec.Name] // only who holds the writer changes the map
	next := old
	err = w.transaction(ctx, func(ctx context.Context) error {
		if old != nil && old.same(spec) {
			return w.conn.QueryRowContext(ctx, old.sqlEmpty()).Scan(&empty)
		}
		empty = true
		next, err = w.replaceIndex(ctx, old, spec)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("ensuring index %s: %w", spec.Name, s.check(err))
	}
	s.mu.Lock()
	s.indexes[spec.Name] = next
	s.mu.Unlock()
	return empty, nil
}

// replaceIndex makes new tables under a new number, and drops those of old if it is not nil.
func (w *writer) replaceIndex(ctx context.Context, old *index, spec ports.IndexSpec) (*index, error) {
	fields, err := json.Marshal(spec.Fields)
	if err != nil {
		return nil, err
	}
	var n int64
	// Numbers are not used twice, so that a statement prepared for the old tables cannot meet the new ones.
	if err := w.conn.QueryRowContext(ctx, "SELECT coalesce(max(n), 0) + 1 FROM catalog").Scan(&n); err != nil {
		return nil, err
	}
	ix := newIndex(n, spec)
	var statements []string
	if old != nil {
		if err := old.forgetStatements(); err != nil {
			return nil, err
		}
		statements = old.sqlDrop()
	}
	statements = append(statements, ix.sqlCreate()...)
	for _, statement := range statements {
		if _, err := w.conn.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.SplitN(statement, "(", 2)[0], err)
		}
	}
	_, err = w.conn.ExecContext(ctx, "INSERT INTO catalog VALUES(?, ?, ?, 0)", n, spec.Name, string(fields))
	return ix, err
}
