package engine

import (
	"math"
	"time"
)

// paceMemory is the time in which what came counts for a third of what it did.
const paceMemory = time.Second

// pace says how long transactions last. A transaction costs the broker and us some
// hundred microseconds of CPU, whatever it holds: where few records come they do
// not wait, where many come they share the price. It goes by the records of about
// the last second, because those of the last transaction alone would say nothing of
// the time between two.
type pace struct {
	least, most time.Duration
	full        float64 // records per second at which transactions last longest

	rate float64 // records per second, as of at
	at   time.Time
	last time.Duration
}

func newPace(c *Config) pace {
	return pace{least: c.CommitMin, most: c.CommitMax, full: float64(c.FullLoad), last: c.CommitMin}
}

// interval of a transaction whose first record came now.
func (p *pace) interval(now time.Time) time.Duration {
	p.rate *= math.Exp(-now.Sub(p.at).Seconds() / paceMemory.Seconds())
	p.at = now
	p.last = p.least + time.Duration(min(p.rate/p.full, 1)*float64(p.most-p.least))
	return p.last
}

// add tells how many records the transaction held.
func (p *pace) add(records int) { p.rate += float64(records) / paceMemory.Seconds() }
