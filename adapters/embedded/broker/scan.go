package broker

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// scanned is what a start knows of one partition before kfake opens it.
type scanned struct {
	tp
	dir   string
	topic topicMeta
	segs  []segment
	snap  snapshot // as it should be on disk
	fits  bool     // and already is

	open    map[int64]openTxn // transactions without a marker, by producer
	watch   watched
	cut     int64            // torn bytes at the end of the last segment
	indexes map[int64][]byte // rebuilt indexes, by segment base
	bytes   int64            // read
}

type openTxn struct {
	first int64
	epoch int16
}

// watched is what became of the last decided transaction in this partition.
type watched struct {
	*decisionPart
	producer int64
	epoch    int16
	data     bool // its records are here
	marked   bool // and so is its marker
	commit   bool // which is a commit
}

// scanPartition reads a partition whole and verifies every checksum: kfake would cut a segment at the first batch that
// went bad, and the rest of it with it. It changes nothing on disk. Only what the log does not say (where it was
// truncated, when it was created) is taken from the snapshot of the last stop.
func scanPartition(root string, t tp, d *decision) (*scanned, error) {
	s := &scanned{tp: t, dir: filepath.Join(root, "partitions", t.dirName()), open: map[int64]openTxn{}, indexes: map[int64][]byte{}}
	if d != nil {
		s.watch = watched{decisionPart: d.part(t), producer: d.Producer, epoch: d.Epoch}
	}
	var err error
	if s.segs, err = listSegments(s.dir); err != nil {
		return nil, fmt.Errorf("listing %s: %w", s.dir, err)
	}
	old, err := readSnapshot(s.dir)
	if err != nil {
		return nil, err
	}
	buf := segmentBuffers.Get().(*[]byte)
	defer segmentBuffers.Put(buf)
	for i := range s.segs {
		if err := s.scanSegment(i, buf); err != nil {
			return nil, err
		}
	}
	s.finish(old)
	return s, nil
}

var segmentBuffers = sync.Pool{New: func() any { return new([]byte) }}

// scanSegment reads one segment.
func (s *scanned) scanSegment(i int, buf *[]byte) error {
	seg := s.segs[i]
	raw, err := readInto(buf, seg.dat(s.dir), seg.size)
	if err != nil {
		return fmt.Errorf("reading segment %s: %w", seg.dat(s.dir), err)
	}
	s.bytes += int64(len(raw))
	batches := int64(0)
	end, err := eachBatch(raw, func(at int64, b *batch) error {
		if b.offset < s.snap.HighWatermark || b.offset < seg.base {
			return fmt.Errorf("segment %s, byte %d: offset %d is not above those before it: %w", seg.dat(s.dir), at, b.offset, ErrDamaged)
		}
		batches++
		s.segs[i].maxTime = max(s.segs[i].maxTime, b.maxTime)
		s.apply(b)
		return nil
	})
	if err != nil {
		return err
	}
	if end < int64(len(raw)) {
		if i < len(s.segs)-1 || !tornTail(raw[end:]) {
			return fmt.Errorf("segment %s, byte %d of %d: %w: %w", seg.dat(s.dir), end, len(raw), errTorn, ErrDamaged)
		}
		s.cut = int64(len(raw)) - end
		s.segs[i].size = end
	}
	// A kill between the two writes of a batch leaves its index entry out, a full disk may leave half of one; kfake
	// would then read all later entries one batch off. Their content it only uses for share groups.
	if s.segs[i].batches = batches; batches*indexEntryBytes != seg.idxSize {
		s.indexes[seg.base] = buildIndex(raw[:end], batches)
		s.segs[i].idxSize = batches * indexEntryBytes
	}
	return nil
}

func buildIndex(raw []byte, batches int64) []byte {
	index := make([]byte, 0, batches*indexEntryBytes)
	_ = eachKnownBatch(raw, func(_ int64, b *batch) error { // whole and sound, as the scan has found
		e := indexEntry(b.leaderEpoch, b.maxTime, b.inTxn())
		index = append(index, e[:]...)
		return nil
	})
	return index
}

// readInto reads a file of a known size into a buffer that grows as needed.
func readInto(buf *[]byte, path string, size int64) ([]byte, error) {
	if int64(cap(*buf)) < size {
		*buf = make([]byte, size)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw := (*buf)[:size]
	_, err = io.ReadFull(f, raw)
	return raw, err
}

// tornTail tells a write that a crash cut short from bytes that went bad: behind the latter the log goes on.
func tornTail(raw []byte) bool {
	for at := batchHeaderBytes; at+batchHeaderBytes <= len(raw); at++ {
		if raw[at+16] != 2 {
			continue
		}
		if b, ok := firstBatch(raw[at:]); ok && b.sound() {
			return false
		}
	}
	return true
}

func (s *scanned) apply(b *batch) {
	if s.snap.HighWatermark == 0 {
		s.snap.LogStartOffset = b.offset
	}
	s.snap.HighWatermark = b.end()
	s.snap.Epoch = max(s.snap.Epoch, b.leaderEpoch)
	s.snap.MaxTimestamp = max(s.snap.MaxTimestamp, b.maxTime)
	switch {
	case b.control():
		s.applyMarker(b)
	case b.inTxn():
		if _, ok := s.open[b.producer]; !ok {
			s.open[b.producer] = openTxn{first: b.offset, epoch: b.epoch}
		}
		if w := &s.watch; w.decisionPart != nil && b.producer == w.producer && b.epoch == w.epoch && b.offset >= w.Base {
			w.data = true
		}
	}
}

func (s *scanned) applyMarker(b *batch) {
	commit := b.commits()
	if t, ok := s.open[b.producer]; ok && !commit {
		s.snap.AbortedTxns = append(s.snap.AbortedTxns, abortedTxn{ProducerID: b.producer, FirstOffset: t.first, LastOffset: b.offset})
	}
	delete(s.open, b.producer)
	if w := &s.watch; w.data && !w.marked && b.producer == w.producer {
		w.marked, w.commit = true, commit
	}
}

// finish completes the snapshot. The markers still missing are added by the repair.
func (s *scanned) finish(old *snapshot) {
	s.snap.Version = kfakeVersion
	s.snap.LastStableOffset = s.snap.HighWatermark
	for _, seg := range s.segs {
		if seg.size > 0 {
			s.snap.Segments = append(s.snap.Segments, snapSegment{Base: seg.base, Size: seg.size})
		}
		if s.snap.CreatedAt.IsZero() {
			s.snap.CreatedAt = seg.modified
		}
	}
	if old == nil {
		return
	}
	s.snap.CreatedAt = old.CreatedAt
	s.snap.Epoch = max(s.snap.Epoch, old.Epoch)
	s.snap.LogStartOffset = max(s.snap.LogStartOffset, min(old.LogStartOffset, s.snap.HighWatermark))
	s.fits = s.cut == 0 && len(s.open) == 0 && old.LastStableOffset == old.HighWatermark &&
		old.HighWatermark == s.snap.HighWatermark && old.LogStartOffset == s.snap.LogStartOffset &&
		slices.EqualFunc(old.Segments, s.snap.Segments, func(a, b snapSegment) bool { return a.Base == b.Base && a.Size == b.Size }) &&
		slices.Equal(old.AbortedTxns, s.snap.AbortedTxns)
}
