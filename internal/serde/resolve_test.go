package serde

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// TestSerde_readsWhatOlderReleasesWrote makes older schemas from those of the program: fields with defaults are not
// there yet, fields that are gone since are, the order of fields differs, numbers are narrower. What is read must be
// what an independent path gives: the old value as JSON, without the gone fields, read by the program's schema.
func TestSerde_readsWhatOlderReleasesWrote(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	f := registered(t)
	resolved := 0
	for round := range 3 {
		for _, e := range slices.Concat(sets...) {
			old := older(t, rng, e.Text)
			writer, err := avro.ParseSchema(old)
			if err != nil {
				t.Fatal(err)
			}
			id := f.add(t, fmt.Sprintf("old-%d-%s", round, e.Name), sr.Schema{Schema: old})
			if writer.Canonical() != e.Schema().Canonical() {
				resolved++
			}
			for range 5 {
				body := randomJSON(rng, writer)
				payload, faults := avro.JSONToAvro(nil, writer, []byte(body))
				if len(faults) > 0 {
					t.Fatalf("%s: %v of %s", e.Name, faults, body)
				}
				want, faults := avro.JSONToAvro(nil, e.Schema(), withoutGone(t, body))
				if len(faults) > 0 {
					t.Fatalf("%s: %v of %s", e.Name, faults, body)
				}
				rec, err := f.DecodeNew(frame(id, payload))
				if err != nil {
					t.Fatalf("%s: %v\nwritten with %s", e.Name, err, old)
				}
				if got := rec.AppendAvro(nil); !bytes.Equal(got, want) {
					t.Fatalf("%s: %s\nreads as %x\nwant     %x\nwritten with %s", e.Name, body, got, want, old)
				}
			}
		}
	}
	if resolved < 60 {
		t.Fatalf("only %d schemas differed from the program's", resolved)
	}
}

// older changes a schema as an earlier release may have had it.
func older(t *testing.T, rng *rand.Rand, text string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	out, err := json.Marshal(olderType(rng, v, defined))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func olderType(rng *rand.Rand, v any, defined map[string]bool) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	if items, ok := m["items"]; ok {
		m["items"] = olderType(rng, items, defined)
	}
	fields, _ := m["fields"].([]any)
	if fields == nil {
		return m
	}
	var out []any
	for _, raw := range fields {
		field := raw.(map[string]any)
		_, optional := field["default"]
		// What a field defines, later ones may refer to: only fields that define nothing may go or move.
		plain := isPlain(field["type"])
		if optional && plain && rng.IntN(2) == 0 {
			continue
		}
		if field["type"] == "long" && rng.IntN(2) == 0 {
			field["type"] = "int"
		}
		field["type"] = olderType(rng, field["type"], defined)
		at := len(out)
		if plain {
			at = rng.IntN(len(out) + 1)
		}
		out = slices.Insert(out, at, any(field))
	}
	if rng.IntN(2) == 0 {
		gone := map[string]any{"name": "goneSince", "type": []any{"null", map[string]any{"type": "map", "values": []any{"int", "null"}}}}
		out = slices.Insert(out, rng.IntN(len(out)+1), any(gone))
	}
	m["fields"] = out
	return m
}

func isPlain(typ any) bool {
	switch typ := typ.(type) {
	case string:
		return !strings.Contains(typ, ".")
	case []any:
		return !slices.ContainsFunc(typ, func(b any) bool { return !isPlain(b) })
	}
	return false
}

// withoutGone removes the field that older added.
func withoutGone(t *testing.T, body string) []byte {
	t.Helper()
	var strip func(v any) any
	strip = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "goneSince")
			for k := range v {
				v[k] = strip(v[k])
			}
		case []any:
			for i := range v {
				v[i] = strip(v[i])
			}
		}
		return v
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(strip(v))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// randomJSON returns a random value of a schema.
func randomJSON(rng *rand.Rand, s *avro.Schema) string {
	if s.Nullable() {
		if rng.IntN(2) == 0 {
			return "null"
		}
		s = s.NonNull()
	}
	var parts []string
	switch s.Kind() {
	case avro.KindRecord:
		for _, f := range s.Fields() {
			parts = append(parts, fmt.Sprintf("%q:%s", f.Name, randomJSON(rng, f.Schema)))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case avro.KindArray:
		for range rng.IntN(3) {
			parts = append(parts, randomJSON(rng, s.Items()))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case avro.KindMap:
		for i := range rng.IntN(3) {
			parts = append(parts, fmt.Sprintf("\"k%d\":%s", i, randomJSON(rng, s.Items())))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case avro.KindBoolean:
		return fmt.Sprint(rng.IntN(2) == 0)
	case avro.KindEnum:
		return fmt.Sprintf("%q", s.Symbols()[rng.IntN(len(s.Symbols()))])
	case avro.KindInt, avro.KindLong:
		switch s.Logical() {
		case avro.LogicalTimestamp:
			return fmt.Sprintf("%q", avro.Millis(rng.Int64N(1<<42)))
		case avro.LogicalMoney:
			return fmt.Sprintf("%q", avro.Milli(rng.Int64()-rng.Int64()))
		}
		return fmt.Sprint(rng.Int32() - rng.Int32())
	case avro.KindFloat, avro.KindDouble:
		return fmt.Sprint(float32(rng.NormFloat64()))
	}
	raw := make([]byte, s.Size()+rng.IntN(9)*(1-min(s.Size(), 1)))
	for i := range raw {
		raw[i] = byte(rng.Uint32())
	}
	switch {
	case s.Logical() == avro.LogicalUUID:
		return fmt.Sprintf("%q", avro.UUID(raw))
	case s.Kind() == avro.KindString:
		return fmt.Sprintf(`"é%x"`, raw)
	}
	out, _ := json.Marshal(raw)
	return string(out)
}

func TestSerde_refusesWhatCannotBeResolved(t *testing.T) {
	f := registered(t)
	id := f.add(t, "old", sr.Schema{Schema: `{"type":"record","name":"shop.order.Line","fields":[{"name":"sku","type":"string"}]}`})
	if _, err := f.DecodeNew(frame(id, []byte{2, 'a'})); err == nil || !strings.Contains(err.Error(), "quantity") && !strings.Contains(err.Error(), "description") {
		t.Errorf("a field without default is missing: %v", err)
	}
}
