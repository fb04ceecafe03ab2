package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Store is the local store of one process: the tables, views and local states of
// all its engines in one pebble database.
//
// It is a cache of the changelogs and never the truth. It is written without a
// journal of its own: every batch carries the changelog offset it ends at, pebble
// keeps batches whole and in order, so a crash leaves the store as of an earlier
// transaction and recovery goes on from that transaction's offset.
type Store struct {
	db  *pebble.DB
	now func() time.Time

	rowLimit   int64
	cachedRows atomic.Int64 // bytes in the tables' row caches

	closed atomic.Bool
	life   sync.RWMutex // held for reading by each get and apply, for writing by Close

	mu    sync.Mutex
	ids   map[string]uint16 // space name → id, kept in the database
	open  map[string]bool   // "name/partition" in use
	iters sync.WaitGroup    // open iterators; added to under mu
}

type storeConfig struct {
	cacheBytes    int64
	rowBytes      int64
	memTableBytes uint64
	now           func() time.Time
	logger        *slog.Logger
}

// StoreOption changes what [OpenStore] does.
type StoreOption func(*storeConfig)

// WithRowCacheBytes bounds the memory in which committed table values of running
// processors are kept (default 64 MiB for the whole store).
func WithRowCacheBytes(n int64) StoreOption { return func(c *storeConfig) { c.rowBytes = n } }

// WithClock replaces time.Now, which tells how long a store was away.
func WithClock(now func() time.Time) StoreOption { return func(c *storeConfig) { c.now = now } }

// WithStoreLogger takes the errors of pebble's background work.
func WithStoreLogger(l *slog.Logger) StoreOption { return func(c *storeConfig) { c.logger = l } }

// OpenStore opens or creates the store in dir; "" keeps it in memory. One process
// at a time can have a folder open. Close it after every engine that uses it.
func OpenStore(dir string, opts ...StoreOption) (*Store, error) {
	c := storeConfig{cacheBytes: defaultCacheBytes, rowBytes: 64 << 20, memTableBytes: defaultMemTableBytes, now: time.Now, logger: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		o(&c)
	}
	po := pebbleOptions(c)
	if dir == "" {
		po.FS, dir = vfs.NewMem(), "store"
	}
	db, err := pebble.Open(dir, po)
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("local store %s is in use by another process, or not ours to write: %w", dir, err)
	case err != nil:
		return nil, fmt.Errorf("opening local store %s (a cache: if it is damaged, remove the folder and it is restored from the changelogs): %w", dir, err)
	}
	s := &Store{db: db, now: c.now, rowLimit: c.rowBytes, ids: map[string]uint16{}, open: map[string]bool{}}
	if err := s.loadIDs(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

const (
	defaultCacheBytes    = 16 << 20 // of blocks; rows that are in use are in the tables' caches
	defaultMemTableBytes = 16 << 20
)

func pebbleOptions(c storeConfig) *pebble.Options {
	o := &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest,
		DisableWAL:         true,
		CacheSize:          c.cacheBytes,
		MemTableSize:       c.memTableBytes,
		// A burst must not stop the commits: three memtables may wait for their flush.
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       8,
		L0StopWritesThreshold:       24,
		MaxOpenFiles:                256,
	}
	if c.logger != nil {
		o.Logger = pebbleLogger{c.logger}
	}
	for i := range o.Levels {
		// Half of all reads ask for keys that do not exist yet.
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		// Less to do per read, for a few percent of disk: one level of index, no
		// compression of values that are mostly ids and numbers.
		o.Levels[i].IndexBlockSize = math.MaxInt32
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		// Small files have small indexes and filters, which are read and cached whole.
		o.TargetFileSizes[i] = 4 << 20
	}
	return o
}

// Close writes what is in memory to disk. Engines that still use the store get
// [ErrStoreClosed].
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed.Swap(true)
	s.mu.Unlock()
	if was {
		return nil
	}
	s.iters.Wait()
	s.life.Lock()
	defer s.life.Unlock()
	// There is no journal, so the last memtable would be lost and replayed.
	err := s.db.Flush()
	return errors.Join(err, s.db.Close())
}

// Layout of keys: name registry 00 00 | name; everything else
// space id (2) | partition (4) | kind (1) | key, big endian, so that a partition
// is one range.
const (
	kindState  byte = 'l' // a Local's keys
	kindOffset byte = 'o' // one record, see mark
	kindTable  byte = 't' // table keys
	prefixLen       = 7
)

func (s *Store) loadIDs() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{0, 0}, UpperBound: []byte{0, 1}})
	if err != nil {
		return fmt.Errorf("reading the names in the local store: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		if v := it.Value(); len(v) == 2 {
			s.ids[string(it.Key()[2:])] = binary.BigEndian.Uint16(v)
		}
	}
	return it.Close()
}

// space opens one partition of a named key space. It fails if it is open already:
// two owners would write over each other.
func (s *Store) space(name string, partition int32) (*space, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrStoreClosed
	}
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
		if err := s.db.Set(append([]byte{0, 0}, name...), binary.BigEndian.AppendUint16(nil, id), pebble.NoSync); err != nil {
			return nil, fmt.Errorf("naming %s in the local store: %w", name, err)
		}
		s.ids[name] = id
	}
	s.open[use] = true
	p := &space{s: s, use: use}
	binary.BigEndian.PutUint16(p.prefix[0:], id)
	binary.BigEndian.PutUint32(p.prefix[2:], uint32(partition))
	return p, nil
}

// space is one partition of one table or view, and the local state beside it.
type space struct {
	s      *Store
	use    string
	prefix [6]byte
}

func (p *space) close() {
	p.s.mu.Lock()
	delete(p.s.open, p.use)
	p.s.mu.Unlock()
}

// enter keeps the database open until leave. It does not nest.
func (s *Store) enter() error {
	s.life.RLock()
	if s.closed.Load() {
		s.life.RUnlock()
		return ErrStoreClosed
	}
	return nil
}

func (s *Store) leave() { s.life.RUnlock() }

func (p *space) key(kind byte, key []byte) []byte {
	return fullKey(make([]byte, 0, prefixLen+len(key)), p, kind, key)
}

func fullKey[K string | []byte](dst []byte, p *space, kind byte, key K) []byte {
	return append(append(append(dst, p.prefix[:]...), kind), key...)
}

// get returns a copy of the value, nil if there is none.
func get[K string | []byte](p *space, kind byte, key K) ([]byte, error) {
	if err := p.s.enter(); err != nil {
		return nil, err
	}
	defer p.s.leave()
	var stack [64]byte
	v, closer, err := p.s.db.Get(fullKey(stack[:0], p, kind, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading the local store: %w", err)
	}
	c := make([]byte, len(v)) // never nil: empty is not absent
	copy(c, v)
	return c, closer.Close()
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
	if err := p.s.enter(); err != nil {
		return err
	}
	defer p.s.leave()
	if err := p.s.db.DeleteRange(p.key(0, nil), p.key(255, nil), pebble.NoSync); err != nil {
		return fmt.Errorf("emptying %s in the local store: %w", p.use, err)
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
	b   *pebble.Batch
	err error
	key []byte // scratch
}

func (s *Store) batch() *storeBatch { return &storeBatch{b: s.db.NewBatch()} }

func set[K string | []byte](b *storeBatch, p *space, kind byte, key K, value []byte) {
	b.key = fullKey(b.key[:0], p, kind, key)
	b.keep(b.b.Set(b.key, value, nil))
}

func remove[K string | []byte](b *storeBatch, p *space, kind byte, key K) {
	b.key = fullKey(b.key[:0], p, kind, key)
	b.keep(b.b.Delete(b.key, nil))
}

func (b *storeBatch) deleteRange(p *space, kind byte, start, end []byte) {
	lo, hi := p.bounds(kind, start, end)
	b.keep(b.b.DeleteRange(lo, hi, nil))
}

func (b *storeBatch) mark(p *space, m mark) {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(m.offset))
	v = append(v, m.topic[:]...)
	v = binary.BigEndian.AppendUint64(v, uint64(m.seen.Unix()))
	set(b, p, kindOffset, "", v)
}

func (b *storeBatch) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

// apply puts the batch down whole and readies it for the next use.
func (s *Store) apply(b *storeBatch) error {
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

type pebbleLogger struct{ l *slog.Logger }

func (pebbleLogger) Infof(string, ...any) {}
func (p pebbleLogger) Errorf(f string, a ...any) {
	p.l.Error("local store", "err", fmt.Sprintf(f, a...))
}

// Fatalf must not return: pebble calls it when its state in memory can no longer
// be trusted.
func (p pebbleLogger) Fatalf(f string, a ...any) {
	p.Errorf(f, a...)
	panic(fmt.Sprintf("local store: "+f, a...))
}
