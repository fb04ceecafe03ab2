package program

import (
	"bytes"
	"encoding/json"
)

// sameSchema compares two schema texts without regard to white space.
func sameSchema(a, b string) bool { return bytes.Equal(indented(a), indented(b)) }

func indented(schema string) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace([]byte(schema)), "", "  "); err != nil {
		return []byte(schema)
	}
	b.WriteByte('\n')
	return b.Bytes()
}
