package compat

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/avro"

	"github.com/nexusblueprint/nexus/internal/compattest"
)

// FuzzParse holds for every text:
//
//   - no panic, and an error of bounded length;
//   - what is accepted, the codec's own parser accepts;
//   - what is accepted is compatible with itself and has one fingerprint;
//   - the normal form behind the fingerprint is itself a schema with the same fingerprint.
func FuzzParse(f *testing.F) {
	for _, v := range verdicts(f) {
		f.Add(v.reader)
		f.Add(v.writer)
	}
	f.Add(strings.Repeat("[", 5000))
	f.Add(strings.Repeat(`{"type":"array","items":`, 300))
	f.Add(strings.Repeat(`{"type":"record","name":"R","fields":[{"name":"f","type":`, 100))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			if len(err.Error()) > 4000 {
				t.Fatalf("a message of %d bytes", len(err.Error()))
			}
			return
		}
		if _, err := avro.Parse(text); err != nil {
			t.Fatalf("accepted what the codec refuses: %v", err)
		}
		if found := CheckSchemas(s, s); len(found) > 0 {
			t.Fatalf("does not read itself: %v", found)
		}
		again, err := Parse(string(s.normal))
		if err != nil {
			t.Fatalf("normal form %s: %v", s.normal, err)
		}
		if again.Fingerprint() != s.Fingerprint() {
			t.Fatalf("normal form is not stable:\n%s\n%s", s.normal, again.normal)
		}
	})
}

// FuzzCheck compares verdicts with the codec's on pairs of schemas grown from
// a seed: what we call compatible, the codec must resolve, and what it refuses
// we must refuse. (The codec alone takes a null default for granted in a field
// whose union begins with null; the generator writes it.)
func FuzzCheck(f *testing.F) {
	for i := range uint64(64) {
		f.Add(i, i+1)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		compareWithCodec(t, a, b)
	})
}

func TestCheck_agreesWithTheCodec(t *testing.T) {
	yes := 0
	for i := range uint64(4000) {
		if compareWithCodec(t, i, i*7919+1) {
			yes++
		}
	}
	if yes < 200 || yes > 3800 {
		t.Fatalf("%d of 4000 pairs are compatible: the generator tells nothing", yes)
	}
}

// Avro's Java library agrees on everything but decimals, whose precision and scale it does not look at. (A union that the
// generator grows has one named branch at most, so that the library's other looseness does not show.)
func TestCheck_agreesWithJava(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var cases []compattest.Case
	for i := range uint64(3000) {
		reader, writer := growPair(seed, i)
		cases = append(cases, compattest.Case{Name: strconv.FormatUint(i, 10), Reader: []byte(reader), Writer: []byte(writer)})
	}
	java, yes := compattest.Java(t, cases), 0
	for _, c := range cases {
		found, err := Check(string(c.Reader), string(c.Writer))
		if err != nil {
			t.Fatalf("pair %s: %v", c.Name, err)
		}
		ours := compattest.Compatible
		if len(found) > 0 {
			ours = compattest.Incompatible
		} else {
			yes++
		}
		decimals := strings.Contains(string(c.Reader), "decimal") && strings.Contains(string(c.Writer), "decimal")
		if theirs := java[c.Name]; ours != theirs && (!decimals || ours == compattest.Compatible) {
			t.Errorf("pair %s\nreader %s\nwriter %s\nours %s %v\nJava %s", c.Name, c.Reader, c.Writer, ours, found, theirs)
		}
	}
	if yes < 150 || yes > 2850 {
		t.Errorf("%d of 3000 pairs are compatible: the generator tells nothing", yes)
	}
}

// growPair makes two schemas that are much alike.
func growPair(a, b uint64) (reader, writer string) {
	g := grower{rng: rand.New(rand.NewPCG(a, b))}
	reader = g.schema()
	g.used = nil
	g.rng = rand.New(rand.NewPCG(a, b+uint64(len(reader))%3))
	g.mutate = true
	return reader, g.schema()
}

func compareWithCodec(t *testing.T, a, b uint64) bool {
	t.Helper()
	reader, writer := growPair(a, b)
	rs, rerr := avro.Parse(reader)
	ws, werr := avro.Parse(writer)
	if rerr != nil || werr != nil {
		t.Fatalf("seeds %d %d: the generator made no schema: %v %v", a, b, rerr, werr)
	}
	found, err := Check(reader, writer)
	if err != nil {
		t.Fatalf("seeds %d %d: %v", a, b, err)
	}
	codec := avro.CheckCompatibility(ws, rs)
	if ours, theirs := len(found) == 0, codec == nil; ours != theirs {
		t.Fatalf("seeds %d %d\nreader %s\nwriter %s\nours  %v\ncodec %v", a, b, reader, writer, found, codec)
	}
	if codec == nil {
		if _, err := avro.Resolve(ws, rs); err != nil {
			t.Fatalf("seeds %d %d: called compatible, but does not resolve: %v", a, b, err)
		}
	}
	return len(found) == 0
}

// grower makes random valid schemas over few names, so that pairs meet. With
// mutate set it now and then takes another choice than the seed dictates.
type grower struct {
	rng    *rand.Rand
	mutate bool
	used   map[string]bool
}

func (g *grower) pick(n int) int {
	i := g.rng.IntN(n)
	if g.mutate && g.rng.IntN(40) == 0 {
		return g.rng.IntN(n)
	}
	return i
}

func (g *grower) schema() string { g.used = map[string]bool{}; return g.grow(3) }

func (g *grower) grow(depth int) string {
	kinds := 13
	if depth == 0 {
		kinds = 9
	}
	switch k := g.pick(kinds); k {
	case 8:
		return `{"type":"bytes","logicalType":"decimal","precision":` + strconv.Itoa(4+g.pick(2)) + `,"scale":2}`
	case 9:
		return `{"type":"array","items":` + g.grow(depth-1) + `}`
	case 10:
		return `{"type":"map","values":` + g.grow(depth-1) + `}`
	case 11:
		return g.named(depth)
	case 12:
		return g.union(depth)
	default:
		return []string{tInt, tLong, tFloat, tDouble, tString, tBytes, tBool, tNull}[k]
	}
}

func (g *grower) named(depth int) string {
	kind := g.pick(3)
	name := []string{"x.A", "x.B", "y.A"}[g.pick(3)] + []string{"Rec", "Enum", "Fix"}[kind]
	if g.used[name] {
		return `"` + name + `"`
	}
	g.used[name] = true
	switch kind {
	case 1:
		return enum(name, []string{`"P"`, `"P","Q"`, `"Q","P","S"`}[g.pick(3)], g.enumDefault())
	case 2:
		return fixed(name, 1+g.pick(2))
	}
	var fields []string
	for i, n := 0, g.pick(4); i < n; i++ {
		more := ""
		typ := g.grow(depth - 1)
		switch {
		case typ == tInt && g.pick(2) == 0:
			more = `"default":3`
		case strings.HasPrefix(typ, `["null"`):
			more = `"default":null` // the codec takes it for granted, the specification does not
		}
		field := "f" + strconv.Itoa(i)
		if more == "" {
			fields = append(fields, fld(field, typ))
		} else {
			fields = append(fields, fld(field, typ, more))
		}
	}
	return `{"type":"record","name":"` + name + `","fields":[` + strings.Join(fields, ",") + `]}`
}

func (g *grower) union(depth int) string {
	var out []string
	for _, b := range []string{tNull, tInt, tString, tDouble} {
		if g.pick(2) == 0 {
			out = append(out, b)
		}
	}
	if g.pick(2) == 0 {
		out = append(out, g.named(depth))
	}
	return "[" + strings.Join(out, ",") + "]"
}

func (g *grower) enumDefault() string {
	if g.pick(2) == 0 {
		return `"default":"P"`
	}
	return `"doc":"none"`
}
