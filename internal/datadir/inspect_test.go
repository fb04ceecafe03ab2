package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestInspect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	is := func(want State) {
		t.Helper()
		got, err := Inspect(path)
		if err != nil || got != want {
			t.Errorf("%+v, error %v, want %+v", got, err, want)
		}
	}
	is(State{Empty: true})
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the folder was made")
	}
	d, err := Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	is(State{Held: true, Holder: strconv.Itoa(os.Getpid()), Format: Format})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	is(State{Format: Format})
	// Looking took nothing: the folder can be opened.
	if d, err = Open(path, false); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, formatFile), []byte("99"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(path); !errors.Is(err, ErrNewer) {
		t.Errorf("error %v, want %v", err, ErrNewer)
	}
	if _, err := Inspect(filepath.Dir(path)); !errors.Is(err, ErrForeign) {
		t.Errorf("error %v, want %v", err, ErrForeign)
	}
}
