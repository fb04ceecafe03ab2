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
	for range tables {
		if err := s.replaying().activate(0); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// replaying opens another table.
func (s *saving) replaying() *table {
	s.t.Helper()
	p := int32(len(s.tables))
	sp, err := s.e.store.space("t", p)
	if err != nil {
		s.t.Fatal(err)
	}
	table := newTable(sp, p)
	s.tables = append(s.tables, table)
	return table
}

// replay hands a table a record of its changelog, as goka does.
func (s *saving) replay(table int, key, value string, offset int64) {
	s.t.Helper()
	t := s.tables[table]
	if err := t.Set(key, []byte(value)); err != nil {
		s.t.Fatal(err)
	}
	if err := t.SetOffset(offset); err != nil {
		s.t.Fatal(err)
	}
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

func TestUnsaved_RecoveryWritesEachKeyOnce(t *testing.T) {
	s := newSaving(t, 0)
	table := s.replaying()
	for i := range int64(100) {
		s.replay(0, "a", fmt.Sprint(i), i)
	}
	s.reads(0, "a", "99")
	if got := s.stored(0, "a"); got != "@-1" {
		t.Errorf("saved before the end of a recovery: %s", got)
	}
	if at, err := table.GetOffset(-2); err != nil || at != 99 {
		t.Errorf("the recovery stands at %d, %v", at, err)
	}
	if s.e.store.unsaved.Load() == 0 {
		t.Error("what a recovery holds is not counted")
	}
	if err := table.MarkRecovered(); err != nil {
		t.Fatal(err)
	}
	if got := s.stored(0, "a"); got != "99@99" {
		t.Errorf("after the recovery the store has %s", got)
	}
	if n := s.e.store.unsaved.Load() + s.e.store.cachedRows.Load(); n != 0 {
		t.Errorf("%d bytes stay in memory", n)
	}
}

func TestUnsaved_RecoveryIsBoundedInMemoryAndTime(t *testing.T) {
	s := newSaving(t, 0, WithRowCacheBytes(16<<20))
	s.replaying()
	s.replaying()
	value := string(make([]byte, 64<<10))
	for i := range int64(1000) {
		s.replay(int(i%2), fmt.Sprint("key", i), value, i)
		if n := s.e.store.unsaved.Load(); n > 9<<20 {
			t.Fatalf("%d bytes are unsaved after %d records", n, i)
		}
	}
	s.replay(0, "late", "1", 1000)
	s.now = s.now.Add(recoverAfter)
	s.replay(0, "late", "2", 1001)
	if got := s.stored(0, "late"); got != "2@1001" {
		t.Errorf("after %v the store has %s", recoverAfter, got)
	}
}

func TestUnsaved_CopySavesAsItGoes(t *testing.T) {
	s := newSaving(t, 0)
	copied := s.replaying()
	s.replay(0, "a", "1", 1)
	if err := copied.MarkRecovered(); err != nil {
		t.Fatal(err)
	}
	s.replay(0, "a", "2", 2)
	s.reads(0, "a", "2")
	if got := s.stored(0, "a"); got != "1@1" {
		t.Errorf("saved at once: %s", got)
	}
	if n := s.e.store.unsaved.Load(); n != 0 {
		t.Errorf("a copy that follows makes others save for %d bytes", n)
	}
	s.now = s.now.Add(saveAfter)
	s.replay(0, "b", "1", 3)
	if got := s.stored(0, "a") + " " + s.stored(0, "b"); got != "2@3 1@3" {
		t.Errorf("after %v the store has %s", saveAfter, got)
	}
}

func TestUnsaved_ClosedTableKeepsNothing(t *testing.T) {
	s := newSaving(t, 0)
	table := s.replaying()
	s.replay(0, "a", "1", 1)
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.stored(0, "a"); got != "1@1" {
		t.Errorf("after a clean end the store has %s", got)
	}
	if err := table.Set("b", []byte("1")); err == nil {
		t.Error("a closed table takes a write")
	}
	if err := table.SetOffset(2); err != nil {
		t.Error(err)
	}
	s.reads(0, "a", "1")
	table.begin()
	if err := table.Delete("a"); err == nil {
		t.Error("a closed table takes a delete")
	}
	if n := s.e.store.unsaved.Load() + s.e.store.cachedRows.Load(); n != 0 {
		t.Errorf("%d bytes stay in memory", n)
	}
}
