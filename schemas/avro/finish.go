package avro

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	leastUnknown = -1
	leastRunning = -2
	leastMax     = 1 << 20

	defaultStepsMax = 1 << 14
)

// finish computes what needs the whole graph of types: least sizes, then the Avro form of defaults.
func (p *parser) finish() error {
	for _, s := range p.all {
		if _, err := s.measure(); err != nil {
			return fmt.Errorf("%s: %w", s.file, err)
		}
	}
	for _, s := range p.all {
		for i := range s.fields {
			f := &s.fields[i]
			if f.Default == "" {
				continue
			}
			var err error
			if f.preset, err = new(presetter).append(nil, f.Schema, jsontext.Value(f.Default)); err != nil {
				return fmt.Errorf("%s: %s: field %q: default %s: %w", s.file, s.name, f.Name, f.Default, err)
			}
		}
	}
	return nil
}

// measure returns the least number of bytes a value takes, and refuses records that contain themselves.
func (s *Schema) measure() (int, error) {
	switch s.least {
	case leastUnknown:
	case leastRunning:
		return 0, fmt.Errorf("%s contains itself without an array, map or union between", s.name)
	default:
		return s.least, nil
	}
	s.least = leastRunning
	n := 1
	switch s.kind {
	case KindNull:
		n = 0
	case KindFloat:
		n = 4
	case KindDouble:
		n = 8
	case KindFixed:
		n = s.size
	case KindRecord:
		n = 0
		for i := range s.fields {
			m, err := s.fields[i].Schema.measure()
			if err != nil {
				return 0, err
			}
			n = min(n+m, leastMax)
		}
	}
	s.least = n
	return n, nil
}

// presetter turns a default into Avro. It counts its steps: records within records, all with defaults, can make
// a short schema stand for very many values.
type presetter struct{ steps int }

// append appends the Avro form of a default, which JSON writes in Avro's own way: bytes as characters U+0000 to
// U+00FF, logical types as their plain type.
func (p *presetter) append(dst []byte, s *Schema, raw jsontext.Value) ([]byte, error) {
	if p.steps++; p.steps > defaultStepsMax || len(dst) > sizeMax {
		return nil, errors.New("too large")
	}
	switch s.kind {
	case KindUnion:
		return p.union(dst, s, raw)
	case KindRecord:
		return p.record(dst, s, raw)
	case KindArray, KindMap:
		return p.items(dst, s, raw)
	case KindString, KindBytes, KindFixed, KindEnum:
		return defaultText(dst, s, raw)
	case KindNull:
		if raw.Kind() == 'n' {
			return dst, nil
		}
	case KindBoolean:
		if k := raw.Kind(); k == 't' || k == 'f' {
			return AppendBool(dst, k == 't'), nil
		}
	default:
		return defaultNumber(dst, s, raw)
	}
	return nil, fmt.Errorf("not a %s", s.kind)
}

func defaultNumber(dst []byte, s *Schema, raw jsontext.Value) ([]byte, error) {
	bits := map[Kind]int{KindInt: 32, KindLong: 64, KindFloat: 32, KindDouble: 64}[s.kind]
	if raw.Kind() != '0' {
		return nil, fmt.Errorf("not a %s", s.kind)
	}
	if s.kind == KindInt || s.kind == KindLong {
		v, err := strconv.ParseInt(string(raw), 10, bits)
		if err != nil {
			return nil, fmt.Errorf("not a whole number of %d bits", bits)
		}
		return AppendLong(dst, v), nil
	}
	v, err := strconv.ParseFloat(string(raw), bits)
	if err != nil {
		return nil, fmt.Errorf("not a %s", s.kind)
	}
	if s.kind == KindFloat {
		return AppendFloat(dst, float32(v)), nil
	}
	return AppendDouble(dst, v), nil
}

func defaultText(dst []byte, s *Schema, raw jsontext.Value) ([]byte, error) {
	text, err := unquote(string(raw))
	if err != nil {
		return nil, err
	}
	switch s.kind {
	case KindString:
		return AppendString(dst, text), nil
	case KindEnum:
		i := slices.Index(s.symbols, text)
		if i < 0 {
			return nil, fmt.Errorf("%s has no such symbol", s.name)
		}
		return AppendLong(dst, int64(i)), nil
	}
	b := make([]byte, 0, utf8.RuneCountInString(text))
	for _, c := range text {
		if c > math.MaxUint8 {
			return nil, errors.New("bytes are written as characters up to U+00FF")
		}
		b = append(b, byte(c))
	}
	if s.kind == KindBytes {
		return AppendBytes(dst, b), nil
	}
	if len(b) != s.size {
		return nil, fmt.Errorf("%s has %d bytes", s.name, s.size)
	}
	return append(dst, b...), nil
}

// union takes the first branch the default fits: the specification's first branch, or since Avro 1.12
// any.
func (p *presetter) union(dst []byte, s *Schema, raw jsontext.Value) ([]byte, error) {
	for i, b := range s.branches {
		if out, err := p.append(AppendLong(dst, int64(i)), b, raw); err == nil {
			return out, nil
		}
	}
	return nil, errors.New("fits no type of the union")
}

func (p *presetter) record(dst []byte, s *Schema, raw jsontext.Value) ([]byte, error) {
	m, err := members(raw)
	if err != nil {
		return nil, err
	}
	for i := range s.fields {
		f := &s.fields[i]
		v := m.take(f.Name)
		if v == nil {
			v = jsontext.Value(f.Default)
		}
		if len(v) == 0 {
			return nil, fmt.Errorf("field %q is missing", f.Name)
		}
		if dst, err = p.append(dst, f.Schema, v); err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Name, err)
		}
	}
	if len(m) > 0 {
		return nil, fmt.Errorf("%s has no such field as %s", s.name, m.attributes()[0].Name)
	}
	return dst, nil
}

func (p *presetter) items(dst []byte, s *Schema, raw jsontext.Value) ([]byte, error) {
	var keys []string
	var values []jsontext.Value
	if s.kind == KindArray {
		var err error
		if values, err = elements(raw); err != nil {
			return nil, err
		}
	} else {
		m, err := members(raw)
		if err != nil {
			return nil, err
		}
		for _, a := range m.attributes() {
			keys, values = append(keys, a.Name), append(values, jsontext.Value(a.Value))
		}
	}
	if len(values) > 0 {
		dst = AppendLong(dst, int64(len(values)))
	}
	for i, v := range values {
		if keys != nil {
			dst = AppendString(dst, keys[i])
		}
		var err error
		if dst, err = p.append(dst, s.items, v); err != nil {
			return nil, err
		}
	}
	return append(dst, 0), nil
}
