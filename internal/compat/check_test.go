package compat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/internal/compattest"
)

// rec builds a record Shop.R with the given fields.
func rec(fields ...string) string {
	return `{"type":"record","name":"R","namespace":"shop","fields":[` + strings.Join(fields, ",") + `]}`
}

func fld(name, typ string, more ...string) string {
	out := `{"name":"` + name + `","type":` + typ
	for _, m := range more {
		out += "," + m
	}
	return out + "}"
}

func enum(name, symbols string, more ...string) string {
	return strings.TrimSuffix(`{"type":"enum","name":"`+name+`","symbols":[`+symbols+`],`+strings.Join(more, ","), ",") + "}"
}

func fixed(name string, size int, more ...string) string {
	return strings.TrimSuffix(fmt.Sprintf(`{"type":"fixed","name":"%s","size":%d,%s`, name, size, strings.Join(more, ",")), ",") + "}"
}

const (
	tInt, tLong, tFloat, tDouble = `"int"`, `"long"`, `"float"`, `"double"`
	tString, tBytes, tNull       = `"string"`, `"bytes"`, `"null"`
	tBool                        = `"boolean"`
)

// verdict is a case with its schemas as texts.
type verdict struct {
	name           string
	reader, writer string
	want           []string // "TYPE location", empty: compatible
}

func verdicts(t testing.TB) []verdict {
	t.Helper()
	var out []verdict
	for _, c := range compattest.Cases(t) {
		out = append(out, verdict{c.Name, string(c.Reader), string(c.Writer), c.Findings})
	}
	return out
}

func TestCheck(t *testing.T) {
	for _, v := range verdicts(t) {
		t.Run(v.name, func(t *testing.T) {
			found, err := Check(v.reader, v.writer)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, string(f.Type)+" "+f.Location)
				if f.Message == "" {
					t.Errorf("%s has no message", f)
				}
			}
			if !slices.Equal(got, v.want) {
				t.Errorf("reader %s\nwriter %s\ngot  %q\nwant %q", v.reader, v.writer, got, v.want)
			}
		})
	}
}

func TestCheck_everySchemaReadsItself(t *testing.T) {
	for _, v := range verdicts(t) {
		for _, s := range []string{v.reader, v.writer} {
			found, err := Check(s, s)
			if err != nil || len(found) > 0 {
				t.Errorf("%s: %v %v", s, found, err)
			}
		}
	}
}

func TestCheck_namesTheSchemaThatIsNone(t *testing.T) {
	_, err := Check(tInt, `{"type":"nonsense"}`)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "writer") {
		t.Fatalf("got %v", err)
	}
	_, err = Check(`{`, tInt)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "reader") {
		t.Fatalf("got %v", err)
	}
}

func TestCheck_boundsItsFindings(t *testing.T) {
	var fields []string
	for i := range 500 {
		fields = append(fields, fld(fmt.Sprintf("f%d", i), tInt))
	}
	found, err := Check(rec(fields...), rec())
	if err != nil || len(found) != maxReported {
		t.Fatalf("got %d findings, %v", len(found), err)
	}
}

// Unions of thousands of branches must not cost a square of their size.
func TestCheck_largeUnions(t *testing.T) {
	union := func(space string) string {
		var b []string
		for i := range 5000 {
			b = append(b, fmt.Sprintf(`{"type":"record","name":"%s.R%d","fields":[]}`, space, i))
		}
		return "[" + strings.Join(b, ",") + "]"
	}
	found, err := Check(union("x"), union("y"))
	if err != nil || len(found) > 0 {
		t.Fatal(found, err)
	}
}
