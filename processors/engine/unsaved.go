package engine

import (
	"maps"
	"time"
)

// unsaved are committed values of one table on their way to the local store. The
// changelog has them, so nothing is lost with them; a key that changes all the time is
// written to disk once in a while instead of at every commit. The table's lock guards
// it.
type unsaved struct {
	rows   map[string][]byte // nil: deleted
	bytes  int64
	offset int64     // changelog offset that the table stands at with them
	since  time.Time // of the oldest; zero: there are none
}

const (
	// saveAfter bounds what a restart after a kill has to read again.
	saveAfter = 5 * time.Second
	// unsavedShare of the memory for rows may be unsaved; they are rows like any other.
	unsavedShare = 2
)

func (u *unsaved) put(s *Store, key string, v []byte) {
	old, there := u.rows[key]
	n := rowBytes(key, v)
	if there {
		n -= rowBytes(key, old)
	}
	if u.rows == nil {
		u.rows = map[string][]byte{}
	}
	u.rows[key] = v
	u.bytes += n
	s.unsaved.Add(n)
}

// save brings the local store to the last commit, in one batch. t.mu is held.
func (t *table) save() error {
	u := &t.unsaved
	if u.since.IsZero() {
		return nil
	}
	st := t.sp.s
	b := st.batch()
	defer st.reuse(b)
	t.addTo(b, maps.All(u.rows), u.offset)
	if err := st.apply(b); err != nil {
		return err
	}
	t.rows.version++
	for key, v := range u.rows {
		t.rows.put(key, v)
	}
	st.unsaved.Add(-u.bytes)
	clear(u.rows)
	*u = unsaved{rows: u.rows}
	return nil
}

// unsavedSince is when the oldest unsaved value was committed, zero if there is none.
func (t *table) unsavedSince() time.Time {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.unsaved.since
}

// saveOne saves the table that has waited longest, if it is time: one at a commit,
// because clients wait meanwhile.
func (s *session) saveOne() error {
	var oldest *table
	var since time.Time
	for _, t := range s.tables {
		if at := t.unsavedSince(); !at.IsZero() && (oldest == nil || at.Before(since)) {
			oldest, since = t, at
		}
	}
	st := s.e.store
	if oldest == nil || st.now().Sub(since) < saveAfter && st.unsaved.Load() < st.rowLimit/unsavedShare {
		return nil
	}
	oldest.mu.Lock()
	defer oldest.mu.Unlock()
	return oldest.save()
}
