package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/localstore"
)

// saving is a session over some tables of one store, with a clock that stands still.
type saving struct {
	*session
	t   *testing.T
	now time.Time
}

func newSaving(t *testing.T, tables int, opts ...StoreOption) *saving {
	t.Helper()
	ls, err := localstore.Open("", localstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ls.Close() })
	s := &saving{t: t, now: time.Now()}
	st, err := NewStore(ls, append(opts, WithClock(func() time.Time { return s.now }))...)
	if err != nil {
		t.Fatal(err)
	}
	s.session = &session{e: &Engine{store: st}}
	for p := range int32(tables) {
		sp, err := st.space("t", p)
		if err != nil {
			t.Fatal(err)
		}
		table := newTable(sp, p)
		if err := table.activate(0); err != nil {
			t.Fatal(err)
		}
		s.tables = append(s.tables, table)
	}
	return s
}

// commit writes one value in a transaction of its own.
func (s *saving) commit(table int, key, value string, offset int64) {
	s.t.Helper()
	t := s.tables[table]
	t.begin()
	if err := t.put(key, []byte(value)); err != nil {
		s.t.Fatal(err)
	}
	t.seal()
	t.committed(offset)
	if err := s.saveOne(); err != nil {
		s.t.Fatal(err)
	}
}

// stored is what the local store holds: value and mark.
func (s *saving) stored(table int, key string) string {
	s.t.Helper()
	v, err := get(s.tables[table].sp, kindTable, key)
	if err != nil {
		s.t.Fatal(err)
	}
	m, ok, err := s.tables[table].sp.mark()
	if err != nil {
		s.t.Fatal(err)
	}
	if !ok {
		m.offset = -1
	}
	return fmt.Sprintf("%s@%d", v, m.offset)
}

func (s *saving) reads(table int, key, want string) {
	s.t.Helper()
	if v, err := s.tables[table].Get(key); err != nil || string(v) != want {
		s.t.Errorf("%s is %q, %v, want %q", key, v, err, want)
	}
}

func TestUnsaved_GoesDownInTimeOneTableAtACommit(t *testing.T) {
	s := newSaving(t, 2)
	s.commit(0, "a", "1", 10)
	s.now = s.now.Add(time.Second)
	s.commit(1, "b", "1", 20)
	s.commit(0, "a", "2", 11)
	s.reads(0, "a", "2")
	if got := s.stored(0, "a") + " " + s.stored(1, "b"); got != "@-1 @-1" {
		t.Errorf("saved at once: %s", got)
	}
	s.now = s.now.Add(saveAfter)
	s.commit(1, "b", "2", 21)
	if got := s.stored(0, "a") + " " + s.stored(1, "b"); got != "2@11 @-1" {
		t.Errorf("after one commit the store has %s, want the table that waited longest, at its last commit", got)
	}
	s.commit(0, "a", "3", 12)
	if got := s.stored(0, "a") + " " + s.stored(1, "b"); got != "2@11 2@21" {
		t.Errorf("after another commit: %s", got)
	}
	s.reads(0, "a", "3")
	s.reads(1, "b", "2")
}

func TestUnsaved_IsBoundedInMemory(t *testing.T) {
	s := newSaving(t, 4, WithRowCacheBytes(64<<10))
	value := string(make([]byte, 1000))
	for i := range 1000 {
		s.commit(i%4, fmt.Sprint("key", i), value, int64(i))
		if n := s.e.store.unsaved.Load(); n > 40<<10 {
			t.Fatalf("%d bytes are unsaved after %d commits", n, i)
		}
	}
	for _, table := range s.tables {
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.e.store.unsaved.Load(); n != 0 {
		t.Errorf("%d bytes are unsaved after the end", n)
	}
}

func TestUnsaved_DeletesAndIsSeenByIteratorsAndAfterClose(t *testing.T) {
	s := newSaving(t, 1)
	s.commit(0, "a", "1", 1)
	s.commit(0, "b", "1", 2)
	it, err := s.tables[0].Iterator()
	if err != nil {
		t.Fatal(err)
	}
	keys := ""
	for it.Next() {
		keys += string(it.Key())
	}
	it.Release()
	if keys != "ab" {
		t.Errorf("an iterator shows %q", keys)
	}
	table := s.tables[0]
	table.begin()
	if err := table.Delete("a"); err != nil {
		t.Fatal(err)
	}
	table.seal()
	table.committed(3)
	if v, err := table.committedValue("a"); err != nil || v != nil {
		t.Errorf("a deleted key is %q, %v", v, err)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.stored(0, "a") + " " + s.stored(0, "b"); got != "@3 1@3" {
		t.Errorf("after a clean end the store has %s", got)
	}
}
