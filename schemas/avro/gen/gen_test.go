package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	platformPath = "github.com/nexusblueprint/nexus/schemas/avro/platform"
	samplePath   = "github.com/nexusblueprint/nexus/schemas/avro/internal/sample"
)

// TestGenerate_filesAreCurrent compares what the generator writes with what stands in the repository.
func TestGenerate_filesAreCurrent(t *testing.T) {
	for dir, imports := range map[string][]string{
		"../platform":           nil,
		"../retail":             {platformPath},
		"../internal/sample":    nil,
		"../internal/sampleuse": {samplePath},
	} {
		files, err := generate(dir, "", imports)
		if err != nil {
			t.Fatal(err)
		}
		old, err := filepath.Glob(filepath.Join(dir, "*_gen.go"))
		if err != nil || len(old) != len(files) {
			t.Errorf("%s: %d generated files there, want %d (%v): run go generate", dir, len(old), len(files), err)
		}
		for name, want := range files {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s/%s is not what the schemas say: run go generate (%v)", dir, name, err)
			}
		}
	}
}

// write makes a folder of schema files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// record returns a schema that is fine but for its fields.
func record(name, fields string) string {
	return `{"type":"record","name":"` + name + `","namespace":"n","doc":"d","owner":"o","fields":[` + fields + `]}`
}

func TestGenerate_refusesWithFileAndField(t *testing.T) {
	for _, c := range []struct{ title, text, want string }{
		{"no JSON", `{`, "a.avsc: not valid JSON"},
		{"a key twice", `{"type":"record","type":"enum"}`, "duplicate object member name"},
		{"no schema", `{"type":"object"}`, `unknown type "object"`},
		{"no named type", `"string"`, "must define a record, an enum or a fixed"},
		{"no doc", strings.Replace(record("R", ""), `"doc":"d",`, ``, 1), "a.avsc: n.R: no doc"},
		{"no owner", strings.Replace(record("R", ""), `"owner":"o",`, ``, 1), `a.avsc: n.R: no "owner"`},
		{"no namespace", strings.Replace(record("R", ""), `"namespace":"n",`, ``, 1), "a.avsc: R: no namespace"},
		{"no doc of a field", record("R", `{"name":"f","type":"int"}`), `a.avsc: n.R: field "f": no doc`},
		{"no doc of an inner record", record("R", `{"name":"f","doc":"d","type":{"type":"record","name":"I","fields":[]}}`), "n.I: no doc"},
		{"an unknown type", record("R", `{"name":"f","doc":"d","type":"Missing"}`), `field "f": unknown type "n.Missing"`},
		{"a union of three", record("R", `{"name":"f","doc":"d","type":["null","int","string"]}`), `field "f": only unions of null`},
		{"a union of two", record("R", `{"name":"f","doc":"d","type":["int","string"]}`), `field "f": only unions of null`},
		{"null alone", record("R", `{"name":"f","doc":"d","type":"null"}`), `field "f": null alone`},
		{"a mistyped logical type", record("R", `{"name":"f","doc":"d","type":{"type":"long","logicalType":"timestamp-milis"}}`), `field "f": logicalType "timestamp-milis" on long is not known`},
		{"a logical type in the wrong place", record("R", `{"name":"f","doc":"d","type":"long","logicalType":"timestamp-millis"}`), `field "f": logicalType beside the type`},
		{"a logical type on the wrong type", record("R", `{"name":"f","doc":"d","type":{"type":"string","logicalType":"uuid"}}`), `logicalType "uuid" on string`},
		{"a default of another type", record("R", `{"name":"f","doc":"d","type":"int","default":"x"}`), `field "f": default "x"`},
		{"a default beyond its type", record("R", `{"name":"f","doc":"d","type":"int","default":2147483648}`), `not a whole number of 32 bits`},
		{"a field twice", record("R", `{"name":"f","doc":"d","type":"int"},{"name":"f","doc":"d","type":"int"}`), `field "f": declared twice`},
		{"fields of one Go name", record("R", `{"name":"anId","doc":"d","type":"int"},{"name":"an_id","doc":"d","type":"int"}`), `field "an_id": its Go name AnID is taken`},
		{"a field named as a method", record("R", `{"name":"avroName","doc":"d","type":"int"}`), `field "avroName": its Go name AvroName is taken`},
		{"a name that is none", record("R", `{"name":"1f","doc":"d","type":"int"}`), `field "1f"`},
		{"a record within itself", record("R", `{"name":"f","doc":"d","type":"R"}`), "n.R contains itself"},
		{"a recursive record", record("R", `{"name":"f","doc":"d","type":["null","R"],"default":null}`), "a.avsc: n.R: contains itself"},
		{"items of no bytes", record("R", `{"name":"f","doc":"d","type":{"type":"array","items":{"type":"record","name":"E","doc":"d","fields":[]}}}`), `field "f": array items that take no bytes`},
		{"a subject that is no field", strings.Replace(record("R", ""), `"owner"`, `"subject":"who","owner"`, 1), `subject "who" is no field`},
		{"a length of a number", record("R", `{"name":"f","doc":"d","type":"int","maxLength":3}`), `field "f": maxLength on int`},
		{"a length of nothing", record("R", `{"name":"f","doc":"d","type":"string","maxLength":0}`), `field "f": maxLength 0`},
		{"a type named as the set", record("Schemas", ""), "its Go name Schemas is taken"},
		{"two types of one Go name", record("R", `{"name":"f","doc":"d","type":{"type":"fixed","name":"m.R","size":1,"doc":"d"}}`), "its Go name R is taken"},
		{"the same type twice", record("R", `{"name":"f","doc":"d","type":{"type":"fixed","name":"R","size":1,"doc":"d"}}`), "defined twice"},
		{"a symbol that is none", `{"type":"enum","name":"E","namespace":"n","doc":"d","owner":"o","symbols":["a-b"]}`, `symbol "a-b"`},
		{"symbols of one Go name", `{"type":"enum","name":"E","namespace":"n","doc":"d","owner":"o","symbols":["aB","A_B"]}`, "its Go name EAB is taken"},
	} {
		t.Run(c.title, func(t *testing.T) {
			_, err := generate(write(t, map[string]string{"sub/a.avsc": c.text}), "p", nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "a.avsc") {
				t.Errorf("%v, want the file and %q", err, c.want)
			}
		})
	}
}

func TestGenerate_namesAllFaultsAtOnce(t *testing.T) {
	dir := write(t, map[string]string{"a.avsc": record("A", `{"name":"f","type":"int"}`), "b.avsc": record("B", `{"name":"g","type":"int"}`)})
	_, err := generate(dir, "p", nil)
	if err == nil || !strings.Contains(err.Error(), `n.A: field "f"`) || !strings.Contains(err.Error(), `n.B: field "g"`) {
		t.Errorf("%v, want both faults", err)
	}
}

func TestRun_writesOnlyWhatIsRightAndRemovesWhatIsStale(t *testing.T) {
	dir := write(t, map[string]string{
		"a.avsc": record("A", ""), "old_gen.go": header + "\npackage p\n", "other_gen.go": "package p\n",
		"history/b.avsc": record("A", ""), "testdata/c.avsc": "no schema",
	})
	if err := run(dir, "p", nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"n_gen.go": true, "schemas_gen.go": true, "old_gen.go": false, "other_gen.go": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", name, err == nil, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "z.avsc"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, "n_gen.go"))
	if err := run(dir, "p", nil); err == nil {
		t.Error("no error for a bad schema")
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "n_gen.go")); !bytes.Equal(before, after) || len(after) == 0 {
		t.Error("a failed run changed files")
	}
}

func TestGoName(t *testing.T) {
	for name, want := range map[string]string{
		"orderId": "OrderID", "order_id": "OrderID", "ORDER_ID": "OrderID", "id": "ID", "eventIds": "EventIDs", "sku": "Sku",
		"customerID": "CustomerID", "DARK_BLUE": "DarkBlue", "darkBlue": "DarkBlue", "RED": "Red", "x": "X", "SHA256": "Sha256",
		"OrderPlaced": "OrderPlaced", "httpUrl": "HTTPURL", "at2": "At2", "_a__b": "AB",
	} {
		if got := goName(name); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
}
