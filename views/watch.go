package views

import "sync"

// watch wakes those who wait for a change of a key.
type watch struct {
	mu   sync.Mutex
	keys map[string]*watched
}

type watched struct {
	changed chan struct{}
	holders int
}

func newWatch() *watch { return &watch{keys: map[string]*watched{}} }

// on returns a channel that is closed at the next change of the key. Give it back with off.
func (w *watch) on(key string) *watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.keys[key]
	if e == nil {
		e = &watched{changed: make(chan struct{})}
		w.keys[key] = e
	}
	e.holders++
	return e
}

func (w *watch) off(key string, e *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.holders--; e.holders == 0 && w.keys[key] == e {
		delete(w.keys, key)
	}
}

// idle reports that nobody waits, which spares the caller building keys.
func (w *watch) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.keys) == 0
}

func (w *watch) change(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.keys[key]; e != nil {
		close(e.changed)
		delete(w.keys, key)
	}
}
