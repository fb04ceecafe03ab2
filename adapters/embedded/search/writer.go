package search

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nexusblueprint/nexus/ports"
)

// writer is the one connection that writes. Who holds it writes alone.
type writer struct {
	db   *sql.DB
	conn *sql.Conn
}

func newWriter(ctx context.Context, path string) (*writer, error) {
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
	rows, err := w.conn.QueryContext(ctx, "SELECT n, name, fields FROM catalog")
	if err != nil {
		return nil, fmt.Errorf("reading catalog: %w", err)
	}
	defer rows.Close()
	found := map[string]*index{}
	for rows.Next() {
		var (
			n      int64
			name   string
			fields string
			spec   ports.IndexSpec
		)
		if err := rows.Scan(&n, &name, &fields); err != nil {
			return nil, fmt.Errorf("reading catalog: %w", err)
		}
		if err := json.Unmarshal([]byte(fields), &spec.Fields); err != nil {
			return nil, fmt.Errorf("reading catalog: fields of %s: %w", name, err)
		}
		spec.Name = name
		found[name] = newIndex(n, spec)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading catalog: %w", err)
	}
	for _, ix := range found {
		if err := w.loadAccess(ctx, ix); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// loadAccess reads which fields of the index have a column index.
func (w *writer) loadAccess(ctx context.Context, ix *index) error {
	rows, err := w.conn.QueryContext(ctx, "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", ix.docs)
	if err != nil {
		return fmt.Errorf("reading column indexes of %s: %w", ix.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return fmt.Errorf("reading column indexes of %s: %w", ix.name, err)
		}
		for i := range ix.fields {
			if name == ix.access(i) {
				ix.addAccess(i)
			}
		}
	}
	return rows.Err()
}

// EnsureIndex creates the index, or empties and changes it if its fields are others.
func (s *Store) EnsureIndex(ctx context.Context, spec ports.IndexSpec) (empty bool, err error) {
	if err := checkSpec(spec); err != nil {
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
			return w.conn.QueryRowContext(ctx, "SELECT NOT EXISTS(SELECT 1 FROM "+old.docs+")").Scan(&empty)
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
		statements = append(statements, "DROP TABLE "+old.docs, "DROP TABLE "+old.text,
			fmt.Sprintf("DELETE FROM catalog WHERE n = %d", old.n))
	}
	statements = append(statements, ix.createStatements()...)
	for _, statement := range statements {
		if _, err := w.conn.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.SplitN(statement, "(", 2)[0], err)
		}
	}
	_, err = w.conn.ExecContext(ctx, "INSERT INTO catalog VALUES(?, ?, ?, 0)", n, spec.Name, string(fields))
	return ix, err
}
