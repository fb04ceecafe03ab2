package engine

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// iterator implements goka's storage.Iterator over the committed keys of a kind,
// as of its creation. Key and Value are valid until the next step.
type iterator struct {
	s    *Store
	p    *space
	it   *pebble.Iterator
	kind byte

	started bool
	once    sync.Once
}

// iterate goes over the keys of a kind from start (inclusive) to end (exclusive).
// A nil end means the end of the kind.
func (p *space) iterate(kind byte, start, end []byte) (*iterator, error) {
	p.s.mu.Lock()
	if p.s.closed.Load() {
		p.s.mu.Unlock()
		return nil, ErrStoreClosed
	}
	p.s.iters.Add(1)
	p.s.mu.Unlock()
	lo, hi := p.bounds(kind, start, end)
	it, err := p.s.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		p.s.iters.Done()
		return nil, fmt.Errorf("iterating over the local store: %w", err)
	}
	return &iterator{s: p.s, p: p, it: it, kind: kind}, nil
}

func (i *iterator) Next() bool {
	if !i.started {
		i.started = true
		return i.it.First()
	}
	return i.it.Next()
}

// Seek makes the first key at or after key the current one: read it before the
// next Next. This is what goka.Iterator promises and goka's own storage does,
// though the comment on storage.Iterator says otherwise.
func (i *iterator) Seek(key []byte) bool {
	i.started = true
	return i.it.SeekGE(i.p.key(i.kind, key))
}

func (i *iterator) Err() error             { return i.it.Error() }
func (i *iterator) Key() []byte            { return i.it.Key()[prefixLen:] }
func (i *iterator) Value() ([]byte, error) { return i.it.ValueAndErr() }

func (i *iterator) Release() {
	i.once.Do(func() {
		_ = i.it.Close() // its error is Err's, and reading is over
		i.s.iters.Done()
	})
}

// prefixEnd returns the first key after all keys with this prefix, nil if there is none.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
