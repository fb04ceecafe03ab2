// Package clock is where time comes from: everything that asks for it is handed
// a Clock, so that tests can set it.
package clock

import "time"

// Clock tells the time. Implementations are safe for concurrent use.
type Clock interface {
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now is time.Now.
func (System) Now() time.Time { return time.Now() }

// Func makes a function a Clock.
type Func func() time.Time

// Now calls f.
func (f Func) Now() time.Time { return f() }
