package serde

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/shop"
)

var update = flag.Bool("update", false, "rewrite what today's code reads in testdata/released, and add what is missing; stored bytes are never rewritten")

const (
	history = "../../schemas/avro/history"
	golden  = "testdata/released"
	samples = 3 // of each schema
)

// sample is a value as a release stored it, without its frame, and how today's code reads it.
type sample struct{ stored, read string }

// TestReleased_everything_ever_stored_is_read decodes bytes of every schema of every release by today's code, through
// the schema that the release had and today's upcasters. The bytes are of a file that only grows.
func TestReleased_everything_ever_stored_is_read(t *testing.T) {
	top := shop.Topology()
	f := start(t)
	f.Serde = New(f.Serde.registry, top)
	if err := f.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	releases, err := os.ReadDir(history)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, release := range releases {
		if !release.IsDir() {
			continue
		}
		file := filepath.Join(golden, release.Name()+".txt")
		known := readGolden(t, file)
		seen[filepath.Base(file)] = true
		schemas, err := filepath.Glob(filepath.Join(history, release.Name(), "*.avsc"))
		if err != nil || len(schemas) == 0 {
			t.Fatalf("release %s has no schemas: %v", release.Name(), err)
		}
		var out bytes.Buffer
		for _, schema := range schemas {
			subject := strings.TrimSuffix(filepath.Base(schema), ".avsc")
			text, err := os.ReadFile(schema)
			if err != nil {
				t.Fatal(err)
			}
			all := known[subject]
			delete(known, subject)
			if len(all) == 0 && *update {
				all = newSamples(t, release.Name(), subject, string(text))
			}
			if len(all) < samples {
				t.Errorf("%s has %d samples of %s, want %d: write them with go test ./internal/serde -update", file, len(all), subject, samples)
			}
			id := f.add(t, release.Name()+"-"+subject, sr.Schema{Schema: string(text)})
			for _, s := range all {
				got := f.readToday(t, id, s.stored)
				if got != s.read && !*update {
					t.Errorf("release %s stored a %s as %s.\nToday's code reads %s\nand not          %s", release.Name(), subject, s.stored, got, s.read)
				}
				fmt.Fprintf(&out, "%s %s\n  %s\n", subject, s.stored, got)
			}
		}
		for subject := range known {
			t.Errorf("%s has samples of %s, whose schema is gone from %s", file, subject, filepath.Join(history, release.Name()))
		}
		if *update {
			if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := os.ReadDir(golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !seen[file.Name()] {
			t.Errorf("%s has samples of a release that is gone from %s", file.Name(), history)
		}
	}
}

// readToday returns the name and the JSON of what today's code makes of a stored value.
func (f *fixture) readToday(t *testing.T, id uint32, stored string) string {
	t.Helper()
	payload, err := hex.DecodeString(stored)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := f.DecodeNew(frame(id, payload))
	if err != nil {
		t.Errorf("today's code does not read %s: %v", stored, err)
		return ""
	}
	text, err := avro.AppendJSON([]byte(rec.AvroName()+" "), sets.Find(rec.AvroName()).Schema(), rec.AppendAvro(nil))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// newSamples makes values of a released schema, by another implementation than the one that reads them.
func newSamples(t *testing.T, release, subject, text string) (all []sample) {
	t.Helper()
	schema, err := avro.ParseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := goavro.NewCodec(text)
	if err != nil {
		t.Fatal(err)
	}
	h := fnv.New64()
	h.Write([]byte(release + subject))
	rng := rand.New(rand.NewPCG(h.Sum64(), 0))
	for range samples {
		ours, faults := avro.JSONToAvro(nil, schema, []byte(randomJSON(rng, schema)))
		if len(faults) > 0 {
			t.Fatalf("%s: %v", subject, faults)
		}
		value, rest, err := codec.NativeFromBinary(ours)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%s: goavro reads %v, %d bytes left", subject, err, len(rest))
		}
		stored, err := codec.BinaryFromNative(nil, value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sample{stored: hex.EncodeToString(stored)})
	}
	return all
}

// readGolden reads pairs of lines: subject and bytes, and what is read of them.
func readGolden(t *testing.T, file string) map[string][]sample {
	t.Helper()
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return map[string][]sample{}
	}
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]sample{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		subject, stored, ok := strings.Cut(lines.Text(), " ")
		if !ok || !lines.Scan() {
			t.Fatalf("%s: %q is no subject with its bytes, and a line with what is read", file, subject)
		}
		all[subject] = append(all[subject], sample{stored: stored, read: strings.TrimPrefix(lines.Text(), "  ")})
	}
	return all
}
