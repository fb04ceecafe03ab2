package avro

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// AppendBool appends a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendInt appends an int.
func AppendInt(dst []byte, v int32) []byte { return AppendLong(dst, int64(v)) }

// AppendLong appends a long, as a zigzag varint.
func AppendLong(dst []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	if u < 0x80 {
		return append(dst, byte(u))
	}
	return binary.AppendUvarint(dst, u)
}

// AppendFloat appends a float.
func AppendFloat(dst []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
}

// AppendDouble appends a double.
func AppendDouble(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

// AppendString appends a string. Bytes that are not UTF-8 are replaced by U+FFFD: a string cut in the middle of
// a character must not become an event that nobody can read again.
func AppendString(dst []byte, s string) []byte {
	start := len(dst)
	dst = AppendLong(dst, int64(len(s)))
	at := len(dst)
	dst = append(dst, s...)
	if isASCII(dst[:cap(dst)], at, len(dst)) || utf8.ValidString(s) {
		return dst
	}
	return AppendString(dst[:start], strings.ToValidUTF8(s, "\uFFFD"))
}

// AppendBytes appends bytes.
func AppendBytes(dst, b []byte) []byte {
	dst = AppendLong(dst, int64(len(b)))
	return append(dst, b...)
}

// AppendEnum appends the index v of one of n symbols. It panics if there is no such symbol: the record that
// holds it must not reach a log.
func AppendEnum(dst []byte, v int32, n int) []byte {
	if v < 0 || int(v) >= n {
		panic(fmt.Sprintf("avro: enum value %d of %d symbols", v, n))
	}
	return AppendLong(dst, int64(v))
}

// SortedKeys returns the keys of m in byte order, the order in which maps are encoded. It panics for a key that
// is not UTF-8: repaired keys could collide.
func SortedKeys[V any](m map[string]V) []string {
	keys := slices.Sorted(maps.Keys(m))
	for _, k := range keys {
		if !utf8.ValidString(k) {
			panic(fmt.Sprintf("avro: map key %q is not valid UTF-8", k))
		}
	}
	return keys
}
