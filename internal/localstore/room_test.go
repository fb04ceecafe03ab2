package localstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/programtest"
)

func TestRoom_WaitsWhileTheDiskIsFullAndGoesOn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: no file system to fill")
		return
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Logf("mounting is not allowed here: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil { // the store that cannot be closed has files open
			t.Error(err)
		}
	})
	dir, ballast := filepath.Join(disk, "store"), filepath.Join(disk, "ballast")
	var log programtest.Transcript
	said := log.String
	s, err := Open(dir, Options{MemTableBytes: 1 << 20, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Full(); err != nil {
		t.Errorf("before anything is written: %v", err)
	}
	fill(t, ballast)

	const writes = 40
	written := make(chan error, 1)
	go func() {
		for i := range writes {
			b := s.NewBatch()
			b.Set(fmt.Appendf(nil, "t%03d", i), make([]byte, 128<<10))
			if err := s.Apply(b); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	wait(t, "the store says that the disk is full", func() bool { return s.Full() != nil })
	if why := s.Full(); !strings.Contains(why.Error(), dir) || !strings.Contains(why.Error(), "free 8 MiB") {
		t.Errorf("it says %v", why)
	}
	time.Sleep(4 * roomTick)
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(files) > 10 {
		t.Errorf("%d files are left over, %v", len(files), err)
	}
	if n := strings.Count(said(), "waits for room"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, said())
	}
	select {
	case err := <-written:
		t.Fatalf("5 MiB went into 4 of memory: %v", err)
	default:
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-written:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not go on:\n%s", said())
	}
	wait(t, "the store has room", func() bool { return s.Full() == nil })
	if !strings.Contains(said(), "has room again") {
		t.Errorf("said %s", said())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir, Options{MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := range writes {
		if v, err := s.Get(fmt.Appendf(nil, "t%03d", i)); err != nil || len(v) != 128<<10 {
			t.Errorf("write %d: %d bytes, %v", i, len(v), err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	if s, err = Open(dir, Options{MemTableBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	fill(t, ballast)
	go func() {
		for {
			b := s.NewBatch()
			b.Set([]byte("t"), make([]byte, 128<<10))
			if err := s.Apply(b); err != nil {
				written <- err
				return
			}
		}
	}()
	wait(t, "the store says that the disk is full", func() bool { return s.Full() != nil })
	s.StopWaiting()
	select {
	case err := <-written:
		if !strings.Contains(err.Error(), "free 8 MiB") {
			t.Errorf("a write of a process that ends: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a process that ends waits for its disk")
	}
	began := time.Now()
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "is read from the topics at the next start") || time.Since(began) > 10*time.Second {
		t.Errorf("closed after %v: %v", time.Since(began), err)
	}
	if _, err := Open(filepath.Join(disk, "other"), Options{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a start on a full disk: %v", err)
	}
}

// fill leaves no byte of a disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
