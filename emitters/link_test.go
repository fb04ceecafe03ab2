package emitters

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/ports"
)

// link is the way to the broker; it can be cut.
type link struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (l *link) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("the link is down")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

func (l *link) set(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func TestCommands_Send_saysThatTheBrokerIsAway(t *testing.T) {
	const limit = time.Second // the least that the client allows
	l := &link{down: true}
	r := newRig(t, func(c *Config) {
		c.deliveryTimeout = limit
		c.Client = append(c.Client, kgo.Dialer(l.dial))
	})
	began := time.Now()
	var sent []<-chan error
	for i := range 50 {
		sent = append(sent, r.send(fmt.Sprint(i), cancelOrder("x")))
	}
	for _, done := range sent {
		if err := within(t, 20*time.Second, done); !errors.Is(err, ports.ErrBusUnavailable) {
			t.Fatalf("got %v", err)
		}
	}
	t.Logf("said after %v with a limit of %v", time.Since(began), limit)
	l.set(false)
	if err := within(t, 10*time.Second, r.send("back", cancelOrder("x"))); err != nil {
		t.Errorf("when the broker is back: %v", err)
	}
	if rec := r.log(1); string(rec[0].Key) != "back" {
		t.Errorf("the log has %s", rec[0].Key)
	}
}

// However the way to the broker breaks: what was said to be logged is in the log once, what was said not to be sent is
// not, and everyone is told in time.
func TestCommands_Send_saysNothingWrongOverABrokenLink(t *testing.T) {
	const limit = time.Second
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	l := &link{}
	r := newRig(t, func(c *Config) {
		c.deliveryTimeout = limit
		c.Client = append(c.Client, kgo.Dialer(l.dial))
	})
	said := map[string]<-chan error{}
	for round := range 12 {
		for i := range 40 {
			id := fmt.Sprint(round, "-", i)
			said[id] = r.send(id, cancelOrder("x"))
			if i == 20 {
				pause(time.Duration(rnd.IntN(3)) * time.Millisecond)
				l.set(true)
			}
		}
		pause(time.Duration(rnd.IntN(400)) * time.Millisecond)
		if round%4 == 3 {
			pause(limit)
		}
		l.set(false)
	}
	verdict := map[string]error{}
	counts := map[string]int{}
	for id, done := range said {
		err := within(t, 20*time.Second, done)
		verdict[id] = err
		switch {
		case err == nil:
			counts["logged"]++
		case errors.Is(err, ports.ErrBusUnavailable):
			counts["not sent"]++
		case errors.Is(err, ports.ErrInDoubt):
			counts["unknown"]++
		default:
			t.Errorf("%s: %v", id, err)
		}
	}
	t.Logf("%v", counts)
	kafkatest.Eventually(t, 20*time.Second, "the client is done", func() bool { return r.cl.BufferedProduceRecords() == 0 })
	inLog := map[string]int{}
	for _, rec := range r.drain() {
		inLog[string(rec.Key)]++
	}
	for id, err := range verdict {
		switch n := inLog[id]; {
		case err == nil && n != 1:
			t.Errorf("%s was logged, they said, and is there %d times", id, n)
		case errors.Is(err, ports.ErrBusUnavailable) && n != 0:
			t.Errorf("%s was not sent, they said, and is there", id)
		case n > 1:
			t.Errorf("%s is there %d times", id, n)
		}
	}
}

func pause(d time.Duration) { <-time.After(d) }
