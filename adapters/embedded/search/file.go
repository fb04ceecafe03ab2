package search

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	applicationID = 0x4e585353 // "NXSS": tells a search store from any other SQLite file
	format        = 1          // raised when the layout changes, or what a word is; a lower one found is refilled

	damagedSuffix = "-damaged" // beside the file: damage was seen while running
	asideSuffix   = "-aside"   // where the file goes that cannot be used

	// checkBytesMax is up to which size the whole file is checked when it is opened, some 3 ms per MiB. Damage in a larger
	// one shows when it is met.
	checkBytesMax = 128 << 20

	readersMax = 4 // connections for queries; each has its own page cache
)

// The writer's cache holds the pages a batch touches; the log may grow to 16 MiB before its pages move into the file, so
// that a page written by many batches is moved once.
var (
	writerPragmas = []string{
		"synchronous(normal)", "cache_size(-16000)", "wal_autocheckpoint(4000)",
		"journal_size_limit(33554432)", "busy_timeout(10000)", "temp_store(memory)",
	}
	readerPragmas = []string{"query_only(1)", "cache_size(-4000)", "busy_timeout(10000)", "temp_store(memory)"}
)

// A catalog row per index: its documents are in table d<n>, their words in t<n>.
const schema = `
CREATE TABLE catalog(n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, fields TEXT NOT NULL, live INTEGER NOT NULL);
CREATE TABLE running(boot TEXT NOT NULL);
INSERT INTO running VALUES('');`

func dsn(path string, pragmas []string) string {
	q := url.Values{"_pragma": pragmas}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String()
}

// lockStore holds path for this Store until the returned database is closed or the process ends, however it ends. SQLite's
// own lock does it on every platform, and within one process too.
func lockStore(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path+"-lock", []string{"locking_mode(exclusive)"}))
	if err != nil {
		return nil, fmt.Errorf("locking search store %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	if _, err = db.ExecContext(ctx, "BEGIN EXCLUSIVE"); err == nil {
		return db, nil
	}
	if code(err)&0xff == sqlite3.SQLITE_BUSY {
		err = fmt.Errorf("%w by another process: stop it, or choose another folder", ErrLocked)
	}
	return nil, errors.Join(fmt.Errorf("locking search store %s: %w", path, err), db.Close())
}

// tryOpen opens the file for writing and reading. created: it was missing or empty. reason says why it cannot be used and
// has to be replaced; "" if it is open.
func (s *Store) tryOpen(ctx context.Context, boot string) (created bool, reason string, err error) {
	if _, err := os.Stat(s.path + damagedSuffix); err == nil {
		return false, "damage was seen in it while running", nil
	}
	w, err := newWriter(ctx, s.path)
	if err == nil {
		if created, reason, err = s.load(ctx, w, boot); err == nil && reason == "" {
			return created, "", nil
		}
		err = errors.Join(err, w.abandon())
	}
	if isDamage(err) {
		return false, "it was damaged: " + err.Error(), nil
	}
	return false, reason, err
}

// load takes over what the file holds, if all is well with it.
func (s *Store) load(ctx context.Context, w *writer, boot string) (created bool, reason string, err error) {
	created, reason, err = w.start(ctx, boot)
	if err == nil && reason == "" && !created {
		reason, err = w.examine(ctx, s.path)
	}
	if err != nil || reason != "" {
		return false, reason, err
	}
	if s.indexes, err = w.catalog(ctx); err != nil {
		return false, "", err
	}
	if s.read, err = sql.Open("sqlite", dsn(s.path, readerPragmas)); err != nil {
		return false, "", err
	}
	s.read.SetMaxOpenConns(readersMax)
	s.read.SetMaxIdleConns(readersMax)
	s.read.SetConnMaxIdleTime(time.Minute)
	s.turn <- w
	return created, "", nil
}

// start decides whether the file is a search store of this format, creates the tables in an empty one, and marks it as
// running. It changes nothing before it knows that the file is ours.
func (w *writer) start(ctx context.Context, boot string) (created bool, reason string, err error) {
	var app, version, tables int
	row := w.conn.QueryRowContext(ctx, `SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)
		FROM pragma_application_id, pragma_user_version`)
	if err := row.Scan(&app, &version, &tables); err != nil {
		return false, "", err
	}
	created = app == 0 && tables == 0
	switch {
	case created:
		if err := w.create(ctx); err != nil {
			return false, "", fmt.Errorf("creating tables: %w", err)
		}
	case app != applicationID:
		return false, "", fmt.Errorf("%w, but another program's database: choose another path", ErrForeign)
	case version > format:
		return false, "", fmt.Errorf("%w: %d, this release reads up to %d: run the newer release, or remove the file, it will be filled again",
			ErrNewerFormat, version, format)
	case version < format:
		return false, fmt.Sprintf("it had the older format %d", version), nil
	}
	var ranOn string
	if err := w.conn.QueryRowContext(ctx, "SELECT boot FROM running").Scan(&ranOn); err != nil {
		return false, "", err
	}
	if ranOn != "" && ranOn != boot {
		// A process that is killed loses nothing it committed. A machine that is may lose the last commits of this file
		// and of the broker's log, each by itself: the store could lack what the sink believes written, or be ahead.
		return false, "the machine stopped while it was open", nil
	}
	_, err = w.conn.ExecContext(ctx, "UPDATE running SET boot = ?", boot)
	return created, "", err
}

// examine reads a file that is not too large from end to end and says what is wrong with it.
func (w *writer) examine(ctx context.Context, path string) (reason string, err error) {
	info, err := os.Stat(path)
	if err != nil || info.Size() > checkBytesMax {
		return "", err
	}
	var verdict string
	if err := w.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return "", err
	}
	if verdict != "ok" {
		return "it was damaged: " + verdict, nil
	}
	return "", nil
}

func (w *writer) create(ctx context.Context) error {
	if _, err := w.conn.ExecContext(ctx, "PRAGMA journal_mode = wal"); err != nil {
		return err
	}
	return w.transaction(ctx, func(ctx context.Context) error {
		for _, statement := range []string{
			schema,
			fmt.Sprintf("PRAGMA application_id = %d", applicationID),
			fmt.Sprintf("PRAGMA user_version = %d", format),
		} {
			if _, err := w.conn.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// setAside moves the file out of the way, over what was set aside earlier, and says where to.
func setAside(path string) (string, error) {
	aside := path + asideSuffix
	// The log first: left behind, SQLite would take it for the log of the empty file that comes next.
	for _, suffix := range []string{"-wal", ""} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("setting search store aside: %w", err)
		}
	}
	for _, suffix := range []string{"-shm", damagedSuffix} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("setting search store aside: %w", err)
		}
	}
	return aside, nil
}

// bootID names this run of the machine; "" where the system does not tell, and then a power failure goes unnoticed.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func isDamage(err error) bool {
	c := code(err) & 0xff
	return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB
}
