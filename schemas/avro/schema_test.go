package avro_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	lib "github.com/twmb/avro"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// TestSchema_canonicalFormAgreesWithLibraries compares canonical forms and fingerprints with two implementations.
func TestSchema_canonicalFormAgreesWithLibraries(t *testing.T) {
	texts := []string{
		`"int"`, `["null",{"type":"array","items":{"type":"map","values":"string"}}]`,
		`{"type":"fixed","name":"F","size":3}`, `{"type":"enum","name":"a.E","symbols":["A"],"doc":"x"}`,
		`{"type":"record","name":"R","namespace":"n","fields":[{"name":"next","type":["null","R"],"default":null,"doc":"d"}]}`,
	}
	for _, e := range entries(t) {
		texts = append(texts, e.Text)
	}
	for _, text := range texts {
		s, err := avro.ParseSchema(text)
		if err != nil {
			t.Fatal(err)
		}
		twmb, err := lib.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := s.Canonical(), string(twmb.Canonical()); got != want {
			t.Errorf("canonical form\n%s, twmb says\n%s", got, want)
		}
		if got, want := s.Fingerprint(), fmt.Sprintf("%x", twmb.Fingerprint(sha256.New())); got != want {
			t.Errorf("fingerprint %s, want %s", got, want)
		}
		if _, err := goavro.NewCodec(s.Canonical()); err != nil {
			t.Errorf("goavro does not take %s: %v", s.Canonical(), err)
		}
	}
}

func TestSchema_tellsWhatOthersNeed(t *testing.T) {
	s := schemaOf(t, "sample.first.Everything")
	if s.Kind() != avro.KindRecord || s.Owner() != "tests" || s.Subject() != "personName" || s.Doc() == "" || s.Attribute("nothing") != "" {
		t.Errorf("%s: owner %q, subject %q, doc %q", s.Name(), s.Owner(), s.Subject(), s.Doc())
	}
	person := s.Field("personName")
	if !person.Personal() || person.Nullable() || person.Optional() || person.Type().MaxLength() != 40 || s.Field("raw").Personal() {
		t.Errorf("personName: %+v", person)
	}
	if f := s.Field("raw"); f.Type().MaxLength() != avro.MaxLengthDefault || !f.Optional() {
		t.Errorf("raw: %+v", f)
	}
	if got := s.Field("price").Type(); got.Logical() != avro.LogicalMoney || got.Kind() != avro.KindLong {
		t.Errorf("price: %v %q", got.Kind(), got.Logical())
	}
	if got := s.Field("colour").Type().Symbols(); !slices.Equal(got, []string{"RED", "GREEN", "DARK_BLUE", "lightGrey"}) {
		t.Errorf("colour: %v", got)
	}
	if got := s.Field("lines").Type().Items(); got.Name() != "sample.second.Line" || len(got.Fields()) != 3 {
		t.Errorf("lines: %v", got.Name())
	}
	maybe := s.Field("maybe").Type()
	at := maybe.Field("at")
	if !at.Nullable() || at.Type().Logical() != avro.LogicalTimestamp || at.Default != "null" || len(at.Schema.Branches()) != 2 {
		t.Errorf("maybe.at: %+v", at)
	}
	if maybe.Field("big").Optional() || maybe.Field("list").Type().Kind() != avro.KindArray || s.Field("missing") != nil {
		t.Error("maybe: not as declared")
	}
	if got := maybe.Field("hash").Type(); got.Size() != 4 || got.Items() != nil {
		t.Errorf("hash: %d bytes", got.Size())
	}
}

func TestParseSchema_takesWhatTheSpecificationAllows(t *testing.T) {
	for text, want := range map[string]string{
		`{"type":{"type":"int"}}`:                                             `"int"`,
		`{"type":"long","logicalType":"made-up","precision":3}`:               `{"type":"long","logicalType":"made-up","precision":3}`,
		`{"type":"error","name":"E","fields":[]}`:                             `{"type":"record","name":"E","namespace":"","fields":[]}`,
		`{"type":"enum","name":"a.b.E","namespace":"c","symbols":["X"]}`:      `{"type":"enum","name":"E","namespace":"a.b","symbols":["X"]}`,
		`{"type":"fixed","name":"F","namespace":"","size":1,"aliases":["G"]}`: `{"type":"fixed","name":"F","namespace":"","size":1,"aliases":["G"]}`,
		`{"type":"record","name":"n.R","fields":[{"name":"a","type":{"type":"record","name":"S","fields":[]}},{"name":"b","type":"S"}]}`: `{"type":"record","name":"R","namespace":"n","fields":[{"name":"a","type":{"type":"record","name":"S","namespace":"n","fields":[]}},{"name":"b","type":"n.S"}]}`,
	} {
		s, err := avro.ParseSchema(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := s.Text(); got != want {
			t.Errorf("%s prints as\n%s, want\n%s", text, got, want)
		}
		if _, err := lib.Parse(s.Text()); err != nil {
			t.Errorf("twmb does not take %s: %v", s.Text(), err)
		}
	}
}

func TestParseSchema_refusesWithinBounds(t *testing.T) {
	doubling := `{"type":"record","name":"R0","fields":[]}`
	for i := 1; i < 40; i++ {
		doubling = fmt.Sprintf(`{"type":"record","name":"R%d","fields":[{"name":"a","type":%s,"default":{}},{"name":"b","type":"R%d","default":{}}]}`, i, doubling, i-1)
	}
	for _, text := range []string{
		"", "null", "1", "[]", `{}`, `"no"`, `{"type":"array"}`, `{"type":"map"}`, `["int",["null"]]`, `["int","int"]`, `{"type":"enum","name":"E","symbols":[]}`,
		`{"type":"enum","name":"E","symbols":["A","A"]}`, `{"type":"fixed","name":"F","size":0}`, `{"type":"fixed","name":"F","size":99999999}`,
		`{"type":"fixed","name":"F"}`, `{"type":"record","name":"R"}`, `{"type":"record","fields":[]}`, `{"type":"record","name":"a..b","fields":[]}`,
		`{"type":"record","name":"R","fields":[{"name":"a"}]}`, `{"type":"record","name":"R","fields":[{"type":"int"}]}`,
		`{"type":"string","maxLength":1e9}`, `"int" "int"`, `{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}`,
		strings.Repeat(`{"type":"array","items":`, 70) + `"int"` + strings.Repeat("}", 70), strings.Repeat("[", 100_000),
		doubling, `{"type":"A","name":"A"}`, `{"type":"A","name":"A","fields":[]}`,
	} {
		if s, err := avro.ParseSchema(text); err == nil {
			t.Errorf("%.80s: no error, but %.80s", text, s.Text())
		}
	}
}

func TestSets_mergeByName(t *testing.T) {
	entry := func(name, text string) *avro.Entry { return &avro.Entry{Name: name, Text: text} }
	all, err := avro.Sets{{entry("b", "1"), entry("c", "1")}, {entry("a", "1"), entry("b", "1")}}.All()
	if err != nil || len(all) != 3 || all[0].Name != "a" || all[2].Name != "c" {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := (avro.Sets{{entry("b", "1")}, {entry("b", "2")}}).All(); err == nil || !strings.Contains(err.Error(), "b declared twice") {
		t.Errorf("two schemas of one name: %v", err)
	}
	if (avro.Sets{}).Find("x") != nil {
		t.Error("found what is not there")
	}
}
