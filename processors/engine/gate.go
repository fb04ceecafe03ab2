package engine

import (
	"context"
	"sync"
)

// gate lets visits in while a transaction is open, and lets the transaction end
// only when they are out. It is a lock that can be waited for with a context.
type gate struct {
	mu     sync.Mutex
	open   bool
	inside int
	opened chan struct{} // closed when the gate opens
	empty  chan struct{} // closed when the last one leaves a closed gate
}

func (g *gate) init() {
	g.opened, g.empty = make(chan struct{}), make(chan struct{})
	close(g.empty)
}

// enter waits until the gate is open; it returns ctx's error if that ends first.
func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		if g.open {
			g.inside++
			g.mu.Unlock()
			return nil
		}
		opened := g.opened
		g.mu.Unlock()
		select {
		case <-opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && !g.open {
		close(g.empty)
	}
}

func (g *gate) doOpen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	g.empty = make(chan struct{})
	close(g.opened)
}

// doClose keeps newcomers out and returns a channel that is closed when all are
// out. Closing a closed gate changes nothing.
func (g *gate) doClose() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open {
		g.open = false
		g.opened = make(chan struct{})
		if g.inside == 0 {
			close(g.empty)
		}
	}
	return g.empty
}
