package gateway

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
)

// sentence is the second half of a fault's detail: the first is the parameter.
func sentence(format string, args ...any) error { return fmt.Errorf(format, args...) }

// filterOps are the comparisons that filter[f][op] may name; filter[f] is equality.
var filterOps = []ports.Op{ports.OpGte, ports.OpGt, ports.OpLte, ports.OpLt}

// parseFilter reads filter[f]=v or filter[f][op]=v. known says that the name is
// one; an error without it says that its field is not.
func (m *readModel) parseFilter(name, value string) (f ports.Filter, known bool, err error) {
	inner, ok := strings.CutPrefix(name, "filter[")
	if !ok || !strings.HasSuffix(inner, "]") {
		return f, false, nil
	}
	field, op, compared := strings.Cut(inner[:len(inner)-1], "][")
	f = ports.Filter{Field: field, Op: ports.OpEq}
	if compared {
		if f.Op = ports.Op(op); !isFilterOp(f.Op) {
			return f, false, sentence("there is no comparison %q; there are gte, gt, lte and lt", clip(op))
		}
	}
	kind, ok := m.kindOf(field)
	if !ok {
		return f, false, sentence("%s cannot be filtered by %q; there are %s", m.Name, clip(field), strings.Join(m.names, ", "))
	}
	f.Value, err = parseValue(kind, value)
	return f, true, err
}

func isFilterOp(op ports.Op) bool {
	for _, known := range filterOps {
		if op == known {
			return true
		}
	}
	return false
}

// parseValue reads a filter's value as the field's kind: money as a decimal,
// timestamps as RFC 3339.
func parseValue(kind ports.Kind, value string) (any, error) {
	switch kind {
	case ports.KindLong:
		v, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, sentence("must be a whole number of 64 bits")
		}
		return v, nil
	case ports.KindMoney:
		v, err := avro.ParseMilli(value)
		if err != nil {
			return nil, sentence("must be a decimal with at most three fraction digits, such as 12.75")
		}
		return int64(v), nil
	case ports.KindTimestamp:
		v, err := avro.ParseMillis(value)
		if err != nil {
			return nil, sentence("must be an RFC 3339 time such as 2010-12-01T08:26:00Z (a + in it is %%2B in a query string)")
		}
		return int64(v), nil
	case ports.KindDouble:
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, sentence("must be a number")
		}
		return v, nil
	case ports.KindBool:
		if value != "true" && value != "false" {
			return nil, sentence("must be true or false")
		}
		return value == "true", nil
	}
	if len(value) > ports.SearchKeywordBytesMax || !utf8.ValidString(value) {
		return nil, sentence("must be UTF-8 of at most %d bytes", ports.SearchKeywordBytesMax)
	}
	return value, nil
}

// parseSort reads a comma-separated list of fields.
func (m *readModel) parseSort(value string) ([]ports.Sort, error) {
	parts := strings.Split(value, ",")
	if len(parts) > ports.SearchSortMax {
		return nil, sentence("names %d fields, at most %d are allowed", len(parts), ports.SearchSortMax)
	}
	sorts := make([]ports.Sort, 0, len(parts))
	for _, part := range parts {
		name, desc := strings.CutPrefix(part, "-")
		if _, ok := m.kindOf(name); !ok {
			return nil, sentence("cannot be %q; there are %s", clip(name), strings.Join(m.names, ", "))
		}
		for _, s := range sorts {
			if s.Field == name {
				return nil, sentence("names %s twice", name)
			}
		}
		sorts = append(sorts, ports.Sort{Field: name, Desc: desc})
	}
	return sorts, nil
}

// sortPattern is what parseSort takes, as a regular expression.
func (m *readModel) sortPattern() string {
	one := "-?(" + strings.Join(m.names, "|") + ")"
	return "^" + one + "(," + one + ")*$"
}

func parseWhole(value string, least, most int64) (int, error) {
	v, err := strconv.ParseInt(value, 10, 64)
	if err != nil || v < least || v > most {
		return 0, sentence("must be a whole number from %d to %d", least, most)
	}
	return int(v), nil
}

// parseWait reads whole seconds or milliseconds: 5s, 500ms.
func parseWait(value string) (time.Duration, error) {
	unit, digits := time.Second, ""
	if ms, ok := strings.CutSuffix(value, "ms"); ok {
		unit, digits = time.Millisecond, ms
	} else if s, ok := strings.CutSuffix(value, "s"); ok {
		digits = s
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || time.Duration(n)*unit > waitMax {
		return 0, sentence("must be a duration from 0s to 30s, such as 5s or 500ms")
	}
	return time.Duration(n) * unit, nil
}

func validText(value string, into *string) error {
	if !utf8.ValidString(value) {
		return sentence("must be UTF-8")
	}
	*into = value
	return nil
}
