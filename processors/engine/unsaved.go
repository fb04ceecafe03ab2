package engine

import "time"

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

// keep notes a committed value. t.mu is held.
func (t *table) keep(key string, v []byte) {
	u := &t.unsaved
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
	if t.counts() {
		t.sp.s.unsaved.Add(n)
	}
}

// counts says whether the table's unsaved rows make others go down before their time.
// A copy that follows has few, and may have no record for hours that would end them.
func (t *table) counts() bool { return t.mode != replaying || !t.full }

// dropUnsaved forgets what is unsaved. t.mu is held.
func (t *table) dropUnsaved() {
	if t.counts() {
		t.sp.s.unsaved.Add(-t.unsaved.bytes)
	}
	t.unsaved = unsaved{}
}

// reach notes the changelog offset that the table stands at.
func (u *unsaved) reach(offset int64, now func() time.Time) {
	u.offset = offset
	if u.since.IsZero() {
		u.since = now()
	}
}

// unsavedTooMuch reports whether tables must go down before their time.
func (s *Store) unsavedTooMuch() bool { return s.unsaved.Load() >= s.rowLimit/unsavedShare }

// save brings the local store to the last commit, in one batch. t.mu is held.
func (t *table) save() error {
	u := &t.unsaved
	if u.since.IsZero() {
		return nil
	}
	st := t.sp.s
	b := st.batch()
	defer st.reuse(b)
	for key, v := range u.rows {
		if v == nil {
			remove(b, t.sp, kindTable, key)
		} else {
			set(b, t.sp, kindTable, key, v)
		}
	}
	b.mark(t.sp, mark{offset: u.offset, topic: t.topic, seen: t.now()})
	if err := st.apply(b); err != nil {
		return err
	}
	t.rows.version++
	rows := u.rows
	t.dropUnsaved()
	if t.mode == replaying { // nobody has asked for them yet, and the map was a recovery's
		return nil
	}
	for key, v := range rows {
		t.rows.put(key, v)
	}
	clear(rows)
	u.rows = rows
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
	if oldest == nil || st.now().Sub(since) < saveAfter && !st.unsavedTooMuch() {
		return nil
	}
	oldest.mu.Lock()
	defer oldest.mu.Unlock()
	return oldest.save()
}
