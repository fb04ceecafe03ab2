package localstore

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestIterator(t *testing.T) {
	s := openStore(t, "", nil)
	apply(t, s, func(b *Batch) {
		for i := range 10 {
			b.Set(fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, "v%d", i))
		}
	})
	it, err := s.NewIterator([]byte("k2"), []byte("k8"))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, func(b *Batch) { b.DeleteRange([]byte("k"), []byte("l")) })
	at := func(ok bool, want string) {
		t.Helper()
		if !ok || string(it.Key()) != want {
			t.Errorf("at %q (%v), want %q", it.Key(), ok, want)
		}
		if v, err := it.Value(); err != nil || string(v) != "v"+want[1:] {
			t.Errorf("value %q, %v", v, err)
		}
	}
	at(it.Next(), "k2")
	at(it.Next(), "k3")
	at(it.Seek([]byte("k6")), "k6")
	at(it.Next(), "k7")
	if it.Next() || it.Err() != nil {
		t.Errorf("goes on behind its end, %v", it.Err())
	}
	at(it.Seek([]byte("a")), "k2")
	if it.Seek([]byte("k8")) {
		t.Error("finds what is out of its bounds")
	}
	for range 2 {
		if err := it.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStore_closesAfterItsIterators(t *testing.T) {
	s := openStore(t, t.TempDir(), nil)
	apply(t, s, func(b *Batch) { b.Set([]byte("a"), []byte("1")); b.Set([]byte("b"), []byte("2")) })
	it, err := s.NewIterator(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- s.Close() }()
	}
	for end := time.Now().Add(10 * time.Second); ; { // who iterates may go on asking: it must not hang
		if _, err := s.Get([]byte("a")); errors.Is(err, ErrClosed) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the store that is being closed still answers")
		}
	}
	for _, want := range []string{"a", "b"} {
		if !it.Next() || string(it.Key()) != want {
			t.Errorf("at %q, want %q", it.Key(), want)
		}
	}
	select {
	case err := <-closed:
		t.Fatalf("closed under an iterator, %v", err)
	default:
	}
	if err := it.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
	if _, err := s.NewIterator(nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("NewIterator: %v", err)
	}
}

func TestOpen_inMemory(t *testing.T) {
	t.Chdir(t.TempDir())
	a, b := openStore(t, "", nil), openStore(t, "", nil)
	apply(t, a, func(b *Batch) { b.Set([]byte("k"), []byte("v")) })
	if got := content(t, a, nil, nil); got != "k=v" {
		t.Errorf("holds %q", got)
	}
	if got := content(t, b, nil, nil); got != "" {
		t.Errorf("another one holds %q", got)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
		t.Errorf("left %v on disk, %v", files, err)
	}
}
