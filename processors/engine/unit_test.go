package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/localstore"
)

func TestGate(t *testing.T) {
	var g gate
	g.init()
	ctx, cancel := context.WithCancel(t.Context())
	<-g.doClose() // closed from the start, and empty
	entered := make(chan error, 1)
	go func() { entered <- g.enter(ctx) }()
	select {
	case err := <-entered:
		t.Fatalf("entered a closed gate: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	g.doOpen()
	if err := <-entered; err != nil {
		t.Fatal(err)
	}
	empty := g.doClose()
	select {
	case <-empty:
		t.Fatal("empty with one inside")
	default:
	}
	go func() { entered <- g.enter(ctx) }()
	cancel()
	if err := <-entered; !errors.Is(err, context.Canceled) {
		t.Fatalf("enter returned %v", err)
	}
	g.leave()
	<-empty
	<-g.doClose()
}

func TestRowCache_StaysWithinItsLimit(t *testing.T) {
	ls, err := localstore.Open("", localstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ls.Close() }()
	s, err := NewStore(ls, WithRowCacheBytes(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	a, b := &rowCache{s: s}, &rowCache{s: s}
	value := make([]byte, 200)
	hot := "hot"
	a.put(hot, []byte("h"))
	for i := range 20_000 {
		a.put(fmt.Sprintf("a%d", i%15_000), value)
		b.put(fmt.Sprintf("b%d", i), value)
		if v, ok := a.get(hot); !ok || string(v) != "h" {
			t.Fatalf("round %d: what is in use is gone", i)
		}
		if got := s.cachedRows.Load(); got > 2<<20 {
			t.Fatalf("round %d: %d bytes cached", i, got)
		}
	}
	sum := int64(0)
	for _, c := range []*rowCache{a, b} {
		for _, m := range []map[string][]byte{c.young, c.old} {
			for k, v := range m {
				sum += rowBytes(k, v)
			}
		}
	}
	if got := s.cachedRows.Load(); got != sum {
		t.Errorf("counts %d bytes and holds %d", got, sum)
	}
	a.put(hot, make([]byte, rowMax+1)) // too large to keep, and the old value must not come back
	if _, ok := a.get(hot); ok {
		t.Error("an outdated value is cached")
	}
	a.drop()
	b.drop()
	if got := s.cachedRows.Load(); got != 0 {
		t.Errorf("%d bytes after drop", got)
	}
}

func TestMessages_StayWhereTheyAreUntilReset(t *testing.T) {
	var m messages
	for range 3 {
		m.reset()
		var values [][]byte
		type got struct {
			value  *[]byte
			header *[]byte
		}
		var all []got
		for i := range 3*chunkSize + 7 {
			v := fmt.Appendf(nil, "v%d", i)
			values = append(values, v)
			msg := m.of(&kgo.Record{Topic: "t", Value: v, Headers: []kgo.RecordHeader{{Key: "a", Value: v}, {Key: "b", Value: v}}})
			all = append(all, got{&msg.Value, &msg.Headers[1].Value})
			if string(msg.Headers[0].Key) != "a" || string(msg.Headers[1].Key) != "b" {
				t.Fatalf("headers are %s and %s", msg.Headers[0].Key, msg.Headers[1].Key)
			}
		}
		for i, g := range all {
			if !bytes.Equal(*g.value, values[i]) || !bytes.Equal(*g.header, values[i]) {
				t.Fatalf("message %d was overwritten", i)
			}
		}
	}
}

func TestPrefixEnd(t *testing.T) {
	for in, want := range map[string]string{"a": "b", "a\xff": "b", "a\xfe\xff": "a\xff", "\xff": "", "": ""} {
		if got := string(prefixEnd([]byte(in))); got != want {
			t.Errorf("prefixEnd(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestConfig_NamesAllFaultsTogether(t *testing.T) {
	_, err := New(Config{CommitMin: time.Second, CommitMax: time.Millisecond})
	for _, want := range []string{"Group is missing", "InstanceID is missing", "Brokers is empty", "CommitMax"} {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}
