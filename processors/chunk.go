package processors

import (
	"sync"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

const (
	chunkBytes = 64 << 10
	chunkSpare = 512 // less than this is not begun with
)

// chunk is memory for the records that callbacks emit. Those are in use until
// the broker has them, so nothing of a chunk is used twice; carving many records
// out of one spares the collector.
type chunk struct{ buf []byte }

// chunks lends each callback one: partitions work side by side.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

// frame is [Framer.Append] into the chunk.
func (c *chunk) frame(f Framer, rec avro.Record) ([]byte, error) {
	if cap(c.buf)-len(c.buf) < chunkSpare {
		c.buf = make([]byte, 0, chunkBytes)
	}
	start, room := len(c.buf), cap(c.buf)
	out, err := f.Append(c.buf, rec)
	if err != nil {
		return nil, err
	}
	framed := out[start:len(out):len(out)]
	if cap(out) != room { // it moved, with all that went before
		c.buf = nil
		return append([]byte(nil), framed...), nil
	}
	c.buf = out
	return framed, nil
}
