package gateway

import (
	"sync"
	"time"

	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// flights keeps the commands that are under way in this gateway, so that one
// command id is logged once however many requests carry it at the same time.
type flights struct {
	mu      sync.Mutex
	flying  map[string]*flight
	overdue overdue
}

// flight is one command id on its way. The first request with it sends the
// command; those that join it wait for the same outcome.
type flight struct {
	hash   platform.BodyHash
	refs   int           // guarded by flights.mu
	failed chan struct{} // closed when sending failed
	why    *problem      // set before failed is closed
}

// fail ends the flight for everyone in it.
func (f *flight) fail(why *problem) {
	f.why = why
	close(f.failed)
}

func newFlights() *flights {
	return &flights{flying: map[string]*flight{}, overdue: overdue{since: map[string]time.Time{}}}
}

// join enters the flight of the id. first says that it is a new one: the caller
// has to send the command. ok is false when the id flies with another body.
func (f *flights) join(id string, hash platform.BodyHash) (fl *flight, first, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl = f.flying[id]
	if fl == nil {
		fl = &flight{hash: hash, refs: 1, failed: make(chan struct{})}
		f.flying[id] = fl
		return fl, true, true
	}
	if fl.hash != hash {
		return nil, false, false
	}
	fl.refs++
	return fl, false, true
}

// leave ends a request's part in the flight.
func (f *flights) leave(id string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.refs--; fl.refs == 0 {
		delete(f.flying, id)
	}
}

// late remembers that the command was logged and its outcome did not come in time.
func (f *flights) late(id string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.overdue.add(id, now)
}

// pending says whether the id is under way, as far as this gateway knows.
func (f *flights) pending(id string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flying[id] != nil || f.overdue.has(id, now)
}

const (
	overdueMax  = 10_000
	overdueKept = time.Hour // as long as outcomes are
)

// overdue remembers the last ids that were answered with 202, the oldest
// forgotten first.
type overdue struct {
	since map[string]time.Time
	ring  []string
	next  int
}

func (o *overdue) has(id string, now time.Time) bool {
	at, ok := o.since[id]
	return ok && now.Sub(at) < overdueKept
}

func (o *overdue) add(id string, now time.Time) {
	_, known := o.since[id]
	o.since[id] = now
	switch {
	case known:
	case len(o.ring) < overdueMax:
		o.ring = append(o.ring, id)
	default:
		delete(o.since, o.ring[o.next])
		o.ring[o.next] = id
		o.next = (o.next + 1) % overdueMax
	}
}
