package domaintest

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
)

// SeedVariable is the environment variable that repeats a shuffle by its seed.
const SeedVariable = "DOMAINTEST_SEED"

// Shuffled says that the projection's documents do not depend on the order of
// events of different aggregates. Each history holds the events of one
// aggregate, in their order; they are mixed in as many random orders as there
// are rounds, and the documents must have the same Avro bytes every time. The
// seed is printed.
func Shuffled(t testing.TB, p *domain.Projection, histories [][]domain.Event, rounds int) {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(SeedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("reading %s: %v", SeedVariable, err)
		}
	}
	t.Logf("shuffling %d histories %d times; %s=%d repeats it", len(histories), rounds, SeedVariable, seed)
	var inOrder []domain.Event
	for _, h := range histories {
		inOrder = append(inOrder, h...)
	}
	want := documents(p, inOrder)
	if len(want) == 0 {
		t.Fatalf("%s made no document of %d events: this shuffle proves nothing", p.Name(), len(inOrder))
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		got := documents(p, interleave(random, histories))
		if compareDocuments(t, p, want, got) {
			t.Errorf("%s depends on the order of events: round %d of seed %d made other documents than the events in order", p.Name(), round+1, seed)
			return
		}
	}
}

// interleave mixes the histories so that every order that keeps the order
// within each of them is equally likely.
func interleave(random *rand.Rand, histories [][]domain.Event) []domain.Event {
	var turns []int
	for i, h := range histories {
		for range h {
			turns = append(turns, i)
		}
	}
	random.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	next := make([]int, len(histories))
	mixed := make([]domain.Event, len(turns))
	for i, h := range turns {
		mixed[i] = histories[h][next[h]]
		next[h]++
	}
	return mixed
}

func documents(p *domain.Projection, events []domain.Event) map[string]domain.Record {
	docs := map[string]domain.Record{}
	for _, e := range events {
		for _, c := range p.Split(e) {
			if docs[c.Key] == nil {
				docs[c.Key] = p.NewDocument()
			}
			p.Apply(docs[c.Key], c.Record)
		}
	}
	return docs
}

// compareDocuments reports up to three documents that differ and says whether
// there are any.
func compareDocuments(t testing.TB, p *domain.Projection, want, got map[string]domain.Record) bool {
	t.Helper()
	differ := 0
	for _, key := range sortedKeys(want) {
		if got[key] == nil || !bytes.Equal(want[key].AppendAvro(nil), got[key].AppendAvro(nil)) {
			if differ++; differ > 3 {
				return true
			}
			if got[key] == nil {
				t.Logf("%s: document %q is missing", p.Name(), key)
			} else {
				t.Logf("%s: document %q (want: in order, got: shuffled)\n%s", p.Name(), key, diff(want[key], got[key]))
			}
		}
	}
	if differ == 0 && len(got) != len(want) {
		t.Logf("%s: %d documents in order, %d shuffled", p.Name(), len(want), len(got))
		return true
	}
	return differ > 0
}
