package avro

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Millis is a point in time in milliseconds since 1970-01-01T00:00:00Z: Avro's timestamp-millis.
type Millis int64

// MillisOf returns t, cut to the millisecond.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time returns m as a time in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// String returns m as in JSON: RFC 3339 in UTC, with a fraction only if it is not zero.
func (m Millis) String() string { return string(m.append(nil)) }

func (m Millis) append(dst []byte) []byte { return m.Time().AppendFormat(dst, time.RFC3339Nano) }

// The reasons for which a text is not a value. Callers map them to fault codes.
var (
	// ErrSyntax says that the text has another form than the type demands.
	ErrSyntax = errors.New("not in the expected form")
	// ErrRange says that the value is well-formed but too large or too small for its type.
	ErrRange = errors.New("out of range")
	// ErrDecimals says that a decimal has more than three significant fraction digits.
	ErrDecimals = errors.New("more than three fraction digits")
)

// ParseMillis parses an RFC 3339 timestamp of any offset with at most milliseconds.
//
// Errors wrap [ErrSyntax]; a timestamp finer than a millisecond is refused rather than cut.
func ParseMillis(s string) (Millis, error) { return parseMillis([]byte(s)) }

func parseMillis(text []byte) (Millis, error) {
	var t time.Time
	if !looksLikeTime(text) || t.UnmarshalText(text) != nil {
		return 0, fmt.Errorf("timestamp: %w: want RFC 3339 such as 2010-12-01T08:26:00Z", ErrSyntax)
	}
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		return 0, fmt.Errorf("timestamp: %w: finer than a millisecond", ErrSyntax)
	}
	return MillisOf(t), nil
}

// looksLikeTime checks what package time is lenient about (Go issue 54580): hours of one digit, a comma before the
// fraction, offsets beyond a day.
func looksLikeTime(text []byte) bool {
	const shape = "0000-00-00T00:00:00"
	if len(text) <= len(shape) || !matches(text[:len(shape)], shape) {
		return false
	}
	zone := text[len(shape):]
	if zone[0] == '.' {
		zone = bytes.TrimLeft(zone[1:], "0123456789")
	}
	if len(zone) == 6 && (zone[0] == '+' || zone[0] == '-') {
		return matches(zone[1:], "00:00") && string(zone[1:3]) < "24" && string(zone[4:6]) < "60"
	}
	return string(zone) == "Z"
}

// matches reports whether text has digits where shape has 0, and else the same characters.
func matches(text []byte, shape string) bool {
	for i, c := range text {
		if c != shape[i] && (shape[i] != '0' || !isDigit(c)) {
			return false
		}
	}
	return len(text) == len(shape)
}

// Milli is an exact amount in thousandths, such as money in thousandths of a pound: logical type money-milli.
type Milli int64

// String returns m as a decimal with two fraction digits, or three if the third is not zero: "12.75", "-1.005".
func (m Milli) String() string { return string(m.append(nil)) }

func (m Milli) append(dst []byte) []byte {
	u := uint64(m)
	if m < 0 {
		dst = append(dst, '-')
		u = -u // right for the least int64 too
	}
	dst = strconv.AppendUint(dst, u/1000, 10)
	f := u % 1000
	dst = append(dst, '.', byte('0'+f/100), byte('0'+f/10%10))
	if f%10 != 0 {
		dst = append(dst, byte('0'+f%10))
	}
	return dst
}

// ParseMilli parses a decimal: an optional minus, digits without leading zeros, and optionally a point with
// digits, of which those after the third must be zeros. No plus, no exponent, no spaces.
//
// Errors: [ErrSyntax], [ErrRange], [ErrDecimals].
func ParseMilli(s string) (Milli, error) { return parseMilli(s) }

func parseMilli[T string | []byte](s T) (Milli, error) {
	i, neg := 0, false
	if len(s) > 0 && s[0] == '-' {
		i, neg = 1, true
	}
	start, u, over := i, uint64(0), false
	for ; i < len(s) && isDigit(s[i]); i++ {
		u, over = u*10+uint64(s[i]-'0'), over || u > math.MaxUint64/20_000
	}
	if i == start || (s[start] == '0' && i > start+1) {
		return 0, fmt.Errorf("decimal: %w: want digits such as 12.75", ErrSyntax)
	}
	fine := false
	if i < len(s) {
		if s[i] != '.' || i+1 == len(s) {
			return 0, fmt.Errorf("decimal: %w: want digits such as 12.75", ErrSyntax)
		}
		i++
	}
	places := 0
	for ; i < len(s); i++ {
		switch {
		case !isDigit(s[i]):
			return 0, fmt.Errorf("decimal: %w: want digits such as 12.75", ErrSyntax)
		case places < 3:
			u, places = u*10+uint64(s[i]-'0'), places+1
		case s[i] != '0':
			fine = true
		}
	}
	if fine {
		return 0, fmt.Errorf("decimal: %w", ErrDecimals)
	}
	for ; places < 3; places++ {
		u *= 10
	}
	return signedMilli(u, neg, over)
}

func signedMilli(u uint64, neg, over bool) (Milli, error) {
	limit := uint64(math.MaxInt64)
	if neg {
		limit++
	}
	if over || u > limit {
		return 0, fmt.Errorf("decimal: %w", ErrRange)
	}
	if neg {
		u = -u
	}
	return Milli(u), nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// UUID is a fixed of 16 bytes with the logical type uuid, in network order.
type UUID [16]byte

// String returns the canonical text: 36 characters, lower case.
func (u UUID) String() string { return string(u.append(nil)) }

func (u UUID) append(dst []byte) []byte {
	for i := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, u[i:i+1])
	}
	return dst
}

// ParseUUID parses the canonical text of 36 characters in either case; no braces, no urn.
//
// Errors: [ErrSyntax].
func ParseUUID(s string) (UUID, error) { return parseUUID(s) }

func parseUUID[T string | []byte](s T) (u UUID, err error) {
	bad := len(s) != 36
	for i, j := 0, 0; !bad && i < 36; {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			bad = s[i] != '-'
			i++
			continue
		}
		hi, lo := unhex(s[i]), unhex(s[i+1])
		bad = hi > 15 || lo > 15
		u[j] = hi<<4 | lo
		i, j = i+2, j+1
	}
	if bad {
		return UUID{}, fmt.Errorf("uuid: %w: want 36 characters such as 00000000-0000-0000-0000-000000000000", ErrSyntax)
	}
	return u, nil
}

func unhex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// Symbol returns the symbol of an enum value, "invalid(7)" where it has none.
func Symbol(symbols []string, v int32) string {
	if v < 0 || int(v) >= len(symbols) {
		return fmt.Sprintf("invalid(%d)", v)
	}
	return symbols[v]
}
