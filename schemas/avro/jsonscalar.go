package avro

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// appendScalar appends a JSON value of one token, whose JSON type fits s.
func (j *jsonReader) appendScalar(dst []byte, s *Schema, raw jsontext.Value) []byte {
	switch s.kind {
	case KindNull:
		return dst
	case KindBoolean:
		return AppendBool(dst, raw[0] == 't')
	case KindInt:
		return j.appendWhole(dst, raw, math.MinInt32, math.MaxInt32)
	case KindLong:
		if s.logical == "" {
			return j.appendWhole(dst, raw, math.MinInt64, math.MaxInt64)
		}
		return j.appendLogical(dst, s, j.text(raw))
	case KindFloat, KindDouble:
		return j.appendReal(dst, s, raw)
	case KindString:
		dst, _ = j.appendText(dst, s.maxLength, raw)
		return dst
	case KindEnum:
		return j.appendSymbol(dst, s, j.text(raw))
	default:
		if s.logical == LogicalUUID {
			return j.appendLogical(dst, s, j.text(raw))
		}
		return j.appendBinary(dst, s, j.text(raw))
	}
}

// text returns the characters of a JSON string, valid until the next call.
func (j *jsonReader) text(raw jsontext.Value) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	j.scratch, _ = jsontext.AppendUnquote(j.scratch[:0], raw) // the decoder has checked it
	return j.scratch
}

// appendText appends a JSON string of at most limit characters, and returns where its characters begin.
func (j *jsonReader) appendText(dst []byte, limit int, raw jsontext.Value) ([]byte, int) {
	text := j.text(raw)
	if len(text) > limit && utf8.RuneCount(text) > limit {
		j.fault(j.here(), FaultTooLong, fmt.Sprintf("more than %d characters", limit))
	}
	dst = AppendLong(dst, int64(len(text)))
	return append(dst, text...), len(dst)
}

func (j *jsonReader) appendWhole(dst []byte, raw jsontext.Value, least, greatest int64) []byte {
	if bytes.ContainsAny(raw, ".eE") {
		j.fault(j.here(), FaultType, "want a whole number without fraction or exponent")
		return dst
	}
	v, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || v < least || v > greatest {
		j.fault(j.here(), FaultRange, fmt.Sprintf("want a number from %d to %d", least, greatest))
	}
	return AppendLong(dst, v)
}

func (j *jsonReader) appendReal(dst []byte, s *Schema, raw jsontext.Value) []byte {
	bits := 64
	if s.kind == KindFloat {
		bits = 32
	}
	v, err := strconv.ParseFloat(string(raw), bits)
	if err != nil {
		j.fault(j.here(), FaultRange, fmt.Sprintf("beyond a floating-point number of %d bits", bits))
	}
	if s.kind == KindFloat {
		return AppendFloat(dst, float32(v))
	}
	return AppendDouble(dst, v)
}

// appendLogical appends a timestamp, money or a uuid.
func (j *jsonReader) appendLogical(dst []byte, s *Schema, text []byte) []byte {
	var err error
	var code string
	switch s.logical {
	case LogicalTimestamp:
		var m Millis
		m, err = parseMillis(text)
		dst, code = AppendLong(dst, int64(m)), FaultNoTimestamp
	case LogicalMoney:
		var m Milli
		m, err = parseMilli(text)
		dst, code = AppendLong(dst, int64(m)), FaultNoDecimal
	case LogicalUUID:
		var u UUID
		u, err = parseUUID(text)
		dst, code = append(dst, u[:]...), FaultNoUUID
	}
	switch {
	case err == nil:
		return dst
	case errors.Is(err, ErrDecimals):
		code = FaultDecimals
	case errors.Is(err, ErrRange):
		code = FaultRange
	}
	j.fault(j.here(), code, err.Error())
	return dst
}

func (j *jsonReader) appendSymbol(dst []byte, s *Schema, text []byte) []byte {
	i := slices.IndexFunc(s.symbols, func(sym string) bool { return sym == string(text) })
	if i < 0 {
		known := strings.Join(s.symbols[:min(len(s.symbols), 20)], ", ")
		j.fault(j.here(), FaultSymbol, "want one of "+known)
	}
	return AppendLong(dst, int64(i))
}

// appendBinary appends bytes or a fixed from base64.
func (j *jsonReader) appendBinary(dst []byte, s *Schema, text []byte) []byte {
	// Line breaks inside base64 are accepted by the decoder; two texts for the same bytes are one too many.
	if bytes.ContainsAny(text, "\r\n") {
		j.fault(j.here(), FaultNoBase64, "want standard base64 with padding and without line breaks")
		return dst
	}
	b, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
	switch {
	case err != nil:
		j.fault(j.here(), FaultNoBase64, "want standard base64 with padding and without line breaks")
	case s.kind == KindFixed && len(b) != s.size:
		j.fault(j.here(), FaultLength, fmt.Sprintf("want base64 of %d bytes", s.size))
	case s.kind == KindBytes && len(b) > s.maxLength:
		j.fault(j.here(), FaultTooLong, fmt.Sprintf("more than %d bytes", s.maxLength))
	case s.kind == KindFixed:
		return append(dst, b...)
	default:
		return AppendBytes(dst, b)
	}
	return dst
}
