// Package datadir owns the data folder of a system that runs in one process: one
// holder at a time, and no folder of a newer format is touched.
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

// Format is the version of the folder's layout that this program writes.
const Format = 1

const (
	formatFile = "format"
	lockFile   = "lock"
)

// Errors of Open.
var (
	// ErrInUse says that another process holds the folder.
	ErrInUse = errors.New("data folder is in use")
	// ErrNewer says that a newer release wrote the folder.
	ErrNewer = errors.New("data folder is of a newer format")
	// ErrForeign says that the folder holds something else.
	ErrForeign = errors.New("not a data folder")
)

// Dir is a data folder held by this process.
type Dir struct {
	path string
	lock *os.File
	// New says that the folder was empty or did not exist.
	New bool
}

// Open takes the folder, creating it with mode 0700 if need be. With reset its
// content is removed first, once nobody else holds it.
// Errors: ErrInUse, ErrNewer, ErrForeign.
func Open(path string, reset bool) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", path, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("creating data folder %s: %w", path, err)
	}
	if err := mine(abs); err != nil {
		return nil, err
	}
	d := &Dir{path: abs}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	if err := d.prepare(reset); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// mine refuses to lock, let alone empty, a folder that holds something else.
func mine(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("data folder %s: %w", path, err)
	}
	for _, e := range entries {
		if e.Name() == formatFile || e.Name() == lockFile {
			return nil
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s holds %s and other things, but no data of this program: choose an empty folder with --data: %w", path, entries[0].Name(), ErrForeign)
	}
	return nil
}

func (d *Dir) acquire() error {
	f, err := os.OpenFile(d.Path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("locking %s: %w", d.path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(d.Path(lockFile))
		return errors.Join(fmt.Errorf("%s is held by process %s: stop it first, or choose another folder with --data: %w", d.path, strings.TrimSpace(string(holder)), ErrInUse), f.Close())
	}
	d.lock = f
	if err := f.Truncate(0); err != nil {
		return errors.Join(fmt.Errorf("locking %s: %w", d.path, err), d.Close())
	}
	if _, err := f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0); err != nil {
		return errors.Join(fmt.Errorf("locking %s: %w", d.path, err), d.Close())
	}
	return nil
}

func (d *Dir) prepare(reset bool) error {
	if reset {
		if err := d.empty(); err != nil {
			return fmt.Errorf("emptying %s: %w", d.path, err)
		}
	}
	written, err := os.ReadFile(d.Path(formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		d.New = true
		return os.WriteFile(d.Path(formatFile), []byte(strconv.Itoa(Format)+"\n"), 0o600)
	}
	if err != nil {
		return err
	}
	format, err := strconv.Atoi(strings.TrimSpace(string(written)))
	if err != nil {
		return fmt.Errorf("%s says %q, not a number: %w", d.Path(formatFile), written, ErrForeign)
	}
	if format > Format {
		return fmt.Errorf("%s has format %d, this program knows up to %d: run the release that wrote it, or empty it with --reset: %w", d.path, format, Format, ErrNewer)
	}
	return nil
}

func (d *Dir) empty() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockFile {
			continue
		}
		if err := os.RemoveAll(d.Path(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Path names a file or folder in the data folder.
func (d *Dir) Path(elements ...string) string {
	return filepath.Join(append([]string{d.path}, elements...)...)
}

// Close lets the next process in.
func (d *Dir) Close() error { return d.lock.Close() }
