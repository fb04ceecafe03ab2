package localstore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Batch gathers changes that take effect together; later ones win over earlier ones. It copies keys and values. It is
// for one goroutine at a time. Make one with [Store.NewBatch] and use it again after [Store.Apply].
type Batch struct {
	b   *pebble.Batch
	err error // the first one; Apply returns it
}

// batchKept is how much memory a batch keeps for its next use.
const batchKept = 4 << 20

// NewBatch returns an empty batch for this store.
func (s *Store) NewBatch() *Batch {
	return &Batch{b: s.db.NewBatch(pebble.WithMaxRetainedSizeBytes(batchKept))}
}

// Set puts a value in place of what the key had.
func (b *Batch) Set(key, value []byte) { b.keep(b.b.Set(key, value, nil)) }

// Delete removes a key; one that is not there is no error.
func (b *Batch) Delete(key []byte) { b.keep(b.b.Delete(key, nil)) }

// DeleteRange removes all keys from lower (inclusive) to upper (exclusive), at the cost of one change however many
// there are.
func (b *Batch) DeleteRange(lower, upper []byte) { b.keep(b.b.DeleteRange(lower, upper, nil)) }

// Empty reports whether the batch holds no change.
func (b *Batch) Empty() bool { return b.b.Empty() }

func (b *Batch) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Apply makes the changes visible, all at once, and empties the batch, also after an error. It does not wait for the
// disk: a crash may take the last batches, always a whole number of them from the end.
//
// While the disk is full it waits, until [Store.StopWaiting].
//
// Errors: [ErrClosed]; after any other one nothing of the batch was applied and the store should be closed.
func (s *Store) Apply(b *Batch) error {
	if err := s.room.pass(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	err := b.err
	if err == nil && !b.b.Empty() {
		err = s.db.Apply(b.b, pebble.NoSync)
	}
	b.b.Reset()
	b.err = nil
	if err != nil {
		return fmt.Errorf("writing the local store: %w", err)
	}
	return nil
}
