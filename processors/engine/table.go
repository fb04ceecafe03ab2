package engine

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/twmb/franz-go/pkg/kgo"
)

// mode of a table:
//
//	replaying ──activate──▶ sealed ◀──────────────┐
//	    │                     │ begin             │ committed, rollback
//	    │                     ▼                   │
//	    └──────Close───▶  writing ────────────────┘
//
// Joins, lookups, views and hot standbys stay in replaying. Close leads to closed from
// everywhere; goka may still ask then.
type mode byte

const (
	replaying mode = iota // goka replays the changelog: Set or Delete, then SetOffset, per record; what it sets is committed
	sealed                // no transaction is open: writes are refused
	writing               // writes belong to the open transaction
	closed                // writes are refused, and nothing is remembered
)

// active says whether the table is the group's and its replay is over.
func (m mode) active() bool { return m == sealed || m == writing }

const (
	// A copy that follows its changelog goes down when it has this much, or at the next
	// record after saveAfter.
	followBytes = 4 << 20
	// A recovery holds back more, because a long changelog has the same keys again and
	// again and only their last values are worth a disk: this much of one table, and of
	// all together half of the memory for rows, but not for longer than recoverAfter,
	// which bounds what a kill costs.
	recoverBytes = 32 << 20
	recoverAfter = 10 * time.Second
)

// table implements goka's storage.Storage for one partition: an overlay of what is
// not yet in the local store over what is.
//
// The local store holds at every moment the committed table as of its mark. A
// transaction's writes stay in the overlay, where only this partition's callbacks
// read them, until they are committed and go down some time later, in one batch with
// the changelog offset (see unsaved), or are forgotten. So a crash leaves nothing to
// repair.
type table struct {
	sp   *space
	part int32
	npar int32 // partitions of the group table; 0: keys are not checked
	now  func() time.Time
	// check tells on Open whether what the store holds is still a prefix of the
	// changelog. It is nil in tests.
	check func(t *table, m mark) (topic [16]byte, keep bool, err error)
	// opened and closed tell the engine; nil for other tables than the group's.
	opened, closed func(*table)
	recovered      func() // nil in tests

	mu      sync.RWMutex // the overlay: one writer, readers from anywhere
	mode    mode
	full    bool             // recovered: all that was committed when the replay began is here
	index   map[string]int32 // key → ents
	ents    []entry          // in the order of first writing
	bytes   int
	topic   [16]byte
	unsaved unsaved      // committed values that the local store has not got yet
	rows    rowCache     // committed values that it has
	records []kgo.Record // scratch of flush
}

type entry struct {
	key     string
	value   []byte       // nil: deleted
	headers goka.Headers // of the last write of this key
}

func newTable(sp *space, part int32) *table {
	return &table{sp: sp, part: part, now: sp.s.now, index: map[string]int32{}, rows: rowCache{s: sp.s}}
}

// Open compares the store with the changelog and empties the partition if the one
// does not continue the other.
func (t *table) Open() error {
	if t.check != nil {
		m, ok, err := t.sp.mark()
		if err != nil {
			return err
		}
		if !ok {
			m.offset = -1
		}
		topic, keep, err := t.check(t, m)
		if err != nil {
			return err
		}
		t.topic = topic
		if ok && !keep {
			if err := t.sp.wipe(); err != nil {
				return err
			}
		}
	}
	if t.opened != nil {
		t.opened(t)
	}
	return nil
}

// Close keeps what was replayed and drops what an unfinished transaction wrote.
func (t *table) Close() error {
	if t.closed != nil {
		t.closed(t)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.sp.close()
	err := t.save()
	t.dropUnsaved() // if that failed: the changelog has them
	t.forget()
	t.rows.drop()
	t.mode = closed
	if err != nil {
		return err
	}
	return t.touch()
}

// touch notes that the store is up to date now.
func (t *table) touch() error {
	m, ok, err := t.sp.mark()
	if err != nil || !ok || t.now().Sub(m.seen) < time.Minute {
		return err
	}
	m.seen = t.now()
	b := t.sp.s.batch()
	b.mark(t.sp, m)
	return t.sp.s.apply(b)
}

func (t *table) Get(key string) ([]byte, error) {
	t.mu.RLock()
	if i, ok := t.index[key]; ok {
		v := t.ents[i].value
		t.mu.RUnlock()
		return v, nil
	}
	t.mu.RUnlock()
	return t.committedValue(key)
}

// committedValue reads past the open transaction.
func (t *table) committedValue(key string) ([]byte, error) {
	t.mu.Lock()
	v, ok := t.unsaved.rows[key]
	if !ok {
		v, ok = t.rows.get(key)
	}
	if !t.full {
		v = bytes.Clone(v) // see copyOver
	}
	version := t.rows.version
	t.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := get(t.sp, kindTable, key)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	// The store may have been written to between the read and now.
	if t.rows.version == version && t.mode.active() {
		t.rows.put(key, v)
	}
	t.mu.Unlock()
	return v, nil
}

func (t *table) Has(key string) (bool, error) {
	v, err := t.Get(key)
	return v != nil, err
}

func (t *table) Set(key string, value []byte) error {
	if value == nil {
		return fmt.Errorf("key %q: a nil value is a delete", key)
	}
	return t.put(key, value)
}

func (t *table) Delete(key string) error { return t.put(key, nil) }

func (t *table) put(key string, value []byte) error {
	if t.npar > 0 && PartitionOf(key, t.npar) != t.part {
		return fmt.Errorf("key %q belongs to partition %d of %s, not %d: its record is partitioned wrongly and must be a dead letter", key, PartitionOf(key, t.npar), t.sp.use, t.part)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.mode {
	case sealed, closed:
		return errOutsideTxn
	case replaying: // the value is a piece of a fetched batch and would keep all of it
		t.keep(key, bytes.Clone(value))
		return nil
	case writing:
	}
	if i, ok := t.index[key]; ok {
		e := &t.ents[i]
		t.bytes += len(value) - len(e.value)
		e.value, e.headers = value, nil
		return nil
	}
	t.index[key] = int32(len(t.ents))
	t.ents = append(t.ents, entry{key: key, value: value})
	t.bytes += len(key) + len(value)
	return nil
}

// setHeaders gives the table record of a key that was just written its headers.
func (t *table) setHeaders(key string, h goka.Headers) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.index[key]; ok {
		t.ents[i].headers = h
	}
}

// SetOffset follows each replayed record. Outside of a replay goka does not call
// it, because the producer hands goka no message; the engine keeps the offset.
func (t *table) SetOffset(offset int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mode != replaying {
		return nil
	}
	return t.replayed(offset)
}

// replay does for many records of the changelog what goka does for one: Set or Delete,
// then SetOffset. It keeps nothing of theirs: they are pieces of a fetched batch and
// would keep all of it.
func (t *table) replay(recs []*kgo.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mode != replaying {
		return errOutsideTxn
	}
	for _, rec := range recs {
		switch {
		case rec.Attrs.IsControl():
		case rec.Value == nil:
			t.keep(string(rec.Key), nil)
		default:
			t.keep(string(rec.Key), copyOver(t.unsaved.rows[string(rec.Key)], rec.Value))
		}
	}
	return t.replayed(recs[len(recs)-1].Offset)
}

// copyOver copies a value into the memory of the one before it, unless that is far too
// large: a long changelog has the same keys again and again. Who reads a table before
// the end of its recovery gets a copy.
func copyOver(old, v []byte) []byte {
	if old == nil || cap(old) > 2*len(v)+64 {
		return bytes.Clone(v)
	}
	return append(old[:0], v...)
}

// replayed notes the offset that a replay has come to, and saves when that is due. t.mu is held.
func (t *table) replayed(offset int64) error {
	u := &t.unsaved
	u.reach(offset, t.now)
	due, most := recoverAfter, int64(recoverBytes)
	if t.full {
		due, most = saveAfter, followBytes
	} else if t.sp.s.unsavedTooMuch() {
		most = followBytes
	}
	if u.bytes < most && t.now().Sub(u.since) < due {
		return nil
	}
	return t.save()
}

func (t *table) GetOffset(def int64) (int64, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.unsaved.since.IsZero() {
		return t.unsaved.offset, nil
	}
	m, ok, err := t.sp.mark()
	if err != nil || !ok {
		return def, err
	}
	return m.offset, nil
}

// MarkRecovered is called by goka at the end of a recovery.
func (t *table) MarkRecovered() error {
	if t.recovered != nil {
		t.recovered()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.save()
	t.full = err == nil
	return err
}

// forget empties the overlay. A map that has been large once stays large, and
// clearing it costs its capacity, so few keys are taken out one by one.
func (t *table) forget() {
	if len(t.ents) < 64 {
		for i := range t.ents {
			delete(t.index, t.ents[i].key)
		}
	} else {
		clear(t.index)
	}
	clear(t.ents)
	t.ents = t.ents[:0]
	t.bytes = 0
}

// activate ends the replay: goka's Setup has finished.
func (t *table) activate(npar int32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.save(); err != nil {
		return err
	}
	t.mode, t.npar = sealed, npar
	return nil
}

// begin lets the callbacks of a transaction write, seal ends that.
func (t *table) begin() { t.setMode(writing) }
func (t *table) seal()  { t.setMode(sealed) }

func (t *table) setMode(m mode) {
	t.mu.Lock()
	if t.mode != closed {
		t.mode = m
	}
	t.mu.Unlock()
}

// dirty returns what the open transaction holds in memory.
func (t *table) dirty() (keys, bytes int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.ents), t.bytes
}

// flush produces the last value of each key that the transaction wrote. Nobody can
// see the values before, because the transaction is atomic: a hot key costs one
// record per commit. The table is sealed and stays so until these are committed,
// so franz-go may read keys and values while they are on their way.
func (t *table) flush(topic string, produce func(*kgo.Record)) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := len(t.ents)
	if cap(t.records) < n {
		t.records = make([]kgo.Record, n+n/2)
	}
	t.records = t.records[:cap(t.records)]
	now := t.now()
	for i := range t.ents {
		e, r := &t.ents[i], &t.records[i]
		*r = kgo.Record{
			Topic: topic, Partition: t.part, Context: forced, Timestamp: now,
			Key: append(r.Key[:0], e.key...), Value: e.value, Headers: appendHeaders(r.Headers[:0], e.headers),
		}
		produce(r)
	}
	return n
}

// committed turns the overlay into committed values; offset is the changelog's.
func (t *table) committed(offset int64) {
	t.mu.Lock()
	for i := range t.ents {
		t.keep(t.ents[i].key, t.ents[i].value)
	}
	t.unsaved.reach(offset, t.now)
	t.forget()
	t.mu.Unlock()
}

// Iterator shows what the store holds: the committed table, without the open
// transaction. What was gathered for it goes down first.
func (t *table) Iterator() (storage.Iterator, error) { return t.IteratorWithRange(nil, nil) }

// IteratorWithRange goes from start to limit; without a limit over the keys that
// begin with start, as goka's own storage does.
func (t *table) IteratorWithRange(start, limit []byte) (storage.Iterator, error) {
	t.mu.Lock()
	err := t.save()
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if len(limit) == 0 {
		limit = prefixEnd(start)
	}
	return t.sp.iterate(kindTable, start, limit)
}

func (t *table) active() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mode.active()
}
