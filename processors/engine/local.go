package engine

import "context"

// Local is state of one partition beside the group table that changes with the
// table's transactions, in the local store. Unlike the table it has no changelog:
// after a crash it is as of an earlier transaction, and on an empty disk it holds
// nothing, so Open must bring it up to date, usually from a topic of the same
// transactions whose offset it keeps (see Batch.Produced).
//
// Calls for one partition never overlap; calls for different partitions may, in
// Open and Close. Open, then any number of Commit and Rollback, then Close.
type Local interface {
	// Open is called when the table is restored and before the first record. Its
	// context ends when the partition is taken away. An error ends the processor.
	Open(ctx context.Context, partition int32, kv KV) error
	// Commit is called after Kafka has committed: b is put down whole. Call nothing
	// else of the engine. An error ends the processor; the transaction stays committed.
	Commit(partition int32, b Batch) error
	// Rollback is called after the transaction was aborted: forget what callbacks did since the last Commit.
	Rollback(partition int32)
	// Close is called when the partition is taken away or the processor ends; what was not committed is void.
	Close(partition int32)
}

// KV reads a Local's own keys, private to (group, partition), as of the last
// Commit. It is safe for concurrent use between Open and Close.
type KV interface {
	// Get returns a copy of the value, nil if there is none.
	Get(key []byte) ([]byte, error)
	// Iterate calls fn for the keys from start (inclusive) to end (exclusive, nil: no
	// end) in order until it errs; key and value are valid during the call.
	// Use [PrefixEnd] for the keys with a prefix.
	Iterate(start, end []byte, fn func(key, value []byte) error) error
	// Update applies changes at once. Only Open may call it, to catch up.
	Update(fn func(Batch) error) error
}

// Batch takes a Local's changes, which it copies. Later calls win over earlier ones.
type Batch interface {
	Set(key, value []byte)
	Delete(key []byte)
	DeleteRange(start, end []byte) // end exclusive, nil: no end
	// Produced returns the offset of the last record that this transaction wrote to
	// the batch's partition of a topic, -1 if it wrote none (always -1 in Update).
	Produced(topic string) int64
}

// PrefixEnd returns the first key after all keys with this prefix, nil if there is none.
func PrefixEnd(prefix []byte) []byte { return prefixEnd(prefix) }

type localKV struct{ sp *space }

func (l localKV) Get(key []byte) ([]byte, error) { return get(l.sp, kindState, key) }

func (l localKV) Iterate(start, end []byte, fn func(key, value []byte) error) error {
	it, err := l.sp.iterate(kindState, start, end)
	if err != nil {
		return err
	}
	defer it.Release()
	for it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		if err := fn(it.Key(), v); err != nil {
			return err
		}
	}
	return it.Err()
}

func (l localKV) Update(fn func(Batch) error) error {
	b := l.sp.s.batch()
	if err := fn(localBatch{b: b, sp: l.sp, produced: func(string) int64 { return -1 }}); err != nil {
		return err
	}
	return l.sp.s.apply(b)
}

type localBatch struct {
	b        *storeBatch
	sp       *space
	produced func(topic string) int64
}

func (l localBatch) Set(key, value []byte) { set(l.b, l.sp, kindState, key, value) }
func (l localBatch) Delete(key []byte)     { remove(l.b, l.sp, kindState, key) }
func (l localBatch) DeleteRange(start, end []byte) {
	l.b.DeleteRange(l.sp.bounds(kindState, start, end))
}
func (l localBatch) Produced(topic string) int64 { return l.produced(topic) }
