package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rewritten is what a rewrite has left of a partition.
type rewritten struct{ bytes, batches int64 }

// rewrite builds the partition anew in the swap folder and swaps it in as a whole.
func (b *Broker) rewrite(p rewritePlan) (rewritten, error) {
	sw := newSwap(b.cfg.Dir, p.dirName())
	if err := sw.begin(); err != nil {
		return rewritten{}, err
	}
	w := &segmentWriter{dir: sw.building(), batchBytes: p.tune.batchBytes, buf: make([]byte, 0, min(p.mergedBytes(), segmentBytes)+int64(p.tune.batchBytes))}
	defer w.abandon()
	if err := p.copyInto(w, b.cfg.Now().UnixMilli()); err != nil {
		return rewritten{}, err
	}
	var out rewritten
	snap := p.snap
	snap.Segments = nil
	for _, seg := range w.done {
		out.bytes += seg.size
		out.batches += seg.batches
		snap.Segments = append(snap.Segments, snapSegment{Base: seg.base, Size: seg.size})
	}
	snap.LogStartOffset = max(snap.LogStartOffset, p.segs[p.drop].base)
	if len(p.merge) == len(p.segs)-p.drop { // only the last batch is as it was
		keep := w.lastRaw
		snap.AbortedTxns = dropBelow(snap.AbortedTxns, keep)
	}
	if err := writeJSON(filepath.Join(w.dir, "snapshot.json"), snap, true); err != nil {
		return out, err
	}
	if p.keys {
		if err := writeJSON(filepath.Join(w.dir, compactedMarkFile), compactedMark{Bytes: out.bytes}, true); err != nil {
			return out, err
		}
	} else if err := copyIfThere(filepath.Join(p.dir, compactedMarkFile), filepath.Join(w.dir, compactedMarkFile)); err != nil {
		return out, err
	}
	b.cfg.step("rewritten")
	return out, sw.commit(b.cfg.step)
}

func dropBelow(txns []abortedTxn, offset int64) (out []abortedTxn) {
	for _, t := range txns {
		if t.LastOffset >= offset {
			out = append(out, t)
		}
	}
	return out
}

// copyInto writes what the partition is to keep.
func (p rewritePlan) copyInto(w *segmentWriter, nowMillis int64) error {
	f := filter{plan: p, nowMillis: nowMillis, tombstones: p.topic.millis("delete.retention.ms", 24*3600*1e9).Milliseconds()}
	f.aborted = map[int64][]abortedTxn{}
	for _, t := range p.snap.AbortedTxns {
		f.aborted[t.ProducerID] = append(f.aborted[t.ProducerID], t)
	}
	buf := segmentBuffers.Get().(*[]byte)
	defer segmentBuffers.Put(buf)
	if p.keys {
		if err := f.collectKeys(buf); err != nil {
			return err
		}
	}
	for i := p.drop; i < len(p.segs); i++ {
		if !p.merge[i] {
			if err := w.keep(p.dir, p.segs[i]); err != nil {
				return err
			}
			continue
		}
		raw, err := readInto(buf, p.segs[i].dat(p.dir), p.segs[i].size)
		if err != nil {
			return err
		}
		// The last batch of all stays as it is: kfake takes the end of the log from it.
		last := i == len(p.segs)-1
		if err := eachKnownBatch(raw, func(pos int64, b *batch) error {
			if last && pos+int64(len(b.raw)) == int64(len(raw)) {
				return w.raw(b)
			}
			return f.pass(b, w)
		}); err != nil {
			return err
		}
	}
	return w.seal()
}

// filter decides which records of a partition survive.
type filter struct {
	plan       rewritePlan
	aborted    map[int64][]abortedTxn
	latest     map[string]int64 // offset of the latest record of each key
	nowMillis  int64
	tombstones int64 // milliseconds that a deletion is kept
}

// dropped tells of batches that no committed read returns: markers, aborted records, and purged ones.
func (f *filter) dropped(b *batch) bool {
	if b.control() || b.end() <= f.plan.snap.LogStartOffset {
		return true
	}
	if !b.inTxn() {
		return false
	}
	for _, t := range f.aborted[b.producer] {
		if b.offset >= t.FirstOffset && b.offset <= t.LastOffset {
			return true
		}
	}
	return false
}

func (f *filter) collectKeys(buf *[]byte) error {
	f.latest = map[string]int64{}
	for _, seg := range f.plan.segs[f.plan.drop:] {
		raw, err := readInto(buf, seg.dat(f.plan.dir), seg.size)
		if err != nil {
			return err
		}
		err = eachKnownBatch(raw, func(_ int64, b *batch) error {
			if f.dropped(b) {
				return nil
			}
			return eachRecord(b, func(r *logRecord) error {
				if r.key != nil {
					f.latest[string(r.key)] = b.offset + r.offsetDelta
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pass hands the surviving records of a batch to the writer; a large batch that survives whole goes as it is.
func (f *filter) pass(b *batch, w *segmentWriter) error {
	if f.dropped(b) {
		return nil
	}
	if b.attrs&attrLogAppend != 0 || !f.plan.keys && !b.inTxn() && len(b.raw) >= f.plan.tune.batchBytes/2 {
		return w.raw(b)
	}
	return eachRecord(b, func(r *logRecord) error {
		at, millis := b.offset+r.offsetDelta, b.firstTime+r.timeDelta
		if f.plan.keys && r.key != nil && (f.latest[string(r.key)] != at || r.tombstone && f.nowMillis-millis >= f.tombstones) {
			return nil
		}
		return w.add(at, millis, r.rest)
	})
}

var decompressor = kgo.DefaultDecompressor()

// eachRecord calls fn for every record of a batch, which it may not keep.
func eachRecord(b *batch, fn func(r *logRecord) error) error {
	body, err := decompressor.Decompress(b.body(), kgo.CompressionCodecType(b.attrs&attrCodec)) // three bits
	if err != nil {
		return fmt.Errorf("decompressing the batch at offset %d: %w: %w", b.offset, err, ErrDamaged)
	}
	var r logRecord
	for range b.records {
		var ok bool
		if r, body, ok = nextRecord(body); !ok {
			return fmt.Errorf("reading the batch at offset %d: %w", b.offset, ErrDamaged)
		}
		if err := fn(&r); err != nil {
			return err
		}
	}
	return nil
}

// segmentWriter writes segments of merged batches and takes over others as files.
type segmentWriter struct {
	dir        string
	batchBytes int // of records, from which on a batch is full

	done    []segment
	dat     *os.File
	cur     segment
	buf     []byte // batches not yet written to dat
	idx     []byte
	lastRaw int64 // offset of the last batch taken over as it was

	// The batch being filled.
	records   []byte
	count     int32
	first     int64 // offset
	firstTime int64
	lastDelta int32
	maxTime   int64

	compress   kgo.Compressor
	compressed bytes.Buffer
}

// add appends a record to the batch being filled.
func (w *segmentWriter) add(offset, millis int64, rest []byte) error {
	if len(w.records) >= w.batchBytes || w.count > 0 && offset-w.first > math.MaxInt32 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.count == 0 {
		w.first, w.firstTime, w.maxTime = offset, millis, millis
	}
	var head [2*binary.MaxVarintLen64 + 1]byte
	n := 1 + binary.PutVarint(head[1:], millis-w.firstTime)
	n += binary.PutVarint(head[n:], offset-w.first)
	w.records = binary.AppendVarint(w.records, int64(n+len(rest)))
	w.records = append(append(w.records, head[:n]...), rest...)
	w.count++
	w.lastDelta = int32(offset - w.first) // checked above
	w.maxTime = max(w.maxTime, millis)
	return nil
}

// flush ends the batch being filled. It belongs to no producer: its transactions are over.
func (w *segmentWriter) flush() error {
	if w.count == 0 {
		return nil
	}
	body, codec, err := w.squeeze()
	if err != nil {
		return err
	}
	raw := sealBatch(kmsg.RecordBatch{
		FirstOffset: w.first, Attributes: int16(codec), LastOffsetDelta: w.lastDelta, FirstTimestamp: w.firstTime, MaxTimestamp: w.maxTime,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: w.count, Records: body,
	})
	b := readHeader(raw)
	w.records, w.count = w.records[:0], 0
	return w.put(&b)
}

// squeeze compresses with snappy, which every Kafka client reads and which costs less than the writing it saves.
func (w *segmentWriter) squeeze() ([]byte, kgo.CompressionCodecType, error) {
	if w.compress == nil {
		c, err := kgo.DefaultCompressor(kgo.SnappyCompression())
		if err != nil {
			return nil, 0, err
		}
		w.compress = c
	}
	w.compressed.Reset()
	body, codec := w.compress.Compress(&w.compressed, w.records)
	if len(body) >= len(w.records) {
		return w.records, kgo.CodecNone, nil
	}
	return body, codec, nil
}

// raw takes over a batch as it is.
func (w *segmentWriter) raw(b *batch) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.lastRaw = b.offset
	return w.put(b)
}

func (w *segmentWriter) put(b *batch) error {
	if w.dat == nil {
		w.cur = segment{base: b.offset}
		f, err := os.OpenFile(w.cur.dat(w.dir), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		w.dat = f
	}
	e := indexEntry(b.leaderEpoch, b.maxTime, b.inTxn())
	w.idx = append(w.idx, e[:]...)
	w.buf = append(w.buf, b.raw...)
	w.cur.size += int64(len(b.raw))
	w.cur.batches++
	if w.cur.size >= segmentBytes {
		return w.endSegment()
	}
	return nil
}

// endSegment writes the segment out and makes it durable: the old one will be gone.
func (w *segmentWriter) endSegment() error {
	if w.dat == nil {
		return nil
	}
	_, err := w.dat.Write(w.buf)
	if err == nil {
		err = w.dat.Sync()
	}
	err = errors.Join(err, w.dat.Close())
	w.dat = nil
	if err == nil {
		err = writeFile(w.cur.idx(w.dir), w.idx, true)
	}
	w.done = append(w.done, w.cur)
	w.buf, w.idx = w.buf[:0], w.idx[:0]
	return err
}

func (w *segmentWriter) seal() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.endSegment()
}

// keep takes over a whole segment, by a second name for its files where the file system can.
func (w *segmentWriter) keep(dir string, seg segment) error {
	if err := w.seal(); err != nil {
		return err
	}
	for _, name := range []string{strconv.FormatInt(seg.base, 10) + ".dat", strconv.FormatInt(seg.base, 10) + ".idx"} {
		from, to := filepath.Join(dir, name), filepath.Join(w.dir, name)
		if err := os.Link(from, to); err != nil {
			if err := copyIfThere(from, to); err != nil {
				return err
			}
		}
	}
	w.done = append(w.done, seg)
	return nil
}

// abandon closes what an error left open.
func (w *segmentWriter) abandon() {
	if w.dat != nil {
		_ = w.dat.Close()
	}
}

func copyIfThere(from, to string) error {
	raw, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return writeFile(to, raw, true)
}
