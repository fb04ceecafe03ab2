package search

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
)

// filled makes a closed store of 2,000 documents and returns its path.
func filled(t *testing.T) string {
	t.Helper()
	s, _ := openAt(t, newPath(t))
	fill(t, s, 2000, 1)
	shut(t, s)
	return s.path
}

// alter runs statements on a closed file.
func alter(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kept and refilled check what Open made of a filled store.
func kept(t *testing.T, path string) {
	t.Helper()
	s, report := openAt(t, path)
	empty, err := s.EnsureIndex(t.Context(), testSpec)
	if err != nil || empty || report != (Report{}) || count(t, s) != 2000 {
		t.Errorf("report %+v, empty %v %v, %d documents; want 2000 kept", report, empty, err, count(t, s))
	}
}

func refilled(t *testing.T, path, reason string) Report {
	t.Helper()
	s, report := openAt(t, path)
	empty, err := s.EnsureIndex(t.Context(), testSpec)
	if err != nil || !empty || !report.Recreated || !strings.Contains(report.Reason, reason) {
		t.Errorf("report %+v, empty %v %v; want it empty because %q", report, empty, err, reason)
	}
	fill(t, s, 10, 1)
	if n := count(t, s); n != 10 {
		t.Errorf("%d documents after filling it again, want 10", n)
	}
	return report
}

func TestOpen(t *testing.T) {
	t.Run("a missing file is created, its folder too", func(t *testing.T) {
		report := refilled(t, filepath.Join(t.TempDir(), "new", "odd name?%41#.db"), "there was none")
		if report.SetAside != "" {
			t.Errorf("set aside %q", report.SetAside)
		}
	})
	t.Run("nobody else may read what it holds", func(t *testing.T) {
		s, _ := openAt(t, newPath(t))
		fill(t, s, 1, 1)
		for _, suffix := range []string{"", "-wal"} {
			info, err := os.Stat(s.path + suffix)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v, want permissions 0600", s.path+suffix, info, err)
			}
		}
	})
	t.Run("an empty file is filled, as after a kill while it was created", func(t *testing.T) {
		path := newPath(t)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refilled(t, path, "there was none")
	})
	t.Run("a closed store is found as it was", func(t *testing.T) {
		path := filled(t)
		for range 2 {
			t.Run("", func(t *testing.T) { kept(t, path) })
		}
	})
	t.Run("a file that is no database is set aside", func(t *testing.T) {
		path := newPath(t)
		garbage := bytes.Repeat([]byte("not a database "), 1000)
		if err := os.WriteFile(path, garbage, 0o600); err != nil {
			t.Fatal(err)
		}
		report := refilled(t, path, "damaged")
		if !bytes.Equal(content(t, report.SetAside), garbage) {
			t.Error("what was set aside is not what was there")
		}
	})
	t.Run("a file cut short is set aside", func(t *testing.T) {
		path := filled(t)
		if err := os.Truncate(path, int64(len(content(t, path))/2)); err != nil {
			t.Fatal(err)
		}
		refilled(t, path, "damaged")
	})
	t.Run("a file with an overwritten page is set aside, and so is the next", func(t *testing.T) {
		path := filled(t)
		for range 2 {
			b := content(t, path)
			copy(b[len(b)/2:], bytes.Repeat([]byte{0xa5}, 8192))
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Run("", func(t *testing.T) { refilled(t, path, "damaged") })
		}
	})
	t.Run("an older format is filled again", func(t *testing.T) {
		path := filled(t)
		alter(t, path, "PRAGMA user_version = 0")
		refilled(t, path, "older format")
	})
	t.Run("a newer format is an error and stays as it is", func(t *testing.T) {
		path := filled(t)
		alter(t, path, "PRAGMA user_version = 2")
		untouched(t, path, ErrNewerFormat)
	})
	t.Run("another program's database is an error and stays as it is", func(t *testing.T) {
		path := newPath(t)
		alter(t, path, "CREATE TABLE theirs(a)", "INSERT INTO theirs VALUES(1)")
		untouched(t, path, ErrForeign)
	})
	t.Run("a file in use is an error until it is closed", func(t *testing.T) {
		s, _ := openAt(t, filled(t))
		if _, _, err := Open(t.Context(), Config{Path: s.path}); !errors.Is(err, ErrLocked) {
			t.Errorf("error %v, want %v", err, ErrLocked)
		}
		shut(t, s)
		kept(t, s.path)
	})
}

func untouched(t *testing.T, path string, want error) {
	t.Helper()
	before := content(t, path)
	for range 2 {
		if _, _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
	}
	if !bytes.Equal(content(t, path), before) {
		t.Error("the file was changed")
	}
}

// stop ends a store as a kill would: nothing notes that it was closed.
func stop(t *testing.T, s *Store) {
	t.Helper()
	w := <-s.turn
	if err := errors.Join(w.abandon(), s.read.Close(), s.lock.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_AfterTheMachineStopped(t *testing.T) {
	boot := func(t *testing.T, path, id string) (*Store, Report) {
		t.Helper()
		s, report, err := open(t.Context(), Config{Path: path}, id)
		if err != nil {
			t.Fatal(err)
		}
		return s, report
	}
	t.Run("a store that was open is filled again", func(t *testing.T) {
		s, _ := boot(t, filled(t), "first")
		stop(t, s)
		s, report := boot(t, s.path, "second")
		defer shut(t, s)
		if !report.Recreated || !strings.Contains(report.Reason, "machine stopped") {
			t.Errorf("report %+v, want it recreated", report)
		}
	})
	t.Run("a store that was killed on a machine that went on is kept", func(t *testing.T) {
		s, _ := boot(t, filled(t), "first")
		stop(t, s)
		s, report := boot(t, s.path, "first")
		defer shut(t, s)
		if report.Recreated || count(t, s) != 2000 {
			t.Errorf("report %+v, %d documents, want 2000 kept", report, count(t, s))
		}
	})
	t.Run("a store that was closed is kept", func(t *testing.T) {
		s, _ := boot(t, filled(t), "first")
		shut(t, s)
		s, report := boot(t, s.path, "second")
		defer shut(t, s)
		if report.Recreated || count(t, s) != 2000 {
			t.Errorf("report %+v, %d documents, want 2000 kept", report, count(t, s))
		}
	})
}

func TestStore_DamageWhileRunning(t *testing.T) {
	s, _ := openAt(t, newPath(t))
	fill(t, s, 2000, 1)
	w := <-s.turn
	if _, err := w.conn.ExecContext(t.Context(), "PRAGMA wal_checkpoint(truncate)"); err != nil {
		t.Fatal(err)
	}
	s.give(w)
	f, err := os.OpenFile(s.path, os.O_RDWR, 0) // O_RDWR and no close before Close: closing drops the locks of the process
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, len(content(t, s.path))-2*4096), 2*4096); err != nil {
		t.Fatal(err)
	}
	_, err = s.Search(t.Context(), testSpec.Name, ports.Query{Limit: 1000})
	if !errors.Is(err, ErrDamaged) {
		t.Fatalf("searching a damaged file: %v, want %v", err, ErrDamaged)
	}
	_ = s.Close() // whether this can still succeed is the damage's affair
	refilled(t, s.path, "damage was seen")
}
