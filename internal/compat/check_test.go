package compat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
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
	linked                       = `{"type":"record","name":"Node","fields":[{"name":"v","type":%s},{"name":"next","type":["null","Node"],"default":null}]}`
	decimal                      = `{"type":"bytes","logicalType":"decimal","precision":%d,"scale":%d}`
)

type verdict struct {
	name           string
	reader, writer string
	want           []string // "TYPE location", empty: compatible
}

func verdicts() []verdict {
	inner := func(fields ...string) string {
		return `{"type":"record","name":"Inner","fields":[` + strings.Join(fields, ",") + `]}`
	}
	return []verdict{
		// Primitives and promotions.
		{"the same primitive", tInt, tInt, nil},
		{"null reads null", tNull, tNull, nil},
		{"boolean reads boolean", tBool, tBool, nil},
		{"long reads int", tLong, tInt, nil},
		{"float reads int", tFloat, tInt, nil},
		{"double reads int", tDouble, tInt, nil},
		{"float reads long", tFloat, tLong, nil},
		{"double reads long", tDouble, tLong, nil},
		{"double reads float", tDouble, tFloat, nil},
		{"bytes read string", tBytes, tString, nil},
		{"string reads bytes", tString, tBytes, nil},
		{"int does not read long", tInt, tLong, []string{"TYPE_MISMATCH "}},
		{"long does not read float", tLong, tFloat, []string{"TYPE_MISMATCH "}},
		{"float does not read double", tFloat, tDouble, []string{"TYPE_MISMATCH "}},
		{"int does not read boolean", tInt, tBool, []string{"TYPE_MISMATCH "}},
		{"string does not read int", tString, tInt, []string{"TYPE_MISMATCH "}},
		{"null does not read int", tNull, tInt, []string{"TYPE_MISMATCH "}},
		{"bytes do not read fixed", tBytes, fixed("F", 4), []string{"TYPE_MISMATCH "}},
		{"fixed does not read bytes", fixed("F", 4), tBytes, []string{"TYPE_MISMATCH "}},
		{"string does not read enum", tString, enum("E", `"A"`), []string{"TYPE_MISMATCH "}},
		{"the long spelling of a primitive is the primitive", `{"type":"int"}`, tInt, nil},

		// Arrays and maps.
		{"array of long reads array of int", `{"type":"array","items":"long"}`, `{"type":"array","items":"int"}`, nil},
		{"array of int does not read array of long", `{"type":"array","items":"int"}`, `{"type":"array","items":"long"}`, []string{"TYPE_MISMATCH /items"}},
		{"map of string reads map of bytes", `{"type":"map","values":"string"}`, `{"type":"map","values":"bytes"}`, nil},
		{"map of int does not read map of string", `{"type":"map","values":"int"}`, `{"type":"map","values":"string"}`, []string{"TYPE_MISMATCH /values"}},
		{"array does not read map", `{"type":"array","items":"int"}`, `{"type":"map","values":"int"}`, []string{"TYPE_MISMATCH "}},
		{"array of union reads array of branch", `{"type":"array","items":["null","int"]}`, `{"type":"array","items":"int"}`, nil},

		// Records and fields.
		{"a new field with a default", rec(fld("a", tInt), fld("b", tInt, `"default":0`)), rec(fld("a", tInt)), nil},
		{"a new field with a null default", rec(fld("a", tInt), fld("b", `["null","int"]`, `"default":null`)), rec(fld("a", tInt)), nil},
		{"a new field without a default", rec(fld("a", tInt), fld("b", tInt)), rec(fld("a", tInt)), []string{"READER_FIELD_MISSING_DEFAULT_VALUE /fields/1"}},
		{"a new nullable field still needs a default", rec(fld("a", `["null","int"]`)), rec(), []string{"READER_FIELD_MISSING_DEFAULT_VALUE /fields/0"}},
		{"a removed field", rec(fld("a", tInt)), rec(fld("a", tInt), fld("b", tInt)), nil},
		{"fields in another order", rec(fld("a", tInt), fld("b", tString)), rec(fld("b", tString), fld("a", tInt)), nil},
		{"a widened field", rec(fld("a", tLong)), rec(fld("a", tInt)), nil},
		{"a narrowed field", rec(fld("a", tInt)), rec(fld("a", tLong)), []string{"TYPE_MISMATCH /fields/0/type"}},
		{"two faults are both reported", rec(fld("a", tInt), fld("b", tInt)), rec(fld("a", tString)), []string{"TYPE_MISMATCH /fields/0/type", "READER_FIELD_MISSING_DEFAULT_VALUE /fields/1"}},
		{"a default does not excuse a type", rec(fld("a", tInt, `"default":1`)), rec(fld("a", tString)), []string{"TYPE_MISMATCH /fields/0/type"}},
		{"a renamed field with an alias", rec(fld("b", tInt, `"aliases":["a"]`)), rec(fld("a", tInt)), nil},
		{"a renamed field without an alias", rec(fld("b", tInt)), rec(fld("a", tInt)), []string{"READER_FIELD_MISSING_DEFAULT_VALUE /fields/0"}},
		{"aliases of the writer do not count", rec(fld("b", tInt)), rec(fld("a", tInt, `"aliases":["b"]`)), []string{"READER_FIELD_MISSING_DEFAULT_VALUE /fields/0"}},
		{"an alias is checked for its type too", rec(fld("b", tInt, `"aliases":["a"]`)), rec(fld("a", tString)), []string{"TYPE_MISMATCH /fields/0/type"}},
		{"a field and its alias both written", rec(fld("b", tInt, `"aliases":["a"]`)), rec(fld("a", tInt), fld("b", tInt)), []string{"NAME_MISMATCH /fields/0/aliases"}},
		{"an empty record reads any fields", rec(), rec(fld("a", tInt)), nil},
		{"a record does not read an int", rec(), tInt, []string{"TYPE_MISMATCH "}},
		{"an order attribute is nothing to resolution", rec(fld("a", tInt, `"order":"descending"`)), rec(fld("a", tInt)), nil},
		{"documentation is nothing to resolution", rec(fld("a", tInt, `"doc":"x"`)), rec(fld("a", tInt)), nil},
		{"a field turned into a union", rec(fld("a", `["null","int"]`)), rec(fld("a", tInt)), nil},
		{"a field turned from a union", rec(fld("a", tInt)), rec(fld("a", `["null","int"]`)), []string{"TYPE_MISMATCH /fields/0/type"}},

		// Names, namespaces, aliases of types.
		{"another record name", `{"type":"record","name":"A","fields":[]}`, `{"type":"record","name":"B","fields":[]}`, []string{"NAME_MISMATCH /name"}},
		{"another namespace is no other name", `{"type":"record","name":"x.A","fields":[]}`, `{"type":"record","name":"y.A","fields":[]}`, nil},
		{"a type alias in the same namespace", `{"type":"record","name":"shop.New","aliases":["Old"],"fields":[]}`, `{"type":"record","name":"shop.Old","fields":[]}`, nil},
		{"a type alias with a full name", `{"type":"record","name":"shop.New","aliases":["old.Old"],"fields":[]}`, `{"type":"record","name":"old.Old","fields":[]}`, nil},
		{"a short type alias stays in its namespace", `{"type":"record","name":"shop.New","aliases":["Old"],"fields":[]}`, `{"type":"record","name":"other.Old","fields":[]}`, []string{"NAME_MISMATCH /name"}},
		{"an alias of the writer's type does not count", `{"type":"record","name":"New","fields":[]}`, `{"type":"record","name":"Old","aliases":["New"],"fields":[]}`, []string{"NAME_MISMATCH /name"}},
		{"namespace attribute and dotted name are one", `{"type":"record","name":"A","namespace":"x","aliases":["x.B"],"fields":[]}`, `{"type":"record","name":"x.B","fields":[]}`, nil},
		{"nested types inherit the namespace", rec(fld("f", enum("Kind", `"A"`, `"aliases":["Old"]`))), rec(fld("f", enum("shop.Old", `"A"`))), nil},

		// Enums.
		{"fewer symbols written", enum("E", `"A","B"`), enum("E", `"A"`), nil},
		{"symbols in another order", enum("E", `"A","B"`), enum("E", `"B","A"`), nil},
		{"a symbol the reader lacks", enum("E", `"A"`), enum("E", `"A","B"`), []string{"MISSING_ENUM_SYMBOLS /symbols"}},
		{"a symbol the reader lacks, with an enum default", enum("E", `"A"`, `"default":"A"`), enum("E", `"A","B"`), nil},
		{"the writer's enum default does not help", enum("E", `"A"`), enum("E", `"A","B"`, `"default":"A"`), []string{"MISSING_ENUM_SYMBOLS /symbols"}},
		{"the field's default does not help a symbol", rec(fld("e", enum("E", `"A"`), `"default":"A"`)), rec(fld("e", enum("E", `"A","B"`))), []string{"MISSING_ENUM_SYMBOLS /fields/0/type/symbols"}},
		{"an enum default is no field default", rec(fld("e", enum("E", `"A"`, `"default":"A"`))), rec(), []string{"READER_FIELD_MISSING_DEFAULT_VALUE /fields/0"}},
		{"another enum name", enum("E", `"A"`), enum("F", `"A"`), []string{"NAME_MISMATCH /name"}},
		{"another enum name and a missing symbol", enum("E", `"A"`), enum("F", `"B"`), []string{"NAME_MISMATCH /name", "MISSING_ENUM_SYMBOLS /symbols"}},

		// Fixed.
		{"the same fixed", fixed("F", 4), fixed("F", 4), nil},
		{"another size", fixed("F", 4), fixed("F", 8), []string{"FIXED_SIZE_MISMATCH /size"}},
		{"another fixed name", fixed("F", 4), fixed("G", 4), []string{"NAME_MISMATCH /name"}},
		{"another fixed name covered by an alias", fixed("F", 4, `"aliases":["G"]`), fixed("G", 4), nil},

		// Unions.
		{"a union reads one of its branches", `["null","string"]`, tString, nil},
		{"a union reads a promoted branch", `["null","double"]`, tInt, nil},
		{"a union lacks the type", `["null","string"]`, tInt, []string{"MISSING_UNION_BRANCH "}},
		{"a union grows", `["null","string","int"]`, `["null","string"]`, nil},
		{"a union shrinks", `["null","string"]`, `["null","string","int"]`, []string{"MISSING_UNION_BRANCH "}},
		{"branches in another order", `["string","null"]`, `["null","string"]`, nil},
		{"a type that reads all branches of a union", tLong, `["int","long"]`, nil},
		{"a type that reads one branch of a union", tLong, `["int","string"]`, []string{"TYPE_MISMATCH "}},
		{"a union with one branch is that branch", tInt, `["int"]`, nil},
		{"a record branch evolves", `["null",` + inner(fld("a", tInt), fld("b", tInt, `"default":0`)) + `]`, `["null",` + inner(fld("a", tInt)) + `]`, nil},
		{"a record branch breaks", `["null",` + inner(fld("a", tInt), fld("b", tInt)) + `]`, `["null",` + inner(fld("a", tInt)) + `]`, []string{"READER_FIELD_MISSING_DEFAULT_VALUE /1/fields/1"}},
		{"a record branch of another name", `["null",` + inner() + `]`, rec(), []string{"MISSING_UNION_BRANCH "}},
		{"a branch is found by its alias", `["null",{"type":"record","name":"New","aliases":["Old"],"fields":[]}]`, `{"type":"record","name":"Old","fields":[]}`, nil},
		{"the full name decides between namesakes", `[{"type":"record","name":"x.A","fields":[{"name":"f","type":"int"}]},{"type":"record","name":"y.A","fields":[]}]`, `{"type":"record","name":"y.A","fields":[]}`, nil},
		{"the first namesake is taken, fit or not", `[{"type":"record","name":"x.A","fields":[{"name":"f","type":"int"}]},{"type":"record","name":"y.A","fields":[]}]`, `{"type":"record","name":"z.A","fields":[]}`, []string{"READER_FIELD_MISSING_DEFAULT_VALUE /0/fields/0"}},
		{"a fixed branch of another size", `["null",` + fixed("F", 4) + `]`, fixed("F", 8), []string{"MISSING_UNION_BRANCH "}},
		{"an enum branch that lacks a symbol", `["null",` + enum("E", `"A"`) + `]`, enum("E", `"A","B"`), []string{"MISSING_ENUM_SYMBOLS /1/symbols"}},
		{"a union without branches reads nothing", `[]`, tInt, []string{"MISSING_UNION_BRANCH "}},
		{"an array branch is checked inside", `["null",{"type":"array","items":"int"}]`, `{"type":"array","items":"string"}`, []string{"TYPE_MISMATCH /1/items"}},

		// Nested and recursive types.
		{"a nested record evolves", rec(fld("i", inner(fld("a", tLong), fld("b", tInt, `"default":0`)))), rec(fld("i", inner(fld("a", tInt)))), nil},
		{"a nested record breaks", rec(fld("i", inner(fld("a", tInt)))), rec(fld("i", inner(fld("a", tString)))), []string{"TYPE_MISMATCH /fields/0/type/fields/0/type"}},
		{"a named type used twice is reported once", rec(fld("i", inner(fld("a", tInt))), fld("j", `"Inner"`)), rec(fld("i", inner(fld("a", tString))), fld("j", `"Inner"`)), []string{"TYPE_MISMATCH /fields/0/type/fields/0/type"}},
		{"a recursive record", fmt.Sprintf(linked, tLong), fmt.Sprintf(linked, tInt), nil},
		{"a recursive record that breaks", fmt.Sprintf(linked, tInt), fmt.Sprintf(linked, tLong), []string{"TYPE_MISMATCH /fields/0/type"}},
		{"recursion through an array", rec(fld("kids", `{"type":"array","items":"R"}`, `"default":[]`)), rec(fld("kids", `{"type":"array","items":"R"}`)), nil},
		{"a reference by short name and by full name", rec(fld("i", inner()), fld("j", `"Inner"`)), rec(fld("i", inner()), fld("j", `"shop.Inner"`)), nil},

		// Logical types.
		{"timestamp over long", `{"type":"long","logicalType":"timestamp-millis"}`, tLong, nil},
		{"timestamps of two units", `{"type":"long","logicalType":"timestamp-millis"}`, `{"type":"long","logicalType":"timestamp-micros"}`, nil},
		{"date reads as long", tLong, `{"type":"int","logicalType":"date"}`, nil},
		{"uuid over string", `{"type":"string","logicalType":"uuid"}`, tString, nil},
		{"the same decimal", fmt.Sprintf(decimal, 10, 2), fmt.Sprintf(decimal, 10, 2), nil},
		{"a decimal of another scale", fmt.Sprintf(decimal, 10, 3), fmt.Sprintf(decimal, 10, 2), []string{"TYPE_MISMATCH "}},
		{"a decimal of another precision", fmt.Sprintf(decimal, 12, 2), fmt.Sprintf(decimal, 10, 2), []string{"TYPE_MISMATCH "}},
		{"a decimal reads plain bytes", fmt.Sprintf(decimal, 10, 2), tBytes, nil},
		{"a fixed decimal of another scale", fixed("D", 8, `"logicalType":"decimal"`, `"precision":10`, `"scale":2`), fixed("D", 8, `"logicalType":"decimal"`, `"precision":10`, `"scale":3`), []string{"TYPE_MISMATCH "}},
		{"an unknown logical type is its base type", `{"type":"int","logicalType":"mood"}`, tInt, nil},
	}
}

func TestCheck(t *testing.T) {
	if n := len(verdicts()); n < 60 {
		t.Fatalf("the table holds %d cases", n)
	}
	for _, v := range verdicts() {
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
	for _, v := range verdicts() {
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
