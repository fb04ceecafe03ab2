package linktest

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				io.Copy(c, c)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		served.Wait()
	})
	return l.Addr().String()
}

func dial(t *testing.T, l *Link) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// trip sends a byte and waits for its return.
func trip(c net.Conn, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	c.SetDeadline(began.Add(limit))
	b := []byte{1}
	if _, err := c.Write(b); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, b)
	return time.Since(began), err
}

func TestLink(t *testing.T) {
	server := echo(t)

	t.Run("carries", func(t *testing.T) {
		if _, err := trip(dial(t, Open(t, "127.0.0.1:0", server)), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("is slow both ways, and heals for the same connection", func(t *testing.T) {
		l := Open(t, "127.0.0.1:0", server)
		c := dial(t, l)
		l.Slow(t, 100*time.Millisecond, 0)
		l.Slow(t, 150*time.Millisecond, 0)
		if d, err := trip(c, 10*time.Second); err != nil || d < 300*time.Millisecond {
			t.Fatalf("a round trip took %v (%v), of two times 150 ms", d, err)
		}
		l.Heal(t)
		for range 20 { // the machine may be slow itself, but not each time
			if d, err := trip(c, 10*time.Second); err != nil {
				t.Fatal(err)
			} else if d < 100*time.Millisecond {
				return
			}
		}
		t.Fatal("the link is still slow after Heal")
	})

	t.Run("is cut, for those connected and for new ones, and heals for new ones", func(t *testing.T) {
		l := Open(t, "127.0.0.1:0", server)
		c := dial(t, l)
		if _, err := trip(c, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		l.Cut()
		if _, err := trip(c, 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("an open connection did not break: %v", err)
		}
		if c, err := net.Dial("tcp", l.Addr); err == nil {
			c.Close()
			t.Fatal("a new connection was accepted")
		}
		l.Heal(t)
		l.Heal(t)
		if _, err := trip(dial(t, l), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("hangs without a word, and heals for new connections", func(t *testing.T) {
		l := Open(t, "127.0.0.1:0", server)
		c := dial(t, l)
		l.Hang(t)
		for _, c := range []net.Conn{c, dial(t, l)} {
			if _, err := trip(c, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("answered %v, not silence", err)
			}
		}
		l.Heal(t)
		if _, err := trip(dial(t, l), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("says that its port is taken", func(t *testing.T) {
		if _, err := New(server, server); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	})
}
