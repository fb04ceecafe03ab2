package search

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/ports"
)

// A cursor is, in URL-safe base64 without padding, a checksum of 8 bytes over the query and what follows, then the place
// of the last document shown: each sort value as a tag and its bytes, then the id. It is no secret and grants nothing: who
// forges one reaches another page of what he may read anyway. The checksum is there to answer a cursor that belongs to
// another query, or was cut in copying, with an error instead of a wrong page.

const (
	cursorSumBytes = 8
	cursorBytesMax = 512 << 10 // eight keywords at their longest, and the id

	tagNil   = 0
	tagInt   = 1
	tagFloat = 2
	tagText  = 3
)

var cursorEncoding = base64.RawURLEncoding.Strict()

// identity is everything that a cursor is bound to.
func identity(ix *index, q ports.Query) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "1 %q %q\n", ix.name, q.Text)
	for _, f := range q.Filters {
		fmt.Fprintf(&b, "filter %q %q %T %q\n", f.Field, f.Op, f.Value, fmt.Sprint(f.Value))
	}
	for _, s := range q.Sort {
		fmt.Fprintf(&b, "sort %q %t %s\n", s.Field, s.Desc, ix.fields[ix.byName[s.Field]].Kind)
	}
	return b.Bytes()
}

func encodeCursor(at place, identity []byte) string {
	b := make([]byte, cursorSumBytes, 64)
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
	b = append(b, at.id...)
	copy(b, cursorSum(identity, b[cursorSumBytes:]))
	return cursorEncoding.EncodeToString(b)
}

func cursorSum(identity, payload []byte) []byte {
	h := sha256.New()
	_, _ = io.WriteString(h, fmt.Sprintf("%d ", len(identity)))
	h.Write(identity)
	h.Write(payload)
	return h.Sum(nil)[:cursorSumBytes]
}

// decodeCursor returns the place behind which the page begins.
func decodeCursor(cursor string, identity []byte, terms int) (*place, error) {
	if len(cursor) > cursorEncoding.EncodedLen(cursorBytesMax) {
		return nil, fmt.Errorf("%w: it is too long", ports.ErrBadCursor)
	}
	b, err := cursorEncoding.DecodeString(cursor)
	if strings.ContainsAny(cursor, "\r\n") { // which the decoder passes over
		err = base64.CorruptInputError(0)
	}
	if err != nil || len(b) < cursorSumBytes || !bytes.Equal(b[:cursorSumBytes], cursorSum(identity, b[cursorSumBytes:])) {
		return nil, fmt.Errorf("%w: it was altered, or belongs to another query: start again without a cursor", ports.ErrBadCursor)
	}
	at, ok := decodePlace(b[cursorSumBytes:], terms)
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
