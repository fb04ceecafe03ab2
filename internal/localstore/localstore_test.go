package localstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func openStore(t *testing.T, dir string, log *bytes.Buffer) *Store {
	t.Helper()
	o := Options{CacheBytes: 1 << 20}
	if log != nil {
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func apply(t *testing.T, s *Store, change func(*Batch)) {
	t.Helper()
	b := s.NewBatch()
	change(b)
	if err := s.Apply(b); err != nil {
		t.Fatal(err)
	}
}

// content is all there is, as "key=value key=value".
func content(t *testing.T, s *Store, lower, upper []byte) string {
	t.Helper()
	var all []string
	err := s.Iterate(lower, upper, func(k, v []byte) bool {
		all = append(all, fmt.Sprintf("%s=%s", k, v))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestStore(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	apply(t, s, func(b *Batch) {
		for _, k := range []string{"a", "b", "c", "d"} {
			b.Set([]byte(k), []byte(k+k))
		}
		b.Set([]byte("empty"), nil)
		b.Set([]byte("a"), []byte("later"))
	})
	if got := content(t, s, nil, nil); got != "a=later b=bb c=cc d=dd empty=" {
		t.Errorf("holds %q", got)
	}
	if got := content(t, s, []byte("b"), []byte("d")); got != "b=bb c=cc" {
		t.Errorf("from b to d: %q", got)
	}
	if v, err := s.Get([]byte("nothing")); v != nil || err != nil {
		t.Errorf("nothing is %q, %v", v, err)
	}
	if v, err := s.Get([]byte("empty")); v == nil || len(v) != 0 || err != nil {
		t.Errorf("empty is %q, %v", v, err)
	}
	n := 0
	if err := s.Iterate(nil, nil, func(_, _ []byte) bool { n++; return n < 2 }); err != nil || n != 2 {
		t.Errorf("stopped after %d, %v", n, err)
	}
	b := s.NewBatch()
	if b.Delete([]byte("a")); b.Empty() {
		t.Error("a batch with a change is empty")
	}
	b.DeleteRange([]byte("c"), []byte("e"))
	if err := s.Apply(b); err != nil || !b.Empty() {
		t.Errorf("applied: empty %v, %v", b.Empty(), err)
	}
	if got := content(t, s, nil, nil); got != "b=bb empty=" {
		t.Errorf("holds %q", got)
	}
}

func TestStore_keepsWhatItHoldsOverAClose(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	apply(t, s, func(b *Batch) { b.Set([]byte("a"), []byte("b")) })
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get([]byte("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if err := s.Apply(s.NewBatch()); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply: %v", err)
	}
	if err := s.Iterate(nil, nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Iterate: %v", err)
	}
	var log bytes.Buffer
	if got := content(t, openStore(t, dir, &log), nil, nil); got != "a=b" || log.Len() > 0 {
		t.Errorf("holds %q; said %s", got, &log)
	}
}

func TestOpen_refusesAFolderInUse(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	apply(t, s, func(b *Batch) { b.Set([]byte("a"), []byte("b")) })
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	if got := content(t, s, nil, nil); got != "a=b" {
		t.Errorf("the owner finds %q", got)
	}
}

func TestOpen_throwsAwayWhatItCannotRead(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, dir string){
		"a manifest of nothing":        func(t *testing.T, dir string) { overwrite(t, dir, "MANIFEST-*") },
		"options of another kind":      func(t *testing.T, dir string) { overwrite(t, dir, "OPTIONS-*") },
		"a format of a newer release":  newerFormat,
		"damage found while it served": func(t *testing.T, dir string) { write(t, filepath.Join(dir, condemnedFile)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, nil)
			apply(t, s, func(b *Batch) { b.Set([]byte("a"), []byte("b")) })
			_ = s.Close()
			write(t, filepath.Join(dir, "notes.txt")) // somebody's own
			harm(t, dir)
			var log bytes.Buffer
			s = openStore(t, dir, &log)
			if got := content(t, s, nil, nil); got != "" {
				t.Errorf("holds %q", got)
			}
			if !strings.Contains(log.String(), "thrown away") {
				t.Errorf("said %q", log.String())
			}
			if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
				t.Errorf("a file that is not the store's: %v", err)
			}
			apply(t, s, func(b *Batch) { b.Set([]byte("c"), []byte("d")) })
			_ = s.Close()
			if got := content(t, openStore(t, dir, nil), nil, nil); got != "c=d" {
				t.Errorf("after the next start: %q", got)
			}
		})
	}
}

func TestStore_marksDamageForTheNextStart(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	apply(t, s, func(b *Batch) {
		for i := range 1000 {
			b.Set(fmt.Appendf(nil, "%04d", i), bytes.Repeat([]byte{byte(i), byte(i >> 3)}, 200))
		}
	})
	_ = s.Close()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, name := range tables {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(data) / 2 { // the end tells the file's layout: without it the store would not even open
			data[i] ^= 0xff
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	s = openStore(t, dir, &log)
	if err := s.Iterate(nil, nil, func(_, _ []byte) bool { return true }); err == nil {
		t.Fatal("damaged tables were read without an error")
	}
	_ = s.Close()
	if got := content(t, openStore(t, dir, &log), nil, nil); got != "" {
		t.Errorf("holds %d bytes", len(got))
	}
	if !strings.Contains(log.String(), "was found damaged") {
		t.Errorf("said %q", log.String())
	}
}

func TestOpen_saysWhenTheFolderCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file)
	if _, err := Open(file, Options{}); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
}

func TestStore_servesMany(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			b := s.NewBatch()
			for i := range 500 {
				k := fmt.Appendf(nil, "%d-%d", w, i)
				b.Set(k, k)
				b.Set(append(k, 'x'), k)
				if err := s.Apply(b); err != nil {
					t.Error(err)
				}
				for _, key := range [][]byte{k, append(k, 'x')} {
					if v, err := s.Get(key); err != nil || !bytes.Equal(v, k) {
						t.Errorf("%s is %q, %v", key, v, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, dir, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	for _, f := range files {
		write(t, f)
	}
}

// newerFormat makes the folder look as a newer pebble would leave it: its version stands in the name of a marker.
func newerFormat(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "marker.format-version.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("markers %v: %v", files, err)
	}
	base := files[0][:strings.LastIndex(files[0], ".")+1]
	if err := os.Rename(files[0], base+"999"); err != nil {
		t.Fatal(err)
	}
}
