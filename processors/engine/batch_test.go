package engine

import (
	"testing"
	"time"
)

func TestBatch(t *testing.T) {
	const timeout = 20 * time.Second
	fresh := func() batch { return newBatch(&Config{TxnRecords: 16_384, TxnTimeout: timeout}) }
	// run lets transactions follow one another, each full of records that take
	// so long, and returns the longest one.
	run := func(b *batch, each time.Duration, bytes int) (longest time.Duration) {
		for range 40 {
			took := time.Duration(b.n) * each
			longest = max(longest, took)
			b.add(b.n, b.n*bytes, took)
		}
		return longest
	}
	for _, c := range []struct {
		what        string
		each        time.Duration
		bytes       int
		least, most int
	}{
		{"quick callbacks", 10 * time.Microsecond, 100, 16_384, 16_384},
		{"no table", 10 * time.Microsecond, 0, 16_384, 16_384},
		{"slow callbacks", 20 * time.Millisecond, 100, 25, 100},
		{"very slow callbacks", 3 * time.Second, 100, 1, 1},
		{"large values", 10 * time.Microsecond, 1 << 20, 16, 16},
		{"values larger than a transaction", 10 * time.Microsecond, 32 << 20, 1, 1},
	} {
		b := fresh()
		run(&b, c.each, c.bytes)
		if b.n < c.least || b.n > c.most {
			t.Errorf("%s: a transaction may hold %d records, want %d to %d", c.what, b.n, c.least, c.most)
		}
	}

	b := fresh()
	for range 40 { // nothing is known of many
		b.add(1, 100, time.Millisecond)
	}
	if took := run(&b, 20*time.Millisecond, 100); took > timeout/5 {
		t.Errorf("a backlog after a quiet time: a transaction of %v, the timeout is %v", took, timeout)
	}
	run(&b, 10*time.Microsecond, 100)
	if took := run(&b, 200*time.Microsecond, 100); took > timeout/5 {
		t.Errorf("callbacks became 20 times slower: a transaction of %v, the timeout is %v", took, timeout)
	}
}
