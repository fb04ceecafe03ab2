package broker

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// batch is one record batch of format 2, as it lies in a segment and as clients send it.
type batch struct {
	raw []byte

	offset      int64 // of the first record
	lastDelta   int32
	leaderEpoch int32
	attrs       uint16
	firstTime   int64 // milliseconds
	maxTime     int64
	producer    int64
	epoch       int16
	records     int32
}

var errTorn = errors.New("record batch is cut short or its checksum is wrong")

const (
	attrCodec     = 0x07
	attrLogAppend = 0x08
	attrTxn       = 0x10
	attrControl   = 0x20
)

func (b *batch) control() bool { return b.attrs&attrControl != 0 }
func (b *batch) inTxn() bool   { return b.attrs&attrTxn != 0 && !b.control() }
func (b *batch) end() int64    { return b.offset + int64(b.lastDelta) + 1 }
func (b *batch) body() []byte  { return b.raw[batchHeaderBytes:] }

// readHeader reads the fixed head of a batch; raw must hold it.
func readHeader(raw []byte) batch {
	be := binary.BigEndian
	return batch{ // signed fields of the wire format
		raw:         raw,
		offset:      int64(be.Uint64(raw)),
		leaderEpoch: int32(be.Uint32(raw[12:])),
		attrs:       be.Uint16(raw[21:]),
		lastDelta:   int32(be.Uint32(raw[23:])),
		firstTime:   int64(be.Uint64(raw[27:])),
		maxTime:     int64(be.Uint64(raw[35:])),
		producer:    int64(be.Uint64(raw[43:])),
		epoch:       int16(be.Uint16(raw[51:])),
		records:     int32(be.Uint32(raw[57:])),
	}
}

// firstBatch reads the batch at the head of raw, if it is whole.
func firstBatch(raw []byte) (b batch, ok bool) {
	if len(raw) < batchHeaderBytes {
		return b, false
	}
	size := 12 + int64(binary.BigEndian.Uint32(raw[8:]))
	if size < batchHeaderBytes || size > int64(len(raw)) {
		return b, false
	}
	b = readHeader(raw[:size])
	return b, raw[16] == 2 && b.lastDelta >= 0
}

// sound tells whether the batch is what was written, by its checksum.
func (b *batch) sound() bool {
	return crc32.Checksum(b.raw[21:], castagnoli) == binary.BigEndian.Uint32(b.raw[17:])
}

// eachBatch calls fn for every batch that is whole and sound, which it may not keep, and returns how many bytes they
// take. What is behind the first that is not, is left out.
func eachBatch(raw []byte, fn func(pos int64, b *batch) error) (int64, error) {
	return walk(raw, true, fn)
}

// eachKnownBatch is eachBatch over bytes that were verified just before.
func eachKnownBatch(raw []byte, fn func(pos int64, b *batch) error) error {
	if n, err := walk(raw, false, fn); err != nil || n < int64(len(raw)) {
		return errors.Join(err, errTorn)
	}
	return nil
}

func walk(raw []byte, verify bool, fn func(pos int64, b *batch) error) (int64, error) {
	pos := int64(0)
	var b batch
	var ok bool
	for int(pos) < len(raw) {
		if b, ok = firstBatch(raw[pos:]); !ok || verify && !b.sound() {
			return pos, nil
		}
		if err := fn(pos, &b); err != nil {
			return pos, err
		}
		pos += int64(len(b.raw))
	}
	return pos, nil
}

// commits tells whether a control batch is a commit marker. One that cannot be read counts as abort, as for kfake.
func (b *batch) commits() bool {
	r, _, ok := nextRecord(b.body())
	return ok && len(r.key) >= 4 && binary.BigEndian.Uint16(r.key[2:]) == uint16(kmsg.ControlRecordKeyTypeCommit)
}

// logRecord is a record of an uncompressed batch body.
type logRecord struct {
	timeDelta   int64
	offsetDelta int64
	key         []byte // nil for none
	tombstone   bool
	rest        []byte // key, value and headers as encoded
}

// nextRecord reads the record at the head of body and returns what follows it.
func nextRecord(body []byte) (r logRecord, after []byte, ok bool) {
	size, n := binary.Varint(body)
	if n <= 0 || size < 1 || size > int64(len(body)-n) {
		return r, nil, false
	}
	after = body[int64(n)+size:]
	in := body[n+1 : int64(n)+size] // one byte of attributes, unused
	if r.timeDelta, n = binary.Varint(in); n <= 0 {
		return r, nil, false
	}
	in = in[n:]
	if r.offsetDelta, n = binary.Varint(in); n <= 0 {
		return r, nil, false
	}
	r.rest = in[n:]
	keySize, n := binary.Varint(r.rest)
	if n <= 0 || keySize > int64(len(r.rest)-n) {
		return r, nil, false
	}
	in = r.rest[n:]
	if keySize >= 0 {
		r.key, in = in[:keySize:keySize], in[keySize:]
	}
	valueSize, n := binary.Varint(in)
	r.tombstone = n > 0 && valueSize < 0
	return r, after, n > 0
}

// marker builds the control batch that ends a producer's transaction in one partition.
func marker(offset, producer int64, epoch int16, leaderEpoch int32, commit bool, now time.Time) []byte {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
	if commit {
		key.Type = kmsg.ControlRecordKeyTypeCommit
	}
	end := kmsg.EndTxnMarker{}
	rec := kmsg.Record{Key: key.AppendTo(nil), Value: end.AppendTo(nil)}
	rec.Length = int32(len(rec.AppendTo(nil)) - 1) // a dozen bytes; less the one byte of the length itself
	return sealBatch(kmsg.RecordBatch{
		FirstOffset:          offset,
		PartitionLeaderEpoch: leaderEpoch,
		Attributes:           attrTxn | attrControl,
		FirstTimestamp:       now.UnixMilli(),
		MaxTimestamp:         now.UnixMilli(),
		ProducerID:           producer,
		ProducerEpoch:        epoch,
		FirstSequence:        -1,
		NumRecords:           1,
		Records:              rec.AppendTo(nil),
	})
}

// sealBatch encodes a batch with its length and checksum.
func sealBatch(b kmsg.RecordBatch) []byte {
	b.Magic = 2
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12)) // bounded by the segment size
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return raw
}
