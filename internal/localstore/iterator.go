package localstore

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Iterator goes over keys in byte order, as of its creation. It is for one goroutine at a time. Close it: the store's
// Close waits for it.
type Iterator struct {
	s       *Store
	it      *pebble.Iterator
	started bool
	once    sync.Once
}

// NewIterator returns an iterator before the first of the keys from lower (inclusive) to upper (exclusive; nil: no
// end).
func (s *Store) NewIterator(lower, upper []byte) (*Iterator, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, readError(err)
	}
	s.iters.Add(1)
	return &Iterator{s: s, it: it}, nil
}

// Next goes to the next key, at first to the first one. False: there is none, or see Err.
func (i *Iterator) Next() bool {
	if !i.started {
		i.started = true
		return i.it.First()
	}
	return i.it.Next()
}

// Seek goes to the first key at or after this one; Next then goes on behind it. False: there is none, or see Err.
func (i *Iterator) Seek(key []byte) bool {
	i.started = true
	return i.it.SeekGE(key)
}

// Key is valid until the next step.
func (i *Iterator) Key() []byte { return i.it.Key() }

// Value is valid until the next step.
func (i *Iterator) Value() ([]byte, error) {
	v, err := i.it.ValueAndErr()
	return v, readError(err)
}

// Err returns what ended the iteration before its end, nil if nothing did.
func (i *Iterator) Err() error { return readError(i.it.Error()) }

// Close is idempotent.
func (i *Iterator) Close() (err error) {
	i.once.Do(func() {
		err = readError(i.it.Close())
		i.s.iters.Done()
	})
	return err
}

// Iterate calls fn with the keys from lower (inclusive) to upper (exclusive; nil: no end) in byte order until fn
// returns false. It sees the store as of its start. Key and value are valid during the call only, and fn must not
// close the store.
func (s *Store) Iterate(lower, upper []byte, fn func(key, value []byte) bool) error {
	it, err := s.NewIterator(lower, upper)
	if err != nil {
		return err
	}
	for it.Next() {
		v, err := it.Value()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if !fn(it.Key(), v) {
			break
		}
	}
	return it.Close()
}

func readError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reading the local store: %w", err)
}
