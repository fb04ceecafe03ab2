package broker

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A segment may hold anything after an accident: reading it never panics, never runs past it, and what is taken for a
// batch is whole and sound.
func FuzzSegment(f *testing.F) {
	good := marker(0, 7, 1, 0, true, time.UnixMilli(1))
	f.Add(good)
	f.Add(append(append([]byte{}, good...), good[:30]...))
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := eachBatch(raw, func(pos int64, b *batch) error {
			if !bytes.Equal(raw[pos:pos+int64(len(b.raw))], b.raw) || !b.sound() {
				t.Error("a batch that is not in the segment")
			}
			b.commits()
			if err := eachRecord(b, func(*logRecord) error { return nil }); err != nil && !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			return nil
		})
		if err != nil || n > int64(len(raw)) {
			t.Errorf("%d of %d bytes, %v", n, len(raw), err)
		}
		tornTail(raw[n:])
	})
}

// The logs and the decision slot, too.
func FuzzStateLog(f *testing.F) {
	entry, err := appendLogEntry(nil, producerEntry{Type: "init", ID: 7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(entry)
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := eachLogEntry(raw, func([]byte) error { return nil })
		if n > len(raw) || err != nil && !errors.Is(err, ErrNewerFormat) {
			t.Errorf("%d of %d bytes, %v", n, len(raw), err)
		}
		if _, _, err := replayProducers(raw); err != nil && !errors.Is(err, ErrNewerFormat) {
			t.Error(err)
		}
		decodeDecision(raw)
	})
}

// Whatever a connection sends, kfake gets it unchanged or not at all, and no more than was announced.
func FuzzGate(f *testing.F) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(9)
	f.Add(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1))
	end := kmsg.NewPtrEndTxnRequest()
	end.SetVersion(5)
	f.Add(kmsg.NewRequestFormatter().AppendRequest(nil, end, 2))
	auth := kmsg.NewPtrSASLAuthenticateRequest()
	auth.SetVersion(2)
	auth.SASLAuthBytes = []byte("\x00u\x00p")
	f.Add(kmsg.NewRequestFormatter().AppendRequest(nil, auth, 3))
	open := make(chan struct{})
	close(open)
	f.Fuzz(func(t *testing.T, raw []byte) {
		g := &gate{open: open, platform: Credentials{"u", "p"}, log: slog.New(slog.DiscardHandler)}
		got, _ := io.ReadAll(&guarded{Conn: scripted{Reader: bytes.NewReader(raw)}, gate: g})
		if !bytes.HasPrefix(raw, got) {
			t.Errorf("sent %x, passed on %x", raw, got)
		}
	})
}

// scripted is a connection that sends what it was given.
type scripted struct {
	net.Conn
	io.Reader
}

func (s scripted) Read(p []byte) (int, error) { return s.Reader.Read(p) }
func (scripted) RemoteAddr() net.Addr         { return &net.TCPAddr{} }
