package program

import (
	"bytes"
	"encoding/json"

	"github.com/nexusblueprint/nexus/internal/compat"
)

// sameSchema says whether two texts say the same: registries spell them as they like.
func sameSchema(a, b string) bool {
	x, errX := compat.Parse(a)
	y, errY := compat.Parse(b)
	return errX == nil && errY == nil && x.Fingerprint() == y.Fingerprint()
}

func indented(schema string) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace([]byte(schema)), "", "  "); err != nil {
		return []byte(schema)
	}
	b.WriteByte('\n')
	return b.Bytes()
}
