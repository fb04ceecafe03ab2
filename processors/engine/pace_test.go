package engine

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	p := newPace(&Config{CommitMin: 10 * time.Millisecond, CommitMax: 250 * time.Millisecond, FullLoad: 1_000})
	now := time.Unix(1_700_000_000, 0)
	// steady feeds a rate of records for some time and returns the last interval.
	steady := func(perSecond float64, d time.Duration) (last time.Duration) {
		for end := now.Add(d); now.Before(end); {
			last = p.interval(now)
			took := last + time.Millisecond // the commit
			p.add(int(perSecond * took.Seconds()))
			now = now.Add(took)
		}
		return last
	}
	for _, c := range []struct {
		rate        float64
		least, most time.Duration
	}{
		{200, 45 * time.Millisecond, 70 * time.Millisecond},
		{100_000, 250 * time.Millisecond, 250 * time.Millisecond},
		{500, 100 * time.Millisecond, 150 * time.Millisecond},
	} {
		if got := steady(c.rate, 10*time.Second); got < c.least || got > c.most {
			t.Errorf("at %.0f records/s a transaction lasts %v, want %v to %v", c.rate, got, c.least, c.most)
		}
	}
	now = now.Add(10 * time.Second)
	if got := p.interval(now); got > 11*time.Millisecond {
		t.Errorf("after a quiet time a transaction lasts %v", got)
	}
	p.add(25) // one large command
	now = now.Add(20 * time.Millisecond)
	if got := p.interval(now); got > 17*time.Millisecond {
		t.Errorf("just after one command a transaction lasts %v", got)
	}
}
