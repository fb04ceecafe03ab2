package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// schedule is an open loop: what is due when does not depend on answers.
type schedule struct {
	start   time.Time
	every   time.Duration
	n       int
	workers int // requests at once; what finds none free goes late, and its clock runs
}

func (s schedule) due(i int) time.Time { return s.start.Add(time.Duration(i) * s.every) }

// run calls send for 0..n-1, each when it is due. The first error ends it.
func (s schedule) run(ctx context.Context, send func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range s.workers {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= s.n {
					return
				}
				if !sleepUntil(ctx, s.due(i)) {
					return
				}
				if err := send(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func sleepUntil(ctx context.Context, at time.Time) bool {
	left := time.Until(at)
	if left <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// delays gathers how long after it was due each thing was answered.
type delays struct {
	mu   sync.Mutex
	all  []float64 // milliseconds
	from time.Time // what was due earlier was warm-up
}

func (d *delays) add(due time.Time) {
	late := float64(time.Since(due).Microseconds()) / 1000
	if due.Before(d.from) {
		return
	}
	d.mu.Lock()
	d.all = append(d.all, late)
	d.mu.Unlock()
}
