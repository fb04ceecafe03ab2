package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func open(t *testing.T, path string, reset bool) *Dir {
	t.Helper()
	d, err := Open(path, reset)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOpen_a_folder_has_one_holder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	first := open(t, path, false)
	if !first.New {
		t.Error("a new folder is not called new")
	}
	_, err := Open(path, true)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("error %v must name the holder", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path, false)
	defer again.Close()
	if again.New {
		t.Error("an old folder is called new")
	}
}

func TestOpen_a_newer_format_is_refused_and_reset_empties_it(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, formatFile), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(path, "broker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, false); !errors.Is(err, ErrNewer) {
		t.Errorf("error %v", err)
	}
	d := open(t, path, true)
	defer d.Close()
	if _, err := os.Stat(d.Path("broker")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reset left the old data: %v", err)
	}
	if !d.New {
		t.Error("an emptied folder is not called new")
	}
}

func TestOpen_a_folder_of_something_else_is_left_alone(t *testing.T) {
	path := t.TempDir()
	mine := filepath.Join(path, "thesis.tex")
	if err := os.WriteFile(mine, []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, true); !errors.Is(err, ErrForeign) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}
