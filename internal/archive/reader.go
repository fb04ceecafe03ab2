package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// Reader reads one file and proves that it is whole.
type Reader struct {
	name   string
	c      *container
	header Header
	schemas
	packed bool
	count  int64 // that the header says
	digest string

	number int64 // of the last event
	hash   hash.Hash
	block  []byte
	in     avro.Reader // of the block
	left   int64       // records in it
}

// NewReader reads the header. name stands in errors, which are *FaultError.
func NewReader(r io.Reader, name string) (*Reader, error) {
	c, err := readHeader(r)
	if err != nil {
		return nil, &FaultError{File: name, Reason: noEOF(err).Error(), Kind: ErrDamaged}
	}
	rd := &Reader{name: name, c: c, hash: sha256.New()}
	if err := rd.readMeta(); err != nil {
		return nil, err
	}
	return rd, nil
}

// Header is what the file says of itself.
func (r *Reader) Header() Header { return r.header }

func (r *Reader) fault(kind error, field, format string, args ...any) error {
	return &FaultError{File: r.name, Record: r.number, Field: field, Reason: fmt.Sprintf(format, args...), Kind: kind}
}

func (r *Reader) readMeta() (err error) {
	meta := r.c.meta
	if got, there := meta[keyFormat]; !there {
		return r.fault(ErrForeign, keyFormat, "it was not written by nexus events export")
	} else if string(got) != format {
		return r.fault(ErrForeign, keyFormat, "format %q, this release reads format %s; import it with the release that wrote it", short(got), format)
	}
	switch codec := string(meta["avro.codec"]); codec {
	case codecPlain, "":
	case codecPacked:
		r.packed = true
	default:
		return r.fault(ErrForeign, "avro.codec", "codec %q, only %s and %s are known", short(meta["avro.codec"]), codecPlain, codecPacked)
	}
	if string(meta[keyCount]) == string(unknownCount) {
		return r.fault(ErrDamaged, keyCount, "the export was not completed")
	}
	if r.count, err = strconv.ParseInt(string(meta[keyCount]), 10, 64); err != nil || r.count < 0 {
		return r.fault(ErrDamaged, keyCount, "%q is no number of events", short(meta[keyCount]))
	}
	r.digest = string(meta[keyDigest])
	r.header = Header{Context: string(meta[keyContext]), Aggregate: string(meta[keyAggregate])}
	for key, into := range map[string]*[]string{keyMetadata: &r.header.Metadata, keyEvents: &r.header.Events} {
		if err := json.Unmarshal(meta[key], into); err != nil {
			return r.fault(ErrDamaged, key, "%v", err)
		}
	}
	if r.schemas, err = r.header.parse(); err != nil {
		return r.fault(ErrDamaged, "", "%v", err)
	}
	// The schema that others read by is made of the same schemas: one that differs
	// was put there by hand.
	if want, err := fileSchema(r.header); err != nil || !sameJSON(want, string(meta["avro.schema"])) {
		return r.fault(ErrDamaged, "avro.schema", "it is not made of the schemas beside it")
	}
	return nil
}

func sameJSON(a, b string) bool {
	x, errX := avro.ParseSchema(a)
	y, errY := avro.ParseSchema(b)
	return errX == nil && errY == nil && x.Canonical() == y.Canonical()
}

func short(b []byte) string {
	const bytesMax = 40
	if len(b) > bytesMax {
		return string(b[:bytesMax]) + "…"
	}
	return string(b)
}

// Next returns the next event, whose bytes are its caller's, or io.EOF after the
// last one. io.EOF proves that the file is as it was written.
func (r *Reader) Next() (Event, error) {
	if r.left == 0 {
		if err := r.nextBlock(); err != nil {
			return Event{}, err
		}
	}
	r.number++
	e := Event{Number: r.number}
	begin := r.at()
	var ok bool
	if e.MetadataSchema, e.Metadata, ok = r.part(r.metadata); !ok {
		return e, r.fault(ErrDamaged, "metadata", "%v", r.in.Close("nexus.Metadata"))
	}
	if e.PayloadSchema, e.Payload, ok = r.part(r.events); !ok {
		return e, r.fault(ErrDamaged, "event", "%v", r.in.Close(RecordName))
	}
	r.hash.Write(r.block[begin:r.at()])
	if r.left--; r.left == 0 && r.in.Rest() > 0 {
		return e, r.fault(ErrDamaged, "", "%d bytes are left over after the last record of its block", r.in.Rest())
	}
	return e, nil
}

func (r *Reader) at() int { return len(r.block) - r.in.Rest() }

// part steps over one value of some schemas and returns which one it was, and
// its bytes.
func (r *Reader) part(of []*avro.Schema) (index int, value []byte, ok bool) {
	if len(of) > 1 {
		index = int(r.in.Enum(len(of)))
	}
	from := r.at()
	skip(&r.in, of[index], 0)
	to := r.at()
	return index, r.block[from:to:to], r.in.OK()
}

func (r *Reader) nextBlock() error {
	block, n, err := r.c.block(r.packed)
	switch {
	case errors.Is(err, io.EOF):
		return r.end()
	case err != nil:
		r.number++
		return r.fault(ErrDamaged, "", "%v", err)
	}
	r.block, r.in, r.left = block, avro.NewReader(block), n
	return nil
}

// end judges the whole.
func (r *Reader) end() error {
	if r.number != r.count {
		return r.fault(ErrDamaged, "", "the file ends here, its header says that it holds %d events", r.count)
	}
	if got := hex.EncodeToString(r.hash.Sum(nil)); got != r.digest {
		return r.fault(ErrDamaged, keyDigest, "the events have the digest %s, the header says %s: a byte was changed", got, short([]byte(r.digest)))
	}
	return io.EOF
}
