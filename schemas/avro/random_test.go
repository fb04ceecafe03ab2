package avro_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/internal/sample"
	"github.com/nexusblueprint/nexus/schemas/avro/internal/sampleuse"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

var sets = avro.Sets{platform.Schemas, retail.Schemas, sample.Schemas, sampleuse.Schemas}

// entries returns every record schema there is.
func entries(t testing.TB) []*avro.Entry {
	t.Helper()
	all, err := sets.All()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// newRand returns a source of a fresh seed, which the log of a failure names.
func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// randomNative returns a random value in goavro's generic form for the canonical form of s, where logical types
// are unknown. finite keeps numbers within what JSON can carry.
func randomNative(rng *rand.Rand, s *avro.Schema, finite bool) any {
	switch s.Kind() {
	case avro.KindNull:
		return nil
	case avro.KindBoolean:
		return rng.IntN(2) == 1
	case avro.KindInt:
		return int32(randomLong(rng))
	case avro.KindLong:
		if s.Logical() == avro.LogicalTimestamp && finite {
			return rng.Int64N(253402300800000+62135596800000) - 62135596800000
		}
		return randomLong(rng)
	case avro.KindFloat:
		return float32(randomDouble(rng, finite))
	case avro.KindDouble:
		return randomDouble(rng, finite)
	case avro.KindBytes:
		return randomBytes(rng, rng.IntN(12))
	case avro.KindString:
		return randomString(rng)
	case avro.KindFixed:
		return randomBytes(rng, s.Size())
	case avro.KindEnum:
		return s.Symbols()[rng.IntN(len(s.Symbols()))]
	case avro.KindArray:
		out := []any{}
		for range rng.IntN(4) {
			out = append(out, randomNative(rng, s.Items(), finite))
		}
		return out
	case avro.KindMap:
		out := map[string]any{}
		for range rng.IntN(4) {
			out[randomString(rng)] = randomNative(rng, s.Items(), finite)
		}
		return out
	case avro.KindUnion:
		b := s.Branches()[rng.IntN(len(s.Branches()))]
		if b.Kind() == avro.KindNull {
			return nil
		}
		name := b.Name()
		if name == "" {
			name = b.Kind().String()
		}
		return map[string]any{name: randomNative(rng, b, finite)}
	default:
		out := map[string]any{}
		for _, f := range s.Fields() {
			out[f.Name] = randomNative(rng, f.Schema, finite)
		}
		return out
	}
}

func randomLong(rng *rand.Rand) int64 {
	edges := []int64{0, 1, -1, 63, 64, -64, -65, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}
	if rng.IntN(3) == 0 {
		return edges[rng.IntN(len(edges))]
	}
	return int64(rng.Uint64()) >> rng.IntN(64)
}

func randomDouble(rng *rand.Rand, finite bool) float64 {
	if !finite && rng.IntN(10) == 0 {
		return math.Inf(1 - 2*rng.IntN(2))
	}
	return float64(float32(rng.NormFloat64() * math.Pow(10, float64(rng.IntN(60)-30))))
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func randomString(rng *rand.Rand) string {
	letters := []rune("aZ09 \"\\/\b\n\x00\x7fé\u2028漢😀\uFFFD")
	out := make([]rune, rng.IntN(12))
	for i := range out {
		out[i] = letters[rng.IntN(len(letters))]
	}
	return string(out)
}
