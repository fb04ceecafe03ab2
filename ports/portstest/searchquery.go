package portstest

import (
	"math"
	"strings"

	"github.com/nexusblueprint/nexus/ports"
)

// full is a document with a value in each of searchFields, and the word "text" in its text.
func full(id string, version uint64, country string, units, sales, placedAt int64, weight float64, open bool) ports.Document {
	return ports.Document{
		ID: id, Version: version, JSON: []byte(`{"id":"` + id + `"}`), Text: "text of " + country,
		Values: []any{country, units, sales, placedAt, weight, open},
	}
}

// bare is a document without a value in any of searchFields.
func bare(id string) ports.Document {
	return ports.Document{ID: id, Version: 1, JSON: []byte(`{}`), Values: make([]any, len(searchFields))}
}

func where(field string, op ports.Op, value any) ports.Filter {
	return ports.Filter{Field: field, Op: op, Value: value}
}

func by(fields ...string) []ports.Sort {
	var sort []ports.Sort
	for _, f := range fields {
		name, desc := strings.CutPrefix(f, "-")
		sort = append(sort, ports.Sort{Field: name, Desc: desc})
	}
	return sort
}

var searchQueryCases = []searchCase{
	{"without filters all documents come, in the order of their ids", func(t *searchTest) {
		t.ensure()
		t.finds(ports.Query{})
		t.write(plain("b", 1, ""), plain("a", 1, ""), plain("10", 1, ""), plain("9", 1, ""), plain("B", 1, ""), plain("é", 1, ""))
		t.finds(ports.Query{}, "10", "9", "B", "a", "b", "é")
	}},
	{"several filters all have to pass", func(t *searchTest) {
		t.ensure(searchFields...)
		t.write(full("a", 1, "uk", 1, 10, 100, 0.5, true), full("b", 1, "uk", 2, 20, 200, 1.5, false),
			full("c", 1, "fr", 2, 20, 300, 2.5, true), bare("d"))
		t.finds(ports.Query{Filters: []ports.Filter{where("country", ports.OpEq, "uk")}}, "a", "b")
		t.finds(ports.Query{Filters: []ports.Filter{where("country", ports.OpEq, "uk"), where("units", ports.OpEq, int64(2))}}, "b")
		t.finds(ports.Query{Filters: []ports.Filter{where("open", ports.OpEq, true)}}, "a", "c")
		t.finds(ports.Query{Filters: []ports.Filter{where("open", ports.OpEq, false)}}, "b")
		t.finds(ports.Query{Filters: []ports.Filter{where("country", ports.OpEq, "UK")}})
		t.finds(ports.Query{Filters: []ports.Filter{where("country", ports.OpEq, "u")}})
		t.finds(ports.Query{Filters: []ports.Filter{where("country", ports.OpEq, "' OR 1=1 --")}})
	}},
	{"ranges include or exclude their ends, and never what has no value", func(t *searchTest) {
		t.ensure(searchFields...)
		t.write(full("a", 1, "de", -1, 1, 1, -0.5, false), full("b", 1, "fr", 0, 2, 2, 0, true), full("c", 1, "uk", 1, 3, 3, 0.5, true), bare("d"))
		for _, f := range []struct {
			field string
			value any
		}{{"country", "fr"}, {"units", int64(0)}, {"sales", int64(2)}, {"placedAt", int64(2)}, {"weight", 0.0}} {
			t.finds(ports.Query{Filters: []ports.Filter{where(f.field, ports.OpGt, f.value)}}, "c")
			t.finds(ports.Query{Filters: []ports.Filter{where(f.field, ports.OpGte, f.value)}}, "b", "c")
			t.finds(ports.Query{Filters: []ports.Filter{where(f.field, ports.OpLt, f.value)}}, "a")
			t.finds(ports.Query{Filters: []ports.Filter{where(f.field, ports.OpLte, f.value)}}, "a", "b")
			t.finds(ports.Query{Filters: []ports.Filter{where(f.field, ports.OpGte, f.value), where(f.field, ports.OpLte, f.value)}}, "b")
			t.finds(ports.Query{Filters: []ports.Filter{where(f.field, ports.OpGt, f.value), where(f.field, ports.OpLt, f.value)}})
		}
	}},
	{"numbers are exact in all 64 bits", func(t *searchTest) {
		t.ensure(searchFields...)
		t.write(full("a", 1, "uk", 1<<53, math.MinInt64, 0, math.SmallestNonzeroFloat64, true),
			full("b", 1, "uk", 1<<53+1, math.MaxInt64-1, 0, 0.1, true), full("c", 1, "uk", math.MaxInt64, math.MaxInt64, 0, math.MaxFloat64, true))
		t.finds(ports.Query{Filters: []ports.Filter{where("units", ports.OpEq, int64(1<<53+1))}}, "b")
		t.finds(ports.Query{Filters: []ports.Filter{where("units", ports.OpGt, int64(1<<53))}}, "b", "c")
		t.finds(ports.Query{Filters: []ports.Filter{where("sales", ports.OpLt, int64(math.MaxInt64))}}, "a", "b")
		t.finds(ports.Query{Filters: []ports.Filter{where("sales", ports.OpLte, int64(math.MinInt64))}}, "a")
		t.finds(ports.Query{Filters: []ports.Filter{where("weight", ports.OpEq, 0.1)}}, "b")
		t.finds(ports.Query{Filters: []ports.Filter{where("weight", ports.OpGt, 0.0)}, Sort: by("-weight")}, "c", "b", "a")
		t.finds(ports.Query{Sort: by("-sales")}, "c", "b", "a")
	}},
	{"the order is that of the fields, without a value last, then of the id", func(t *searchTest) {
		t.ensure(searchFields...)
		t.write(full("a", 1, "uk", 2, 1, 0, 0, true), full("b", 1, "fr", 1, 1, 0, 0, true), full("c", 1, "uk", 1, 2, 0, 0, false),
			full("d", 1, "fr", 2, 2, 0, 0, true), bare("e"), bare("f"))
		t.finds(ports.Query{Sort: by("units")}, "b", "c", "a", "d", "e", "f")
		t.finds(ports.Query{Sort: by("-units")}, "a", "d", "b", "c", "e", "f")
		t.finds(ports.Query{Sort: by("country", "-units")}, "d", "b", "a", "c", "e", "f")
		t.finds(ports.Query{Sort: by("-country", "units")}, "c", "a", "b", "d", "e", "f")
		t.finds(ports.Query{Sort: by("open", "-sales", "country")}, "c", "d", "b", "a", "e", "f")
		t.finds(ports.Query{Sort: by("-open")}, "a", "b", "d", "c", "e", "f")
	}},
	{"keywords compare byte by byte", func(t *searchTest) {
		t.ensure(ports.Field{Name: "k", Kind: ports.KindKeyword})
		values := []string{"", "\x00", "\x00\x00", " ", "10", "9", "A", "a", "a\x00", "a\x00b", "aa", "ab", "é", "\ufb00", "\uffff", "😀"}
		for i, v := range values {
			doc := plain(string(rune('a'+i)), 1, "")
			doc.Values = []any{v}
			t.write(doc)
			t.finds(ports.Query{Filters: []ports.Filter{where("k", ports.OpEq, v)}}, doc.ID)
		}
		want := idsOf(t.search(ports.Query{}).Documents)
		t.finds(ports.Query{Sort: by("k")}, want...)
		t.finds(ports.Query{Filters: []ports.Filter{where("k", ports.OpGt, "a\x00b")}}, want[10:]...)
	}},
	{"a document changed is found by its new values only", func(t *searchTest) {
		t.ensure(searchFields...)
		t.write(full("a", 1, "uk", 1, 1, 1, 1, true), full("b", 1, "uk", 5, 1, 1, 1, true))
		t.finds(ports.Query{Filters: []ports.Filter{where("units", ports.OpEq, int64(1))}, Sort: by("units")}, "a")
		t.write(full("a", 2, "fr", 9, 1, 1, 1, false))
		t.finds(ports.Query{Filters: []ports.Filter{where("units", ports.OpEq, int64(1))}})
		t.finds(ports.Query{Filters: []ports.Filter{where("country", ports.OpEq, "fr")}}, "a")
		t.finds(ports.Query{Sort: by("units")}, "b", "a")
		t.finds(ports.Query{Text: "fr"}, "a")
		t.finds(ports.Query{Text: "uk"}, "b")
	}},
	{"a query for what is not there says so", func(t *searchTest) {
		t.ensure(searchFields...)
		t.write(full("a", 1, "uk", 1, 1, 1, 1, true))
		for _, q := range []ports.Query{
			{Limit: 0},
			{Limit: -1},
			{Limit: ports.SearchLimitMax + 1},
			{Limit: 1, Sort: by("nothing")},
			{Limit: 1, Sort: by("units", "-units")},
			{Limit: 1, Sort: by("")},
			{Limit: 1, Filters: []ports.Filter{where("nothing", ports.OpEq, "a")}},
			{Limit: 1, Filters: []ports.Filter{where("country", "like", "a")}},
			{Limit: 1, Filters: []ports.Filter{where("country", ports.OpEq, nil)}},
			{Limit: 1, Filters: []ports.Filter{where("country", ports.OpEq, int64(1))}},
			{Limit: 1, Filters: []ports.Filter{where("units", ports.OpEq, "1")}},
			{Limit: 1, Filters: []ports.Filter{where("units", ports.OpEq, 1.0)}},
			{Limit: 1, Filters: []ports.Filter{where("open", ports.OpEq, "true")}},
			{Limit: 1, Filters: []ports.Filter{where("weight", ports.OpLt, math.NaN())}},
			{Limit: 1, Text: strings.Repeat("a", ports.SearchTextBytesMax+1)},
			{Limit: 1, Text: "a\xff"},
		} {
			t.fails(q, ports.ErrBadQuery)
		}
	}},
}

var searchTextCases = []searchCase{
	{"every word has to be there, in any order, of the last its beginning", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 1, "White hanging heart light holder"), plain("b", 1, "white metal lantern"), plain("c", 1, "Heart, white-washed"))
		t.finds(ports.Query{Text: "heart white"}, "c", "a")
		t.finds(ports.Query{Text: "white lan"}, "b")
		t.finds(ports.Query{Text: "WHITE Metal LANTERN"}, "b")
		t.finds(ports.Query{Text: "whit metal"})
		t.finds(ports.Query{Text: "washed"}, "c")
		t.finds(ports.Query{Text: "lantern heart"})
		t.finds(ports.Query{Text: "zebra"})
	}},
	{"accents and case do not matter, in any script", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 1, "CAFÉ crème"), plain("b", 1, "cafe\u0301"), plain("c", 1, "ΟΔΟΣ Ωδή"), plain("d", 1, "Ёлка 2011"), plain("e", 1, "東京"))
		t.finds(ports.Query{Text: "cafe"}, "b", "a")
		t.finds(ports.Query{Text: "Café CREME"}, "a")
		t.finds(ports.Query{Text: "οδος ωδη"}, "c")
		t.finds(ports.Query{Text: "елка"}, "d")
		t.finds(ports.Query{Text: "2011"}, "d")
		t.finds(ports.Query{Text: "東"}, "e")
	}},
	{"without an order the text with the largest share of the words comes first", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 1, "red lamp with a large shade and a long cord"), plain("b", 1, "red lamp"), plain("c", 1, "red metal lamp"))
		t.finds(ports.Query{Text: "lamp red"}, "b", "c", "a")
	}},
	{"text, filters and order go together", func(t *searchTest) {
		t.ensure(searchFields...)
		t.write(full("a", 1, "uk", 3, 1, 1, 1, true), full("b", 1, "uk", 2, 1, 1, 1, true), full("c", 1, "fr", 1, 1, 1, 1, true), bare("d"))
		t.finds(ports.Query{Text: "text", Sort: by("units")}, "c", "b", "a")
		t.finds(ports.Query{Text: "uk tex", Sort: by("-units")}, "a", "b")
		t.finds(ports.Query{Text: "text", Filters: []ports.Filter{where("units", ports.OpGte, int64(2))}, Sort: by("units")}, "b", "a")
		t.finds(ports.Query{Text: "fr", Filters: []ports.Filter{where("country", ports.OpEq, "uk")}})
	}},
	{"a text changed is found by its new words only", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 1, "red lamp"), plain("b", 1, ""))
		t.write(plain("a", 2, "red lamp"), plain("b", 2, "red bowl"))
		t.finds(ports.Query{Text: "red"}, "a", "b")
		t.write(plain("b", 3, "blue bowl"), plain("a", 3, "blue lamp"))
		t.finds(ports.Query{Text: "red"})
		t.finds(ports.Query{Text: "blue"}, "a", "b")
		t.write(plain("a", 4, ""))
		t.finds(ports.Query{Text: "blue"}, "b")
		t.finds(ports.Query{}, "a", "b")
		t.write(deleted("b", 4))
		t.finds(ports.Query{Text: "blue"})
	}},
	{"nothing in a text has a meaning but its words", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 1, "red lamp"), plain("b", 1, "not near or and"))
		for _, text := range []string{
			`"red`, `red"`, `red*`, `*red`, `-red`, `+red`, `(red`, `red)`, `^red`, `red:`, `{red}`, "red\x00", "red\n", `red'`, `red;`,
			`red\`, `"red" "lamp"`, `red--lamp`, `red/*lamp`, `red%`, `red?`, `~red`, `[red`, `red&lamp`, `red|lamp`, `<red>`,
		} {
			t.finds(ports.Query{Text: text}, "a")
		}
		t.finds(ports.Query{Text: "red OR or"})
		t.finds(ports.Query{Text: "red NOT lamp"})
		t.finds(ports.Query{Text: "or AND not"}, "b")
		t.finds(ports.Query{Text: "NEAR(or and)"}, "b")
	}},
	{"a text without a word restricts nothing", func(t *searchTest) {
		t.ensure()
		t.write(plain("b", 1, "red"), plain("a", 1, ""))
		for _, text := range []string{" ", "-", `"*"`, "!!! ...", "\u0301"} {
			t.finds(ports.Query{Text: text}, "a", "b")
		}
	}},
	{"long texts and long words are found", func(t *searchTest) {
		t.ensure()
		long := strings.Repeat("x", 300)
		t.write(plain("a", 1, strings.Repeat("description of a line ", 5_000)+"needle"), plain("b", 1, long), plain("c", 1, strings.Repeat("é", 300)))
		t.finds(ports.Query{Text: "needle line"}, "a")
		t.finds(ports.Query{Text: long}, "b")
		t.finds(ports.Query{Text: strings.Repeat("E", 300)}, "c")
	}},
}
