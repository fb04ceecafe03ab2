package broker

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// repair brings the folder into a state that kfake opens quickly and rightly: every transaction ended by a marker,
// indexes and snapshots fitting the segments. It runs at every start, because reading the log is cheaper than trusting it.
//
// The order makes every step repeatable, a kill in between included. Markers and offsets of the decision come first
// and the slot is emptied behind them; snapshots come last, because they hide the markers that a second run judges by.
type repair struct {
	cfg    Config
	slot   *slot
	report *Report
	topics []topicMeta
	parts  []*scanned
}

func (r *repair) run() error {
	d, err := r.slot.read()
	if err != nil {
		return err
	}
	if r.topics, err = readTopics(r.cfg.Dir); err != nil {
		return err
	}
	if r.parts, err = r.scanAll(d); err != nil {
		return err
	}
	r.cfg.step("scanned")
	verdict := r.judge(d)
	ended := map[int64]int16{}
	if err := r.endTransactions(d, verdict, ended); err != nil {
		return err
	}
	r.cfg.step("markers")
	if err := r.restoreState(d, verdict, ended); err != nil {
		return err
	}
	if err := r.slot.clear(); err != nil {
		return err
	}
	r.cfg.step("slot")
	for _, p := range r.parts {
		if p.fits {
			continue
		}
		if err := p.writeSnapshot(r.cfg.Sync); err != nil {
			return err
		}
		r.cfg.step("snapshot")
	}
	return nil
}

// scanAll reads all partitions, as many at a time as there are processors.
func (r *repair) scanAll(d *decision) ([]*scanned, error) {
	type one struct {
		tp
		topic topicMeta
	}
	var all []one
	for _, t := range r.topics {
		for p := range t.Partitions {
			all = append(all, one{tp{t.Name, int32(p)}, t}) // partition counts are small
		}
	}
	out := make([]*scanned, len(all))
	err := inParallel(runtime.GOMAXPROCS(0), len(all), func(i int) (err error) {
		if out[i], err = scanPartition(r.cfg.Dir, all[i].tp, d); err == nil {
			out[i].topic = all[i].topic
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("checking the log: %w", err)
	}
	for _, p := range out {
		r.report.Partitions++
		r.report.ScannedBytes += p.bytes
		r.report.CutBytes += p.cut
		r.report.IndexesRebuilt += len(p.indexes)
	}
	return out, nil
}

// inParallel runs fn for 0..n-1, some at a time, and returns the first error.
func inParallel(workers, n int, fn func(i int) error) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		next  int
		first error
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == n || first != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range min(n, workers) {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := fn(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// judge says whether the last decided transaction is to be completed. An abort marker voids it: kfake had timed the
// transaction out and refused the commit.
func (r *repair) judge(d *decision) Verdict {
	if d == nil {
		return NoDecision
	}
	v := DecisionDone
	for _, p := range r.parts {
		switch w := p.watch; {
		case w.marked && !w.commit:
			return DecisionVoid
		case w.data && !w.marked:
			v = DecisionCompleted
		}
	}
	return v
}

// endTransactions writes the missing markers: commit for the decided transaction, abort for what else was open.
func (r *repair) endTransactions(d *decision, v Verdict, ended map[int64]int16) error {
	r.report.Decision = v
	for _, p := range r.parts {
		if err := p.mend(r.cfg.Sync); err != nil {
			return err
		}
		for _, id := range p.openProducers() {
			t := p.open[id]
			commit := v == DecisionCompleted && id == d.Producer && p.watch.data && !p.watch.marked
			if err := p.end(id, t, commit, r.cfg); err != nil {
				return err
			}
			ended[id] = max(ended[id], t.epoch)
			if commit {
				r.report.CommitMarkers++
			} else {
				r.report.AbortMarkers++
			}
			r.cfg.step("marker")
		}
	}
	return nil
}

// restoreState repairs the groups' offsets and the producer ids.
func (r *repair) restoreState(d *decision, v Verdict, ended map[int64]int16) error {
	var want []groupOffset
	committed := int64(-1)
	if d != nil && v != DecisionVoid {
		want = r.existing(d.Offsets)
		committed = d.Producer
	}
	n, err := repairOffsets(r.cfg.Dir, want, r.cfg.Now(), r.cfg.Sync)
	if err != nil {
		return err
	}
	r.report.OffsetsMoved = n
	r.cfg.step("offsets")
	if committed >= 0 {
		ended[committed] = max(ended[committed], d.Epoch)
	}
	if err := repairProducers(r.cfg.Dir, ended, committed, r.cfg.Sync); err != nil {
		return err
	}
	r.cfg.step("producers")
	return nil
}

// existing leaves out offsets of topics that are gone.
func (r *repair) existing(offsets []groupOffset) []groupOffset {
	return slices.DeleteFunc(slices.Clone(offsets), func(o groupOffset) bool {
		return !slices.ContainsFunc(r.topics, func(t topicMeta) bool { return t.Name == o.Topic && int(o.Part) < t.Partitions })
	})
}

// mend cuts the torn end, writes the rebuilt indexes and removes empty segments, which kfake's snapshots do not know.
func (s *scanned) mend(durable bool) error {
	if s.cut > 0 {
		last := s.segs[len(s.segs)-1]
		if err := os.Truncate(last.dat(s.dir), last.size); err != nil {
			return fmt.Errorf("cutting the torn end of %s: %w", last.dat(s.dir), err)
		}
	}
	for base, index := range s.indexes {
		if err := writeFile(segment{base: base}.idx(s.dir), index, durable); err != nil {
			return fmt.Errorf("rebuilding an index: %w", err)
		}
	}
	var errs []error
	s.segs = slices.DeleteFunc(s.segs, func(seg segment) bool {
		if seg.size == 0 {
			errs = append(errs, removeIfThere(seg.dat(s.dir)), removeIfThere(seg.idx(s.dir)))
		}
		return seg.size == 0
	})
	return errors.Join(errs...)
}

func (s *scanned) openProducers() []int64 {
	ids := make([]int64, 0, len(s.open))
	for id := range s.open {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b int64) int { return cmp.Compare(s.open[a].first, s.open[b].first) })
	return ids
}

// end appends a marker to the partition, batch before index as kfake does: the next scan mends what a kill leaves.
func (s *scanned) end(producer int64, t openTxn, commit bool, cfg Config) error {
	now := cfg.Now()
	raw := marker(s.snap.HighWatermark, producer, t.epoch, s.snap.Epoch, commit, now)
	entry := indexEntry(s.snap.Epoch, now.UnixMilli(), false)
	last := len(s.segs) - 1
	for _, w := range []struct {
		path string
		raw  []byte
	}{{s.segs[last].dat(s.dir), raw}, {s.segs[last].idx(s.dir), entry[:]}} {
		if err := appendFile(w.path, w.raw, cfg.Sync); err != nil {
			return fmt.Errorf("ending a transaction in %s: %w", w.path, err)
		}
	}
	if !commit {
		s.snap.AbortedTxns = append(s.snap.AbortedTxns, abortedTxn{ProducerID: producer, FirstOffset: t.first, LastOffset: s.snap.HighWatermark})
	}
	s.snap.HighWatermark++
	s.snap.LastStableOffset = s.snap.HighWatermark
	s.snap.MaxTimestamp = max(s.snap.MaxTimestamp, now.UnixMilli())
	s.segs[last].size += int64(len(raw))
	s.snap.Segments[len(s.snap.Segments)-1].Size = s.segs[last].size
	return nil
}

func (s *scanned) writeSnapshot(durable bool) error {
	if len(s.segs) == 0 { // kfake does not read it without segments
		return nil
	}
	if err := writeJSON(filepath.Join(s.dir, "snapshot.json"), s.snap, durable); err != nil {
		return fmt.Errorf("saving the state of %s/%d: %w", s.Topic, s.Part, err)
	}
	return nil
}

func appendFile(path string, raw []byte, durable bool) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil && durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Verdict is what the start found of the last transaction that was being committed when the process ended.
type Verdict string

// The verdicts of a start.
const (
	NoDecision        Verdict = "none"      // nothing was being committed
	DecisionDone      Verdict = "done"      // its markers were all there; offsets may have been moved
	DecisionCompleted Verdict = "completed" // markers were missing and have been written
	DecisionVoid      Verdict = "void"      // the broker had timed the transaction out: it is aborted
)

// Report says what a start found and did.
type Report struct {
	Clean          bool // the last stop was a clean one
	Partitions     int
	ScannedBytes   int64 // read and verified
	CutBytes       int64 // torn by a crash in the middle of a write; nobody was told that they are there
	IndexesRebuilt int
	Decision       Verdict
	CommitMarkers  int // written to complete the decided transaction
	AbortMarkers   int // written to end what was open
	OffsetsMoved   int // group offsets of the decided transaction that were missing

	Compacted CompactReport

	LogBytes int64 // after the start

	RepairTime  time.Duration
	CompactTime time.Duration
	OpenTime    time.Duration // kfake's own
	TotalTime   time.Duration
}
