package engine

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// changes are records of a changelog from an offset on; a value of "-" deletes.
func changes(from int64, keysAndValues ...string) (recs []*kgo.Record) {
	for i := 0; i < len(keysAndValues); i += 2 {
		rec := &kgo.Record{Key: []byte(keysAndValues[i]), Value: []byte(keysAndValues[i+1]), Offset: from + int64(i/2)}
		if keysAndValues[i+1] == "-" {
			rec.Value = nil
		}
		recs = append(recs, rec)
	}
	return recs
}

func marker(offset int64) *kgo.Record {
	return &kgo.Record{
		Key: []byte("marker"), Value: []byte("marker"), Offset: offset,
		Attrs: kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Transactional: true, Control: true}),
	}
}

func TestReplay_IsWhatGokaWouldDoRecordByRecord(t *testing.T) {
	s := newSaving(t, 0)
	table := s.replaying()
	recs := changes(10, "a", "long value", "b", "1", "a", "2", "c", "3", "c", "-", "d", "", "b", "a longer one")
	if err := table.replay(recs); err != nil {
		t.Fatal(err)
	}
	held, err := table.Get("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs { // franz-go uses the memory again
		clear(rec.Key)
		clear(rec.Value)
	}
	for key, want := range map[string]string{"a": "2", "b": "a longer one", "d": ""} {
		s.reads(0, key, want)
	}
	for key, want := range map[string]bool{"a": true, "c": false, "d": true, "e": false} {
		if has, err := table.Has(key); err != nil || has != want {
			t.Errorf("%s is there: %v, %v", key, has, err)
		}
	}
	if err := table.replay(append(changes(17, "a", "9"), marker(18))); err != nil {
		t.Fatal(err)
	}
	if string(held) != "2" {
		t.Errorf("a value that somebody has read became %q", held)
	}
	if at, err := table.GetOffset(-2); err != nil || at != 18 {
		t.Errorf("the recovery stands at %d, %v", at, err)
	}
	if has, err := table.Has("marker"); err != nil || has {
		t.Errorf("a marker is a row: %v, %v", has, err)
	}
	if want := rowBytes("a", []byte("9")) + rowBytes("b", []byte("a longer one")) + rowBytes("c", nil) + rowBytes("d", nil); table.unsaved.bytes != want {
		t.Errorf("%d bytes are unsaved, want %d", table.unsaved.bytes, want)
	}
	if err := table.MarkRecovered(); err != nil {
		t.Fatal(err)
	}
	if got := s.stored(0, "a"); got != "9@18" {
		t.Errorf("after the recovery the store has %s", got)
	}
	if err := table.activate(0); err != nil {
		t.Fatal(err)
	}
	if err := table.replay(changes(19, "a", "10")); err == nil {
		t.Error("a table whose replay is over takes records of one")
	}
}

func TestReplay_LargeValueDoesNotStayForSmallOnes(t *testing.T) {
	old := make([]byte, 1<<20)
	if v := copyOver(old, []byte("small")); cap(v) > 100 {
		t.Errorf("5 bytes hold %d", cap(v))
	}
	if v := copyOver(old[:0:8], []byte("8 bytes.")); &v[0] != &old[0] {
		t.Error("memory that fits is not used again")
	}
}

// goka knows by the record before the target that a recovery is over.
func TestReplay_LeavesGokaTheEnd(t *testing.T) {
	const target = 10
	for _, c := range []struct {
		from, n      int64
		left, passed int64 // what goka gets, and where the partition then stands
	}{
		{0, 5, 0, 5},       // all of it before the end
		{0, 9, 0, 9},       // up to the last but one
		{0, 10, 1, 9},      // the last is goka's
		{0, 12, 3, 9},      // and what was written since
		{9, 1, 1, 9},       // only the last
		{10, 3, 3, target}, // nothing is missing
	} {
		t.Run(fmt.Sprintf("%d records from %d", c.n, c.from), func(t *testing.T) {
			s := newSaving(t, 0)
			p := newPartReader(newReader(s.e, noTable), tp{"t", 0}, c.from, target)
			p.table = s.replaying()
			var recs []*kgo.Record
			for i := range c.n {
				recs = append(recs, changes(c.from+i, "key", fmt.Sprint(c.from+i))...)
			}
			left := p.replay(recs)
			if int64(len(left)) != c.left || p.position() != c.passed {
				t.Errorf("goka gets %d, the partition stands at %d; want %d and %d", len(left), p.position(), c.left, c.passed)
			}
			if restored := s.e.counters.restored.Load(); restored != c.n-c.left {
				t.Errorf("%d are counted", restored)
			}
		})
	}
}

// What the table does not take must not be passed over.
func TestReplay_EndsTheRecoveryWhereTheTableTakesNothing(t *testing.T) {
	s := newSaving(t, 0)
	p := newPartReader(newReader(s.e, noTable), tp{"t", 0}, 0, 4)
	p.table = s.replaying()
	if err := p.table.Close(); err != nil {
		t.Fatal(err)
	}
	recs := changes(0, "a", "1", "a", "2", "a", "3", "a", "4")
	p.deliver(p.replay(recs[:2]))
	p.deliver(p.replay(recs[2:]))
	p.finish()
	select {
	case err := <-p.errs:
		if err.Topic != "t" || err.Err == nil {
			t.Errorf("goka gets %v", err)
		}
	default:
		t.Error("goka does not hear of it")
	}
	if len(p.msgs) != 0 {
		t.Errorf("goka gets %d records after one that is missing", len(p.msgs))
	}
}
