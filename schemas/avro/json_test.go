package avro_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/linkedin/goavro/v2"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// TestJSON_roundTripsEverySchema writes random values as JSON and reads them back, as they are and with the fields
// of every object in another order: both must give the bytes of the generated code.
func TestJSON_roundTripsEverySchema(t *testing.T) {
	rng := newRand(t)
	for _, e := range entries(t) {
		oracle, err := goavro.NewCodec(e.Schema().Canonical())
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			theirs, err := oracle.BinaryFromNative(nil, randomNative(rng, e.Schema(), true))
			if err != nil {
				t.Fatal(err)
			}
			rec := e.New()
			if err := rec.DecodeAvro(theirs); err != nil {
				t.Fatal(err)
			}
			want := rec.AppendAvro(nil)
			body, err := avro.AppendJSON(nil, e.Schema(), theirs)
			if err != nil {
				t.Fatalf("%s: %v", e.Name, err)
			}
			if !jsontext.Value(body).IsValid() {
				t.Fatalf("%s: not JSON: %s", e.Name, body)
			}
			shuffled := jsontext.Value(bytes.Clone(body))
			if err := shuffled.Canonicalize(jsontext.CanonicalizeRawInts(false)); err != nil { // sorts members
				t.Fatal(err)
			}
			for _, in := range [][]byte{body, shuffled} {
				got, faults := avro.JSONToAvro([]byte("before"), e.Schema(), in)
				if len(faults) > 0 || !bytes.Equal(got, append([]byte("before"), want...)) {
					t.Fatalf("%s: %v\n%s\n got %x\nwant %x", e.Name, faults, in, got, want)
				}
			}
		}
	}
}

const orderBody = `{"orderId":"536365","customerId":"17850","country":"United Kingdom","placedAt":"2010-12-01T08:26:00Z",` +
	`"lines":[{"sku":"85123A","description":"HOLDER","quantity":6,"unitPrice":"2.55"}]}`

func TestJSONToAvro_saysWhatIsWrongAndWhere(t *testing.T) {
	deep := strings.Repeat("[", 100_000)
	for _, c := range []struct{ title, body, want string }{
		{"nothing", "", `:malformed-json`},
		{"white space", " \n", `:malformed-json`},
		{"half a body", orderBody[:60], `/country:malformed-json`},
		{"no JSON at all", "order=1", `:malformed-json`},
		{"another value behind", orderBody + " 1", `:trailing-data`},
		{"a closing bracket behind", orderBody + "}", `:trailing-data`},
		{"an array", "[]", `:wrong-type`},
		{"null", "null", `:wrong-type`},
		{"nothing in it", "{}", "/orderId:missing-field /country:missing-field /placedAt:missing-field /lines:missing-field"},
		{"types swapped", `{"orderId":1,"country":{},"placedAt":true,"lines":""}`, "/orderId:wrong-type /country:wrong-type /placedAt:wrong-type /lines:wrong-type"},
		{"a missing field of a line", strings.Replace(orderBody, `"quantity":6,`, ``, 1), "/lines/0/quantity:missing-field"},
		{"an unknown field", strings.Replace(orderBody, `"sku"`, `"a/b~c":[1,{"x":2}],"sku"`, 1), "/lines/0/a~1b~0c:unknown-field"},
		{"a field twice", strings.Replace(orderBody, `"country"`, `"orderId":"1","country"`, 1), "/orderId:duplicate-key"},
		{"a field twice, once escaped", strings.Replace(orderBody, `"country"`, `"order\u0049d":"1","country"`, 1), "/orderId:duplicate-key"},
		{"a null that is not allowed", strings.Replace(orderBody, `"536365"`, `null`, 1), "/orderId:wrong-type"},
		{"a quantity with a fraction", strings.Replace(orderBody, `:6`, `:6.0`, 1), "/lines/0/quantity:wrong-type"},
		{"a quantity with an exponent", strings.Replace(orderBody, `:6`, `:6e0`, 1), "/lines/0/quantity:wrong-type"},
		{"a quantity in quotes", strings.Replace(orderBody, `:6`, `:"6"`, 1), "/lines/0/quantity:wrong-type"},
		{"a quantity beyond 32 bits", strings.Replace(orderBody, `:6`, `:2147483648`, 1), "/lines/0/quantity:out-of-range"},
		{"a quantity beyond 64 bits", strings.Replace(orderBody, `:6`, `:-9223372036854775809`, 1), "/lines/0/quantity:out-of-range"},
		{"a leading zero", strings.Replace(orderBody, `:6`, `:06`, 1), "/lines/0:malformed-json"},
		{"a price as a number", strings.Replace(orderBody, `"2.55"`, `2.55`, 1), "/lines/0/unitPrice:wrong-type"},
		{"a price with five decimals", strings.Replace(orderBody, `"2.55"`, `"2.55555"`, 1), "/lines/0/unitPrice:too-many-decimals"},
		{"a price with an exponent", strings.Replace(orderBody, `"2.55"`, `"1e3"`, 1), "/lines/0/unitPrice:not-a-decimal"},
		{"a price beyond 64 bits", strings.Replace(orderBody, `"2.55"`, `"9223372036854775.808"`, 1), "/lines/0/unitPrice:out-of-range"},
		{"a date without time", strings.Replace(orderBody, `T08:26:00Z`, ``, 1), "/placedAt:not-a-timestamp"},
		{"a day that is not", strings.Replace(orderBody, `12-01T`, `02-30T`, 1), "/placedAt:not-a-timestamp"},
		{"a nanosecond", strings.Replace(orderBody, `00Z`, `00.000000001Z`, 1), "/placedAt:not-a-timestamp"},
		{"a long id", strings.Replace(orderBody, `536365`, strings.Repeat("é", 65), 1), "/orderId:too-long"},
		{"bytes that are not UTF-8", strings.Replace(orderBody, `HOLDER`, "H\xffR", 1), "/lines/0/description:invalid-utf8"},
		{"half a surrogate pair", strings.Replace(orderBody, `HOLDER`, `\ud83d`, 1), "/lines/0/description:invalid-utf8"},
		{"a control character", strings.Replace(orderBody, `HOLDER`, "\n", 1), "/lines/0/description:malformed-json"},
		{"brackets without end", deep, strings.Repeat("/0", 32) + ":too-deep"},
		{"brackets in an unknown field", `{"x":` + deep, "/x" + strings.Repeat("/0", 31) + ":too-deep"},
		{"objects without end", strings.Repeat(`{"lines":`, 100_000), strings.Repeat("/lines", 32) + ":too-deep"},
		{"a comment", orderBody[:len(orderBody)-1] + "/* */}", ":malformed-json"},
		{"a comma too many", orderBody[:len(orderBody)-1] + ",}", ":malformed-json"},
		{"a name without quotes", `{orderId:1}`, ":malformed-json"},
	} {
		t.Run(c.title, func(t *testing.T) {
			out, faults := avro.JSONToAvro([]byte("x"), schemaOf(t, "shop.order.PlaceOrder"), []byte(c.body))
			got := make([]string, len(faults))
			for i, f := range faults {
				got[i] = f.Pointer + ":" + f.Code
				if f.Detail == "" {
					t.Errorf("no detail in %+v", f)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("faults %q (%v)\nwant %q", strings.Join(got, " "), faults, c.want)
			}
			if string(out) != "x" {
				t.Errorf("%q was left in the output", out)
			}
		})
	}
}

func TestJSONToAvro_samplesOfOtherTypes(t *testing.T) {
	for _, c := range []struct{ schema, body, want string }{
		{`{"type":"map","values":"long"}`, `{"b":1,"a":2}`, "0402610402620200"},
		{`{"type":"map","values":"long"}`, `{"b":1,"a/":2,"b":1,"a/":3}`, "/a~1:duplicate-key /b:duplicate-key"},
		{`{"type":"array","items":"int"}`, `[` + strings.Repeat("0,", 63) + `0]`, "8001" + strings.Repeat("00", 64) + "00"},
		{`"bytes"`, `"AAE="`, "040001"},
		{`"bytes"`, `"AAE"`, ":not-base64"},
		{`"bytes"`, `"AA\nE="`, ":not-base64"},
		{`{"type":"bytes","maxLength":1}`, `"AAE="`, ":too-long"},
		{`{"type":"fixed","name":"F","size":2}`, `"AAE="`, "0001"},
		{`{"type":"fixed","name":"F","size":3}`, `"AAE="`, ":wrong-length"},
		{`{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}`, `"00112233-4455-6677-8899-AABBccddeeff"`, "00112233445566778899aabbccddeeff"},
		{`{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}`, `"0011223344556677-8899-AABBccddeeff-"`, ":not-a-uuid"},
		{`{"type":"enum","name":"E","symbols":["A","B"]}`, `"B"`, "02"},
		{`{"type":"enum","name":"E","symbols":["A","B"]}`, `"b"`, ":unknown-symbol"},
		{`"float"`, `1e39`, ":out-of-range"},
		{`"double"`, `1e309`, ":out-of-range"},
		{`"double"`, `1e308`, "a0c8eb85f3cce17f"},
		{`["null","int","string"]`, `1`, ":not-supported"},
		{`"null"`, `null`, ""},
		{`"boolean"`, `true`, "01"},
		{`["int","null"]`, `null`, "02"},
		{`{"type":"map","values":{"type":"map","values":{"type":"array","items":["null","boolean"]}}}`, `{"z":{},"a":{"q":[null,true]}}`, "040261020271040002010000027a0000"},
	} {
		s, err := avro.ParseSchema(c.schema)
		if err != nil {
			t.Fatal(err)
		}
		out, faults := avro.JSONToAvro(nil, s, []byte(c.body))
		got := fmt.Sprintf("%x", out)
		for i, f := range faults {
			got += " "[:min(i, 1)] + f.Pointer + ":" + f.Code
		}
		if got != c.want {
			t.Errorf("%s of %s:\n got %s\nwant %s (%v)", c.body, c.schema, got, c.want, faults)
		}
	}
}

func TestJSONToAvro_stopsAtTwentyFaults(t *testing.T) {
	body := `{"lines":[` + strings.Repeat(`{"quantity":"x"},`, 1000) + `{}]}`
	if _, faults := avro.JSONToAvro(nil, schemaOf(t, "shop.order.PlaceOrder"), []byte(body)); len(faults) != 20 {
		t.Errorf("%d faults, want 20", len(faults))
	}
}

func TestJSONToAvro_defaultsFillWhatIsLeftOut(t *testing.T) {
	s := schemaOf(t, "shop.order.PlaceOrder")
	with, _ := avro.JSONToAvro(nil, s, []byte(strings.Replace(orderBody, `"17850"`, `null`, 1)))
	without, faults := avro.JSONToAvro(nil, s, []byte(strings.Replace(orderBody, `"customerId":"17850",`, ``, 1)))
	if len(faults) > 0 || !bytes.Equal(with, without) {
		t.Errorf("%v: %x, want %x", faults, without, with)
	}
}

// TestJSONToAvro_memoryIsBounded feeds what is long, deep or wide, and measures what it costs.
func TestJSONToAvro_memoryIsBounded(t *testing.T) {
	for title, body := range map[string]string{
		"brackets":     strings.Repeat("[", 100_000),
		"a long name":  `{"` + strings.Repeat("x", 1<<20) + `":1}`,
		"many names":   `{` + strings.Repeat(`"x":1,`, 100_000) + `"x":1}`,
		"a long digit": strings.Replace(orderBody, ":6", ":"+strings.Repeat("9", 1<<20), 1),
		"many lines":   `{"lines":[` + strings.Repeat(`{},`, 100_000) + `{}]}`,
	} {
		t.Run(title, func(t *testing.T) {
			s, in := schemaOf(t, "shop.order.PlaceOrder"), []byte(body)
			var before, after runtime.MemStats
			const runs = 5
			runtime.ReadMemStats(&before)
			for range runs {
				if _, faults := avro.JSONToAvro(nil, s, in); len(faults) == 0 {
					t.Fatal("no fault")
				}
			}
			runtime.ReadMemStats(&after)
			if got, limit := (after.TotalAlloc-before.TotalAlloc)/runs, uint64(10*len(body)+8192); got > limit {
				t.Errorf("%d bytes allocated, want at most %d", got, limit)
			}
		})
	}
}

func TestAppendJSON_refusesWhatIsNoValue(t *testing.T) {
	rng := newRand(t)
	for _, e := range entries(t) {
		oracle, err := goavro.NewCodec(e.Schema().Canonical())
		if err != nil {
			t.Fatal(err)
		}
		b, err := oracle.BinaryFromNative(nil, randomNative(rng, e.Schema(), false))
		if err != nil {
			t.Fatal(err)
		}
		for n := range b {
			if out, err := avro.AppendJSON([]byte("x"), e.Schema(), b[:n]); err == nil || string(out) != "x" {
				t.Fatalf("%s: %d of %d bytes give %s, %v", e.Name, n, len(b), out, err)
			}
		}
		if _, err := avro.AppendJSON(nil, e.Schema(), append(b, 0)); err == nil {
			t.Fatalf("%s: a byte left over was accepted", e.Name)
		}
	}
}

// TestAppendJSON_outputIsBounded uses schemas whose values cost no bytes.
func TestAppendJSON_outputIsBounded(t *testing.T) {
	wide := `{"type":"record","name":"R0","fields":[]}`
	for i := 1; i < 40; i++ { // 2^39 empty records
		wide = fmt.Sprintf(`{"type":"record","name":"R%d","fields":[{"name":"a","type":%s},{"name":"b","type":"R%d"}]}`, i, wide, i-1)
	}
	for _, c := range []struct{ schema, src string }{
		{wide, ""},
		{`{"type":"array","items":"null"}`, "\xfe\xff\xff\xff\x0f\x00"},
		{`{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]}]}`, strings.Repeat("\x02", 100_000) + "\x00"},
	} {
		s, err := avro.ParseSchema(c.schema)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := avro.AppendJSON(nil, s, []byte(c.src)); err == nil {
			t.Errorf("%.60s: no error", c.schema)
		}
	}
}

func schemaOf(t testing.TB, name string) *avro.Schema {
	t.Helper()
	e := sets.Find(name)
	if e == nil {
		t.Fatalf("no schema %s", name)
	}
	return e.Schema()
}
