package engine

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexusblueprint/nexus/internal/localstore"
)

// Store is the part of a process's local store that holds the tables, views and
// local states of all its engines, under keys that begin with 't'. There is one for
// a local store; it needs no closing.
//
// It is a cache of the changelogs and never the truth: every batch carries the
// changelog offset it ends at, so whatever a crash leaves is the store as of an
// earlier transaction, and recovery goes on from that transaction's offset.
type Store struct {
	ls  *localstore.Store
	now func() time.Time

	rowLimit   int64
	cachedRows atomic.Int64 // bytes in the tables' row caches
	unsaved    atomic.Int64 // bytes of committed rows that are not in the local store yet

	batches sync.Pool // of *storeBatch

	mu   sync.Mutex
	ids  map[string]uint16 // space name → id, kept in the local store
	open map[string]bool   // "name/partition" in use
}

// StoreOption changes what [NewStore] does.
type StoreOption func(*Store)

// rowBytesDefault holds the whole working set of a few 100,000 aggregates: reading a row
// from disk costs more than all the rest of handling a command.
const rowBytesDefault = 256 << 20

// WithRowCacheBytes bounds the memory in which committed table values of running
// processors are kept (default 256 MiB for the whole store).
func WithRowCacheBytes(n int64) StoreOption { return func(s *Store) { s.rowLimit = n } }

// WithClock replaces time.Now, which tells how long a store was away.
func WithClock(now func() time.Time) StoreOption { return func(s *Store) { s.now = now } }

// NewStore uses a local store, which the caller closes after every engine that
// uses it. Engines that go on get [ErrStoreClosed].
func NewStore(ls *localstore.Store, opts ...StoreOption) (*Store, error) {
	s := &Store{ls: ls, now: time.Now, rowLimit: rowBytesDefault, ids: map[string]uint16{}, open: map[string]bool{}}
	for _, o := range opts {
		o(s)
	}
	if err := s.loadIDs(); err != nil {
		return nil, err
	}
	return s, nil
}

// Layout of keys: name registry 't' 00 00 | name; everything else
// 't' | space id (2) | partition (4) | kind (1) | key, big endian, so that a
// partition is one range.
const (
	storePrefix byte = 't' // see internal/localstore for the others
	kindState   byte = 'l' // a Local's keys
	kindOffset  byte = 'o' // one record, see mark
	kindTable   byte = 't' // table keys
	prefixLen        = 8
)

func nameKey(name string) []byte { return append([]byte{storePrefix, 0, 0}, name...) }

func (s *Store) loadIDs() error {
	names := nameKey("")
	err := s.ls.Iterate(names, prefixEnd(names), func(key, value []byte) bool {
		if len(value) == 2 {
			s.ids[string(key[len(names):])] = binary.BigEndian.Uint16(value)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("names of tables: %w", err)
	}
	return nil
}

// space opens one partition of a named key space. It fails if it is open already:
// two owners would write over each other.
func (s *Store) space(name string, partition int32) (*space, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	use := fmt.Sprintf("%s/%d", name, partition)
	if s.open[use] {
		return nil, fmt.Errorf("%s is open already in this local store: two engines of one group need a store each", use)
	}
	id, ok := s.ids[name]
	if !ok {
		if len(s.ids) >= 1<<16-2 {
			return nil, fmt.Errorf("local store holds %d names already", len(s.ids))
		}
		id = uint16(len(s.ids) + 1)
		b := s.ls.NewBatch()
		b.Set(nameKey(name), binary.BigEndian.AppendUint16(nil, id))
		if err := s.ls.Apply(b); err != nil {
			return nil, fmt.Errorf("naming %s: %w", name, err)
		}
		s.ids[name] = id
	}
	s.open[use] = true
	p := &space{s: s, use: use}
	p.prefix[0] = storePrefix
	binary.BigEndian.PutUint16(p.prefix[1:], id)
	binary.BigEndian.PutUint32(p.prefix[3:], uint32(partition))
	return p, nil
}

// space is one partition of one table or view, and the local state beside it.
type space struct {
	s      *Store
	use    string
	prefix [prefixLen - 1]byte
}

func (p *space) close() {
	p.s.mu.Lock()
	delete(p.s.open, p.use)
	p.s.mu.Unlock()
}

func (p *space) key(kind byte, key []byte) []byte {
	return fullKey(make([]byte, 0, prefixLen+len(key)), p, kind, key)
}

func fullKey[K string | []byte](dst []byte, p *space, kind byte, key K) []byte {
	return append(append(append(dst, p.prefix[:]...), kind), key...)
}

// get returns a copy of the value, nil if there is none.
func get[K string | []byte](p *space, kind byte, key K) ([]byte, error) {
	var stack [64]byte
	return p.s.ls.Get(fullKey(stack[:0], p, kind, key))
}

// bounds of the keys of a kind from start (inclusive) to end (exclusive, nil: no end).
func (p *space) bounds(kind byte, start, end []byte) (lo, hi []byte) {
	lo = p.key(kind, start)
	if end != nil {
		return lo, p.key(kind, end)
	}
	return lo, p.key(kind+1, nil)
}

// wipe removes the partition: table, offset and local state.
func (p *space) wipe() error {
	b := p.s.ls.NewBatch()
	b.DeleteRange(p.key(0, nil), p.key(255, nil))
	if err := p.s.ls.Apply(b); err != nil {
		return fmt.Errorf("emptying %s: %w", p.use, err)
	}
	return nil
}

// mark is how far a partition in the store has come.
type mark struct {
	offset int64     // of the last changelog record that is in the store
	topic  [16]byte  // id of the changelog topic, zero if unknown
	seen   time.Time // when the store was last known to be up to date, seconds
}

func (p *space) mark() (m mark, ok bool, err error) {
	v, err := get(p, kindOffset, "")
	if err != nil || len(v) != 32 {
		return m, false, err
	}
	m.offset = int64(binary.BigEndian.Uint64(v))
	copy(m.topic[:], v[8:24])
	m.seen = time.Unix(int64(binary.BigEndian.Uint64(v[24:])), 0)
	return m, true, nil
}

// storeBatch gathers changes of one transaction over all partitions of an engine.
type storeBatch struct {
	*localstore.Batch
	key []byte // scratch
}

// batch returns an empty batch. Whoever applies many gives it back with reuse: growing
// one to a transaction's size costs copies.
func (s *Store) batch() *storeBatch {
	if b, ok := s.batches.Get().(*storeBatch); ok {
		return b
	}
	return &storeBatch{Batch: s.ls.NewBatch()}
}

// reuse takes back a batch that was applied.
func (s *Store) reuse(b *storeBatch) {
	if b.Empty() {
		s.batches.Put(b)
	}
}

func set[K string | []byte](b *storeBatch, p *space, kind byte, key K, value []byte) {
	b.key = fullKey(b.key[:0], p, kind, key)
	b.Set(b.key, value)
}

func remove[K string | []byte](b *storeBatch, p *space, kind byte, key K) {
	b.key = fullKey(b.key[:0], p, kind, key)
	b.Delete(b.key)
}

func (b *storeBatch) mark(p *space, m mark) {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(m.offset))
	v = append(v, m.topic[:]...)
	v = binary.BigEndian.AppendUint64(v, uint64(m.seen.Unix()))
	set(b, p, kindOffset, "", v)
}

// apply puts the batch down whole and readies it for the next use.
func (s *Store) apply(b *storeBatch) error { return s.ls.Apply(b.Batch) }
