package archive

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/linkedin/goavro/v2"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// The header's own entries, beside avro.schema and avro.codec. The last two are
// filled in when the file is complete: one that was cut off says so.
const (
	keyFormat    = "nexus.format"
	keyContext   = "nexus.context"
	keyAggregate = "nexus.aggregate"
	keyMetadata  = "nexus.metadata.schemas" // JSON list of schema texts
	keyEvents    = "nexus.event.schemas"    // likewise
	keyCount     = "nexus.events"           // 20 digits
	keyDigest    = "nexus.sha256"           // of all records, hexadecimal

	format = "1"
)

var (
	unknownCount  = bytes.Repeat([]byte("-"), 20)
	unknownDigest = bytes.Repeat([]byte("."), 2*sha256.Size)
)

const (
	blockBytes  = 64 << 10 // of records, before compression
	syncBytes   = 16
	codecPlain  = "null"
	codecPacked = "deflate"
)

// File is where an archive is written to.
type File interface {
	io.Writer
	io.WriterAt
}

// Writer writes one file.
type Writer struct {
	file      File
	sync      [syncBytes]byte
	count     int64 // offset of the count in the file
	digest    int64 // offset of the digest
	indexed   [2]bool
	events    int64
	hash      hash.Hash
	block     []byte
	inBlock   int64
	packed    bytes.Buffer
	packer    *flate.Writer
	container []byte
}

// NewWriter begins a file. The same events always make the same bytes.
func NewWriter(file File, h Header) (*Writer, error) {
	schema, err := fileSchema(h)
	if err != nil {
		return nil, err
	}
	meta := map[string][]byte{
		keyFormat: []byte(format), keyContext: []byte(h.Context), keyAggregate: []byte(h.Aggregate),
		keyCount: unknownCount, keyDigest: unknownDigest,
	}
	for key, texts := range map[string][]string{keyMetadata: h.Metadata, keyEvents: h.Events} {
		if meta[key], err = json.Marshal(texts); err != nil {
			return nil, err
		}
	}
	w := &Writer{file: file, hash: sha256.New(), indexed: [2]bool{len(h.Metadata) > 1, len(h.Events) > 1}}
	sum := sha256.Sum256([]byte(schema + h.Context + h.Aggregate))
	copy(w.sync[:], sum[:])
	if w.packer, err = flate.NewWriter(&w.packed, flate.DefaultCompression); err != nil {
		return nil, err
	}
	// What another implementation cannot parse, nobody but this program could read.
	if _, err := goavro.NewCodec(schema); err != nil {
		return nil, fmt.Errorf("writing the schema of the file: %w", err)
	}
	meta["avro.schema"], meta["avro.codec"] = []byte(schema), []byte(codecPacked)
	header := avro.AppendLong(bytes.Clone(magic), int64(len(meta)))
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		header = avro.AppendBytes(avro.AppendString(header, key), meta[key])
	}
	header = append(append(header, 0), w.sync[:]...)
	w.count, w.digest = int64(bytes.Index(header, unknownCount)), int64(bytes.Index(header, unknownDigest))
	_, err = file.Write(header)
	return w, err
}

// Append adds an event. Its Number is not used.
func (w *Writer) Append(e Event) error {
	from := len(w.block)
	if w.indexed[0] {
		w.block = avro.AppendLong(w.block, int64(e.MetadataSchema))
	}
	w.block = append(w.block, e.Metadata...)
	if w.indexed[1] {
		w.block = avro.AppendLong(w.block, int64(e.PayloadSchema))
	}
	w.block = append(w.block, e.Payload...)
	w.hash.Write(w.block[from:])
	w.inBlock++
	w.events++
	if len(w.block) >= blockBytes {
		return w.flush()
	}
	return nil
}

func (w *Writer) flush() error {
	if w.inBlock == 0 {
		return nil
	}
	w.packed.Reset()
	w.packer.Reset(&w.packed)
	_, err := w.packer.Write(w.block)
	if err := errors.Join(err, w.packer.Close()); err != nil {
		return err
	}
	w.container = avro.AppendLong(w.container[:0], w.inBlock)
	w.container = avro.AppendLong(w.container, int64(w.packed.Len()))
	w.container = append(w.container, w.packed.Bytes()...)
	w.container = append(w.container, w.sync[:]...)
	w.block, w.inBlock = w.block[:0], 0
	_, err = w.file.Write(w.container)
	return err
}

// Close completes the file: from now on it says how many events it holds.
// Without it the file can be told from a complete one. It does not close File.
func (w *Writer) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	_, err := w.file.WriteAt(fmt.Appendf(nil, "%020d", w.events), w.count)
	if err != nil {
		return err
	}
	_, err = w.file.WriteAt(hex.AppendEncode(nil, w.hash.Sum(nil)), w.digest)
	return err
}
