package views

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestParsePosition_readsWhatStringWrites(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	topics := []string{"shop.order.events", "shop.stock.events", "a", "_x-Y.9", strings.Repeat("t", topicBytesMax)}
	for range 2_000 {
		want := Position{}
		for range rnd.IntN(12) {
			tp := TopicPartition{topics[rnd.IntN(len(topics))], rnd.Int32N(1 << rnd.IntN(31))}
			offset := rnd.Int64N(1 << rnd.IntN(63))
			if rnd.IntN(10) == 0 {
				offset, tp.Partition = math.MaxInt64, math.MaxInt32
			}
			want[tp] = offset
		}
		got, err := ParsePosition(want.String())
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("%q: got %v, %v", want.String(), got, err)
		}
		if got.String() != want.String() {
			t.Fatalf("%q became %q", want.String(), got.String())
		}
	}
}

func TestParsePosition(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"shop.order.events/3/18422", "shop.order.events/3/18422"},
		{"b/1/2,a/10/0,a/9/1", "a/9/1,a/10/0,b/1/2"},
		{"a/0/5,a/0/7,a/0/6", "a/0/7"},
	} {
		if got, err := ParsePosition(c.text); err != nil || got.String() != c.want {
			t.Errorf("%q: got %q, %v", c.text, got, err)
		}
	}
	for _, bad := range []string{
		",", "a/0/1,", ",a/0/1", "a", "a/0", "a/0/", "/0/1", "a//1", "a/0/1/2", "a/-1/1", "a/0/-1", "a/+0/1", "a/0/+1", "a/00/1", "a/0/01",
		"a/2147483648/0", "a/0/9223372036854775808", "a b/0/1", "a/0/1 ", "ä/0/1", "./0/1", "../0/1", "a/0x1/1", "a/0/1_0",
		strings.Repeat("t", topicBytesMax+1) + "/0/0", strings.Repeat("a/0/1,", 20_000),
		func() string {
			var entries []string
			for i := range positionEntriesMax + 1 {
				entries = append(entries, fmt.Sprintf("a/%d/1", i))
			}
			return strings.Join(entries, ",")
		}(),
	} {
		if got, err := ParsePosition(bad); !errors.Is(err, ErrPosition) {
			t.Errorf("%.40q: got %v, %v", bad, got, err)
		} else if len(err.Error()) > 400 {
			t.Errorf("%.40q: the error has %d bytes", bad, len(err.Error()))
		}
	}
}

// What parses is bounded, comes back the same from its own text, and holds no negative number.
func FuzzParsePosition(f *testing.F) {
	f.Add("")
	f.Add("shop.order.events/3/18422,shop.stock.events/0/0")
	f.Add("a/0/1,a/0/2")
	f.Add("a/2147483647/9223372036854775807")
	f.Add("a/00/1,,b//")
	f.Fuzz(func(t *testing.T, text string) {
		pos, err := ParsePosition(text)
		if err != nil {
			if !errors.Is(err, ErrPosition) {
				t.Fatalf("%v is no ErrPosition", err)
			}
			return
		}
		if len(pos) > positionEntriesMax {
			t.Fatalf("%d entries", len(pos))
		}
		for tp, offset := range pos {
			if tp.Partition < 0 || offset < 0 || !validTopic(tp.Topic) {
				t.Fatalf("%v at %d", tp, offset)
			}
		}
		again, err := ParsePosition(pos.String())
		if err != nil || !maps.Equal(pos, again) {
			t.Fatalf("%q became %q, %v", pos, again, err)
		}
		if len(pos.String()) > len(text) {
			t.Fatalf("%q grew to %q", text, pos)
		}
	})
}
