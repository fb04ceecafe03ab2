package broker

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A stop, and a start after a kill, rewrite what makes starts slow. kfake spends some 0.7 µs and holds 72 bytes of memory for every batch, and
// a commit every few milliseconds makes a batch and a marker of nearly every record. So runs of small batches are merged
// into large ones (same records, same offsets), markers and aborted records go, and compacted topics keep the latest
// value of each key. Nothing is open at that point, and no reader is there: both are what makes it safe.

// smallBatchBytes: a segment whose batches are smaller on average is worth merging.
const smallBatchBytes = 2 << 10

// CompactReport says what was rewritten.
type CompactReport struct {
	Partitions    int
	BytesBefore   int64
	BytesAfter    int64
	BatchesBefore int64
	BatchesAfter  int64
	Expired       int // segments dropped because all their records are older than the topic's retention, or purged
}

// rewritePlan is what is to be done to one partition.
type rewritePlan struct {
	*scanned
	tune  tuning
	drop  int          // segments at the head that go
	merge map[int]bool // segments to be written anew, by index; the others are kept as files
	keys  bool         // keep only the latest value of each key
}

// compact rewrites the partitions that gain most, up to a bound of bytes and of free disk.
func (b *Broker) compact(parts []*scanned, r *CompactReport) error {
	plans := b.choose(parts)
	var mu sync.Mutex
	return inParallel(b.cfg.tune.workers, len(plans), func(i int) error {
		p := plans[i]
		before, batches := p.total()
		after, err := b.rewrite(p)
		if err != nil {
			return fmt.Errorf("compacting %s/%d: %w", p.Topic, p.Part, err)
		}
		mu.Lock()
		defer mu.Unlock()
		r.Partitions++
		r.BytesBefore += before
		r.BatchesBefore += batches
		r.BytesAfter += after.bytes
		r.BatchesAfter += after.batches
		r.Expired += p.drop
		return nil
	})
}

func (b *Broker) choose(parts []*scanned) []rewritePlan {
	var plans []rewritePlan
	for _, s := range parts {
		if p := plan(s, b.cfg); p.drop > 0 || len(p.merge) > 0 {
			plans = append(plans, p)
		}
	}
	slices.SortFunc(plans, func(a, b rewritePlan) int { return -cmp.Compare(a.smallBatches(), b.smallBatches()) })
	free, err := b.cfg.freeBytes(b.cfg.Dir)
	if err != nil {
		return nil // the first write will say so
	}
	left := min(b.cfg.tune.rewriteBytes, free-b.cfg.MinFreeBytes)
	return slices.DeleteFunc(plans, func(p rewritePlan) bool {
		n := p.mergedBytes()
		if n > left {
			return true
		}
		left -= n
		return false
	})
}

func plan(s *scanned, cfg Config) rewritePlan {
	p := rewritePlan{scanned: s, tune: cfg.tune, merge: map[int]bool{}, drop: s.expired(cfg.Now())}
	if s.topic.compacted() && s.dirty(cfg.tune.dirtyBytes) {
		p.keys = true
	}
	small := int64(0)
	for i := p.drop; i < len(s.segs); i++ {
		seg := s.segs[i]
		isSmall := seg.batches > 1 && seg.size < seg.batches*smallBatchBytes
		if isSmall {
			small += seg.batches
		}
		if isSmall || p.keys {
			p.merge[i] = true
		}
	}
	if small < cfg.tune.smallBatches && !p.keys {
		clear(p.merge)
	}
	return p
}

// expired counts the segments at the head that hold nothing to keep. Never the last: it says where the log ends.
func (s *scanned) expired(now time.Time) (n int) {
	retention := s.topic.millis("retention.ms", -1)
	byTime := retention >= 0 && s.topic.Configs["cleanup.policy"] != "compact"
	for i := range len(s.segs) - 1 {
		purged := s.segs[i+1].base <= s.snap.LogStartOffset
		old := byTime && now.UnixMilli()-s.segs[i].maxTime >= retention.Milliseconds()
		if !purged && !old {
			break
		}
		n++
	}
	return n
}

// compactedMark lies beside the segments of a compacted partition and goes with them.
type compactedMark struct {
	Bytes int64 `json:"bytes"` // that the last compaction left
}

const compactedMarkFile = "compacted.json"

// dirty tells whether so much was written since the last compaction that another pays.
func (s *scanned) dirty(from int64) bool {
	var mark compactedMark
	if _, err := readJSON(filepath.Join(s.dir, compactedMarkFile), &mark); err != nil {
		return true
	}
	total, _ := rewritePlan{scanned: s}.total()
	return total-mark.Bytes > max(from, mark.Bytes/2)
}

func (p rewritePlan) total() (bytes, batches int64) {
	for _, seg := range p.segs {
		bytes += seg.size
		batches += seg.batches
	}
	return bytes, batches
}

func (p rewritePlan) mergedBytes() (n int64) {
	for i := range p.merge {
		n += p.segs[i].size
	}
	return n
}

func (p rewritePlan) smallBatches() (n int64) {
	for i := range p.merge {
		n += p.segs[i].batches
	}
	return n
}
