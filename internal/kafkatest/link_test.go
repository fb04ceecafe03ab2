package kafkatest

import (
	"testing"
	"time"
)

func TestLink(t *testing.T) {
	b := Kafka(t)
	topic := b.Prefix + "x"
	b.Create(t, Topic{Name: topic, Partitions: 1})
	link := b.Link(t)
	behind := *b
	behind.Addrs = link.Addrs
	cl := behind.Client(t)
	if err := write(t, cl, topic, "before", time.Minute); err != nil {
		t.Fatal(err)
	}

	// A write of a connected client is one round trip.
	link.Slow(t, 250*time.Millisecond, 0)
	began := time.Now()
	if err := write(t, cl, topic, "slow", time.Minute); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < 500*time.Millisecond {
		t.Fatalf("a write over a slow link took %v, of two times 250 ms: it found another way", d)
	}
	link.Heal(t)

	for name, harm := range map[string]func(){"cut": link.Cut, "hang": func() { link.Hang(t) }} {
		harm()
		other := behind.Client(t)
		if err := write(t, other, topic, "lost", 2*time.Second); err == nil {
			t.Fatalf("%s: a write came through: it found another way", name)
		}
		if err := write(t, b.Client(t), topic, "direct", time.Minute); err != nil {
			t.Fatalf("%s: those on the direct way are hit, too: %v", name, err)
		}
		link.Heal(t)
		if err := write(t, cl, topic, "healed", time.Minute); err != nil {
			t.Fatalf("%s, healed: %v", name, err)
		}
	}
}

func TestLinkIsReturned(t *testing.T) {
	b := Kafka(t)
	for range linksPerServer + 1 {
		t.Run("a test", func(t *testing.T) { b.Link(t) })
	}
}
