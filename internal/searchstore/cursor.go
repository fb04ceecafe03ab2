package searchstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/nexusblueprint/nexus/ports"
)

// A cursor is, in URL-safe base64 without padding, a checksum of 8 bytes over the query and the place, then the place of
// the last document shown, as the store writes it. It is no secret and grants nothing: who forges one reaches another page
// of what he may read anyway. The checksum is there to answer a cursor that belongs to another query, or was cut in
// copying, with an error instead of a wrong page.

const (
	cursorSumBytes = 8
	cursorBytesMax = 2 << 20 // eight keywords at their longest, as JSON with every byte escaped, and the id
)

var cursorEncoding = base64.RawURLEncoding.Strict()

// Identity is everything of a checked query that a cursor is bound to. store names the kind of store and the form of its
// places.
func Identity(store string, spec ports.IndexSpec, q ports.Query) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %q %q\n", store, spec.Name, q.Text)
	for _, f := range q.Filters {
		fmt.Fprintf(&b, "filter %q %q %T %q\n", f.Field, f.Op, f.Value, fmt.Sprint(f.Value))
	}
	for _, s := range q.Sort {
		fmt.Fprintf(&b, "sort %q %t %s\n", s.Field, s.Desc, spec.Fields[Place(spec, s.Field)].Kind)
	}
	return b.Bytes()
}

// SealCursor makes the cursor of a place.
func SealCursor(identity, place []byte) string {
	return cursorEncoding.EncodeToString(append(cursorSum(identity, place), place...))
}

// OpenCursor returns the place behind which the page begins; its error wraps ports.ErrBadCursor.
func OpenCursor(cursor string, identity []byte) (place []byte, err error) {
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
	return b[cursorSumBytes:], nil
}

func cursorSum(identity, place []byte) []byte {
	h := sha256.New()
	_, _ = io.WriteString(h, fmt.Sprintf("%d ", len(identity)))
	h.Write(identity)
	h.Write(place)
	return h.Sum(nil)[:cursorSumBytes]
}
