package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// State is what a data folder looks like from outside.
type State struct {
	Empty  bool   // it does not exist, or nothing is in it
	Held   bool   // by a running process
	Holder string // the process's id, as it wrote it down
	Format int    // of the layout; 0 where nothing was written yet
}

// Inspect looks at a folder without taking it or changing anything.
// Errors: ErrForeign, ErrNewer.
func Inspect(path string) (s State, err error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return State{Empty: true}, nil
	}
	if err != nil {
		return s, fmt.Errorf("data folder %s: %w", path, err)
	}
	if err := mine(path); err != nil {
		return s, err
	}
	if s.Held, err = held(filepath.Join(path, lockFile)); err != nil {
		return s, err
	}
	if s.Held {
		holder, _ := os.ReadFile(filepath.Join(path, lockFile)) // whoever holds it may be about to write it
		s.Holder = strings.TrimSpace(string(holder))
	}
	written, err := os.ReadFile(filepath.Join(path, formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if s.Format, err = strconv.Atoi(strings.TrimSpace(string(written))); err != nil {
		return s, fmt.Errorf("%s says %q, not a number: %w", filepath.Join(path, formatFile), written, ErrForeign)
	}
	if s.Format > Format {
		return s, fmt.Errorf("%s has format %d, this program knows up to %d: run the release that wrote it: %w", path, s.Format, Format, ErrNewer)
	}
	return s, nil
}

// held tries the lock with a shared one, which it gives back at once.
func held(file string) (bool, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
