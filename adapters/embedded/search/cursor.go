package search

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// The place in a cursor is each sort value as a tag and its bytes, then the id.
const (
	tagNil   = 0
	tagInt   = 1
	tagFloat = 2
	tagText  = 3
)

func encodeCursor(at place, identity []byte) string {
	b := make([]byte, 0, 64)
	for _, v := range at.values {
		switch v := v.(type) {
		case nil:
			b = append(b, tagNil)
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, tagInt), uint64(v))
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, tagFloat), math.Float64bits(v))
		case string:
			b = binary.AppendUvarint(append(b, tagText), uint64(len(v)))
			b = append(b, v...)
		}
	}
	return searchstore.SealCursor(identity, append(b, at.id...))
}

// decodeCursor returns the place behind which the page begins.
func decodeCursor(cursor string, identity []byte, terms int) (*place, error) {
	b, err := searchstore.OpenCursor(cursor, identity)
	if err != nil {
		return nil, err
	}
	at, ok := decodePlace(b, terms)
	if !ok {
		return nil, fmt.Errorf("%w: it does not fit the order asked for: start again without a cursor", ports.ErrBadCursor)
	}
	return at, nil
}

func decodePlace(b []byte, terms int) (*place, bool) {
	at := &place{}
	for range terms {
		if len(b) == 0 {
			return nil, false
		}
		tag := b[0]
		b = b[1:]
		switch {
		case tag == tagNil:
			at.values = append(at.values, nil)
		case (tag == tagInt || tag == tagFloat) && len(b) >= 8:
			bits := binary.BigEndian.Uint64(b)
			b = b[8:]
			if tag == tagInt {
				at.values = append(at.values, int64(bits))
			} else {
				at.values = append(at.values, math.Float64frombits(bits))
			}
		case tag == tagText:
			n, size := binary.Uvarint(b)
			if size <= 0 || n > uint64(len(b)-size) {
				return nil, false
			}
			at.values = append(at.values, string(b[size:size+int(n)]))
			b = b[size+int(n):]
		default:
			return nil, false
		}
	}
	at.id = string(b)
	return at, utf8.ValidString(at.id)
}
