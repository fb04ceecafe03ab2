package archive

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// What a file may ask of memory. Records on the log are smaller than 2 MiB, so a
// block holds little more than that.
const (
	headerBytesMax = 16 << 20
	blockBytesMax  = 32 << 20
)

var magic = []byte("Obj\x01")

// container reads an Avro object container file block by block, as encoded
// bytes.
type container struct {
	in   *bufio.Reader
	meta map[string][]byte
	sync [syncBytes]byte
}

var errCut = errors.New("the file ends in the middle")

// readHeader reads magic bytes, entries and sync marker.
func readHeader(r io.Reader) (*container, error) {
	c := &container{in: bufio.NewReader(r), meta: map[string][]byte{}}
	begin := make([]byte, len(magic))
	if _, err := io.ReadFull(c.in, begin); err != nil || !bytes.Equal(begin, magic) {
		return nil, errors.New("it is no Avro object container file")
	}
	left := int64(headerBytesMax)
	for {
		n, err := c.long()
		if err != nil {
			return nil, err
		}
		if n < 0 { // a block with its size
			if _, err := c.long(); err != nil {
				return nil, err
			}
			n = -n
		}
		if n == 0 {
			break
		}
		for ; n != 0; n-- {
			key, err := c.bytes(&left)
			if err != nil {
				return nil, err
			}
			if c.meta[string(key)], err = c.bytes(&left); err != nil {
				return nil, err
			}
		}
	}
	if _, err := io.ReadFull(c.in, c.sync[:]); err != nil {
		return nil, errCut
	}
	return c, nil
}

// long reads a number: at most ten bytes.
func (c *container) long() (int64, error) {
	var raw [10]byte
	for i := range raw {
		b, err := c.in.ReadByte()
		if err != nil {
			if i == 0 && errors.Is(err, io.EOF) {
				return 0, io.EOF
			}
			return 0, errCut
		}
		raw[i] = b
		if b < 0x80 {
			r := avro.NewReader(raw[:i+1])
			n := r.Long()
			return n, r.Close("long")
		}
	}
	return 0, errors.New("a number has more than ten bytes")
}

// bytes reads a length and as many bytes, of which left says how many there may
// be. What it allocates is bounded by what the file holds.
func (c *container) bytes(left *int64) ([]byte, error) {
	n, err := c.long()
	if err != nil {
		return nil, noEOF(err)
	}
	if n < 0 || n > *left {
		return nil, fmt.Errorf("a length of %d bytes is beyond what is possible", n)
	}
	*left -= n
	var b bytes.Buffer
	if _, err := io.CopyN(&b, c.in, n); err != nil {
		return nil, errCut
	}
	return b.Bytes(), nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return errCut
	}
	return err
}

// block returns the records of the next block and their number, or io.EOF.
func (c *container) block(packed bool) ([]byte, int64, error) {
	n, err := c.long()
	if err != nil {
		return nil, 0, err
	}
	left := int64(blockBytesMax)
	raw, err := c.bytes(&left)
	if err != nil {
		return nil, 0, err
	}
	var end [syncBytes]byte
	if _, err := io.ReadFull(c.in, end[:]); err != nil {
		return nil, 0, errCut
	}
	if end != c.sync {
		return nil, 0, errors.New("a block does not end with the file's sync marker")
	}
	if packed {
		if raw, err = unpack(raw); err != nil {
			return nil, 0, err
		}
	}
	if n < 1 || n > int64(len(raw)) {
		return nil, 0, fmt.Errorf("a block of %d bytes says that it holds %d records", len(raw), n)
	}
	return raw, n, nil
}

func unpack(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(flate.NewReader(bytes.NewReader(raw)), blockBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("a block cannot be unpacked: %w", err)
	}
	if n > blockBytesMax {
		return nil, fmt.Errorf("a block is larger than %d bytes", blockBytesMax)
	}
	return b.Bytes(), nil
}
