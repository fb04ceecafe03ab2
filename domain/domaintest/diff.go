package domaintest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/domain"
)

// diff says field by field how got differs from want, "" if it does not. An
// empty list and none are the same: Avro knows no difference.
func diff(want, got domain.Record) string {
	if want.AvroName() != got.AvroName() {
		return fmt.Sprintf("  want %s\n  got  %s", show(want), show(got))
	}
	var d differ
	d.values("", reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem())
	return strings.Join(d.lines, "\n")
}

// diffEvents compares two lists of events, "" if they are equal.
func diffEvents(want, got []domain.Event) string {
	var lines []string
	for i := range max(len(want), len(got)) {
		at := fmt.Sprintf("  event %d: ", i+1)
		switch {
		case i >= len(got):
			lines = append(lines, at+"missing "+show(want[i]))
		case i >= len(want):
			lines = append(lines, at+"unexpected "+show(got[i]))
		default:
			if d := diff(want[i], got[i]); d != "" {
				lines = append(lines, at+want[i].AvroName(), d)
			}
		}
	}
	return strings.Join(lines, "\n")
}

type differ struct{ lines []string }

func (d *differ) add(path, format string, args ...any) {
	d.lines = append(d.lines, "    "+strings.TrimPrefix(path, ".")+": "+fmt.Sprintf(format, args...))
}

func (d *differ) values(path string, want, got reflect.Value) {
	switch want.Kind() {
	case reflect.Struct:
		for i := range want.NumField() {
			d.values(path+"."+fieldName(want.Type().Field(i)), want.Field(i), got.Field(i))
		}
	case reflect.Pointer, reflect.Interface:
		if want.IsNil() || got.IsNil() {
			if want.IsNil() != got.IsNil() {
				d.add(path, "want %s, got %s", format(want), format(got))
			}
			return
		}
		d.values(path, want.Elem(), got.Elem())
	case reflect.Slice, reflect.Array:
		d.lists(path, want, got)
	case reflect.Map:
		if !reflect.DeepEqual(want.Interface(), got.Interface()) && want.Len()+got.Len() > 0 {
			d.add(path, "want %s, got %s", format(want), format(got))
		}
	default:
		if !want.Equal(got) {
			d.add(path, "want %s, got %s", format(want), format(got))
		}
	}
}

func (d *differ) lists(path string, want, got reflect.Value) {
	if want.Type().Elem().Kind() == reflect.Uint8 {
		if format(want) != format(got) {
			d.add(path, "want %s, got %s", format(want), format(got))
		}
		return
	}
	for i := range max(want.Len(), got.Len()) {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case i >= got.Len():
			d.add(at, "missing %s", format(want.Index(i)))
		case i >= want.Len():
			d.add(at, "unexpected %s", format(got.Index(i)))
		default:
			d.values(at, want.Index(i), got.Index(i))
		}
	}
}

// show renders a record for people, nearly as JSON.
func show(r domain.Record) string {
	return r.AvroName() + " " + format(reflect.ValueOf(r).Elem())
}

func format(v reflect.Value) string {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return "null"
		}
		return format(v.Elem())
	}
	if v.CanInterface() {
		if s, ok := v.Interface().(fmt.Stringer); ok {
			return fmt.Sprintf("%q", s.String())
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		fields := make([]string, v.NumField())
		for i := range fields {
			fields[i] = fieldName(v.Type().Field(i)) + ": " + format(v.Field(i))
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("%x", v.Interface())
		}
		items := make([]string, v.Len())
		for i := range items {
			items[i] = format(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		var entries []string
		for _, k := range v.MapKeys() {
			entries = append(entries, format(k)+": "+format(v.MapIndex(k)))
		}
		slices.Sort(entries)
		return "{" + strings.Join(entries, ", ") + "}"
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v)
}

// fieldName is the field's name as in JSON: OrderID is orderId.
func fieldName(f reflect.StructField) string {
	name := strings.ReplaceAll(f.Name, "ID", "Id")
	first, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToLower(first)) + name[size:]
}
