package compat

import (
	"errors"
	"strings"
	"testing"
)

func TestParse_refuses(t *testing.T) {
	nest := func(n int) string {
		return strings.Repeat(`{"type":"array","items":`, n) + `"int"` + strings.Repeat("}", n)
	}
	cases := map[string]string{
		"nothing":                             ``,
		"text after the schema":               `"int" "int"`,
		"invalid UTF-8":                       "{\"type\":\"record\",\"name\":\"A\",\"doc\":\"\xff\",\"fields\":[]}",
		"a key given twice":                   `{"type":"record","name":"A","fields":[],"fields":[{"name":"a","type":"int"}]}`,
		"an unknown type":                     `"Elsewhere"`,
		"a name used before it is defined":    `{"type":"record","name":"A","fields":[{"name":"a","type":"B"},{"name":"b","type":{"type":"record","name":"B","fields":[]}}]}`,
		"a name defined twice":                `[{"type":"fixed","name":"A","size":1},{"type":"record","name":"B","fields":[{"name":"a","type":{"type":"fixed","name":"A","size":1}}]}]`,
		"a field without a type":              `{"type":"record","name":"A","fields":[{"name":"a"}]}`,
		"a field written flat":                `{"type":"record","name":"A","fields":[{"name":"a","type":"array","items":"int"}]}`,
		"a default of the wrong type":         `{"type":"record","name":"A","fields":[{"name":"a","type":"int","default":"x"}]}`,
		"an enum default that is no symbol":   `{"type":"enum","name":"E","symbols":["A"],"default":"B"}`,
		"a name with a blank":                 `{"type":"record","name":"a b","fields":[]}`,
		"a union in a union":                  `["null",["int"]]`,
		"two branches of one type":            `["int","int"]`,
		"an alias that is another field":      rec(fld("a", tInt), fld("b", tInt, `"aliases":["a"]`)),
		"two fields with one alias":           rec(fld("a", tInt, `"aliases":["c"]`), fld("b", tInt, `"aliases":["c"]`)),
		"a decimal of impossible scale":       `{"type":"bytes","logicalType":"decimal","precision":2,"scale":10}`,
		"a decimal too large for its fixed":   fixed("D", 2, `"logicalType":"decimal"`, `"precision":10`),
		"a number":                            `1`,
		"brackets without end":                strings.Repeat("[", 100_000),
		"arrays nested deeper than the limit": nest(MaxDepth + 1),
		"a text longer than the limit":        `{"type":"int","doc":"` + strings.Repeat("x", MaxTextBytes) + `"}`,
		"a record that is called like an int": `{"type":"record","name":"int","fields":[]}`,
		"a text that ends in the middle":      `{"type":"record","name":"A",`,
		"fields that are no list":             `{"type":"record","name":"A","fields":{}}`,
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(text)
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("got %v", err)
			}
			if len(err.Error()) > 2000 {
				t.Fatalf("a message of %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := Parse(nest(MaxDepth)); err != nil {
		t.Fatalf("the limit itself: %v", err)
	}
}

func TestParse_fingerprint(t *testing.T) {
	base := `{"type":"record","name":"A","namespace":"x","fields":[{"name":"a","type":"int"},{"name":"b","type":{"type":"fixed","name":"F","size":2}},{"name":"c","type":"F"}]}`
	same := []string{
		"{\n \"namespace\":\"x\", \"fields\":[{\"type\":\"int\",\"name\":\"a\"},{\"name\":\"b\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}},{\"name\":\"c\",\"type\":\"F\"}],\"type\":\"record\",\"name\":\"A\"}",
		`{"type":"record","name":"x.A","fields":[{"name":"a","type":{"type":"int"}},{"name":"b","type":{"type":"fixed","name":"x.F","size":2}},{"name":"c","type":"x.F","order":"ascending"}]}`,
	}
	other := []string{
		`{"type":"record","name":"A","namespace":"x","doc":"d","fields":[{"name":"a","type":"int"},{"name":"b","type":{"type":"fixed","name":"F","size":2}},{"name":"c","type":"F"}]}`,
		`{"type":"record","name":"A","namespace":"x","fields":[{"name":"a","type":"int","default":1},{"name":"b","type":{"type":"fixed","name":"F","size":2}},{"name":"c","type":"F"}]}`,
		`{"type":"record","name":"A","namespace":"x","fields":[{"name":"a","type":"int","personal":true},{"name":"b","type":{"type":"fixed","name":"F","size":2}},{"name":"c","type":"F"}]}`,
		`{"type":"record","name":"A","namespace":"y","fields":[{"name":"a","type":"int"},{"name":"b","type":{"type":"fixed","name":"F","size":2}},{"name":"c","type":"F"}]}`,
	}
	want := mustParse(t, base).Fingerprint()
	for _, s := range same {
		if mustParse(t, s).Fingerprint() != want {
			t.Errorf("says the same, but differs: %s", s)
		}
	}
	for _, s := range other {
		if mustParse(t, s).Fingerprint() == want {
			t.Errorf("says something else: %s", s)
		}
	}
}

func TestParse_references(t *testing.T) {
	money := mustParse(t, `{"type":"record","name":"shop.Money","fields":[{"name":"amount","type":"long"}]}`)
	line := mustParse(t, `{"type":"record","name":"shop.Line","fields":[{"name":"price","type":"Money"}]}`, money)
	order := mustParse(t, `{"type":"record","name":"shop.Order","fields":[{"name":"total","type":"Money"},{"name":"lines","type":{"type":"array","items":"Line"}}]}`, line, money)
	wide := mustParse(t, `{"type":"record","name":"shop.Order","fields":[{"name":"total","type":{"type":"record","name":"Money","fields":[{"name":"amount","type":"double"}]}}]}`)

	if found := CheckSchemas(wide, order); len(found) > 0 {
		t.Errorf("a double reads a long, also through references: %v", found)
	}
	found := CheckSchemas(order, wide)
	if len(found) != 2 || found[0].Location != "/fields/0/type/fields/0/type" || found[1].Location != "/fields/1" {
		t.Errorf("got %v", found)
	}
	if _, err := Parse(`{"type":"record","name":"shop.Order","fields":[{"name":"total","type":"Money"}]}`); !errors.Is(err, ErrInvalid) {
		t.Errorf("a reference that is not given: %v", err)
	}
	if _, err := Parse(`{"type":"record","name":"shop.Money","fields":[]}`, money); !errors.Is(err, ErrInvalid) {
		t.Errorf("a name that a reference defines already: %v", err)
	}
}

func TestEvolve(t *testing.T) {
	v1 := mustParse(t, rec(fld("a", tInt)))
	v2 := mustParse(t, rec(fld("a", tInt), fld("b", tInt, `"default":0`)))
	v3 := mustParse(t, rec(fld("a", tInt), fld("b", tInt)))      // cannot read v1
	required := mustParse(t, rec(fld("b", tInt, `"default":0`))) // v1 cannot read it
	cases := []struct {
		level   Level
		next    *Schema
		earlier []*Schema
		want    int
	}{
		{None, v3, []*Schema{v1}, 0},
		{Backward, v2, []*Schema{v1}, 0},
		{Backward, v3, []*Schema{v1}, 1},
		{Backward, v3, []*Schema{v1, v2}, 0},
		{BackwardTransitive, v3, []*Schema{v1, v2}, 1},
		{Forward, v3, []*Schema{v1}, 0},
		{Forward, required, []*Schema{v1}, 1},
		{Forward, required, []*Schema{v1, required}, 0},
		{ForwardTransitive, required, []*Schema{v1, required}, 1},
		{Full, v2, []*Schema{v1}, 0},
		{Full, v3, []*Schema{v1}, 1},
		{Full, required, []*Schema{v1}, 1},
		{Full, v3, []*Schema{v1, v2}, 0},
		{FullTransitive, v3, []*Schema{v1, v2}, 1},
		{FullTransitive, v1, nil, 0},
	}
	for _, c := range cases {
		if got := Evolve(c.level, c.next, c.earlier); len(got) != c.want {
			t.Errorf("%s after %d versions: got %v, want %d", c.level, len(c.earlier), got, c.want)
		}
	}
	got := Evolve(Full, required, []*Schema{v1})
	if len(got) != 1 || got[0].NewReads || got[0].Earlier != 0 {
		t.Errorf("direction and version: %+v", got)
	}
}

func TestParseLevel(t *testing.T) {
	for _, l := range Levels {
		if got, err := ParseLevel(strings.ToLower(string(l))); err != nil || got != l {
			t.Errorf("%s: %s %v", l, got, err)
		}
	}
	if _, err := ParseLevel("SIDEWAYS"); err == nil {
		t.Error("an unknown level passed")
	}
}

func mustParse(t *testing.T, text string, uses ...*Schema) *Schema {
	t.Helper()
	s, err := Parse(text, uses...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}
