package domaintest_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/domain/domaintest"
)

var good = aggregate(goodDecide, goodEvolve)

func TestSentencesThatAreTrue(t *testing.T) {
	domaintest.Given(t, good).When(&put{Item: "tea"}).Then(&putIn{Item: "tea", Count: 1})
	domaintest.Given(t, good).When(&put{Item: "nothing"}).ThenNothing()
	domaintest.Given(t, good, &putIn{Item: "tea"}).When(&put{Item: "tea"}).ThenRejected("item-already-in")
	domaintest.Given(t, good).When(&put{Item: "too heavy"}).ThenInvalid("/item", "too-heavy")
	domaintest.Given(t, good, &putIn{Item: "tea"}, &putIn{Item: "milk"}).ThenState(&basket{Items: []string{"milk", "tea"}})
	p := projection(goodSplit, goodApply)
	domaintest.Project(t, p, &putIn{Item: "tea", Count: 2}, &putIn{Item: "milk", Count: 3}).
		Document("all", &tally{Last: "tea", Count: 5}).Keys("all")
	domaintest.Shuffled(t, p, histories(), 5)
}

func TestSentencesThatAreFalseFailWithADiff(t *testing.T) {
	for name, c := range map[string]struct {
		sentence func(testing.TB)
		parts    []string
	}{
		"another field": {func(t testing.TB) {
			domaintest.Given(t, good).When(&put{Item: "tea"}).Then(&putIn{Item: "tea", Count: 7})
		}, []string{"event 1: test.PutIn", "count: want 7, got 1"}},
		"a missing event": {func(t testing.TB) {
			domaintest.Given(t, good).When(&put{Item: "nothing"}).Then(&putIn{Item: "tea"})
		}, []string{`event 1: missing test.PutIn {item: "tea"`}},
		"an event too many": {func(t testing.TB) {
			domaintest.Given(t, good).When(&put{Item: "tea"}).ThenNothing()
		}, []string{`event 1: unexpected test.PutIn {item: "tea", count: 1`}},
		"a rejection instead of events": {func(t testing.TB) {
			domaintest.Given(t, good, &putIn{Item: "tea"}).When(&put{Item: "tea"}).Then(&putIn{Item: "tea"})
		}, []string{"was rejected: item-already-in"}},
		"a rejection instead of nothing": {func(t testing.TB) {
			domaintest.Given(t, good, &putIn{Item: "tea"}).When(&put{Item: "tea"}).ThenNothing()
		}, []string{"was rejected: item-already-in"}},
		"events instead of a rejection": {func(t testing.TB) {
			domaintest.Given(t, good).When(&put{Item: "tea"}).ThenRejected("item-already-in")
		}, []string{"was accepted", "test.PutIn"}},
		"another code": {func(t testing.TB) {
			domaintest.Given(t, good, &putIn{Item: "tea"}).When(&put{Item: "tea"}).ThenRejected("basket-full")
		}, []string{`want "basket-full", got "item-already-in"`}},
		"another fault": {func(t testing.TB) {
			domaintest.Given(t, good).When(&put{Item: "too heavy"}).ThenInvalid("/weight", "too-heavy")
		}, []string{`too-heavy at "/weight"`, `too-heavy at "/item" (it does not fit)`}},
		"no fault": {func(t testing.TB) {
			domaintest.Given(t, good).When(&put{Item: "tea"}).ThenInvalid("/item", "too-heavy")
		}, []string{"got  none"}},
		"a fault where a decision is wanted": {func(t testing.TB) {
			domaintest.Given(t, good).When(&put{Item: "too heavy"}).ThenNothing()
		}, []string{"is not valid: too-heavy"}},
		"another state": {func(t testing.TB) {
			domaintest.Given(t, good, &putIn{Item: "tea"}).ThenState(&basket{Items: []string{"milk", "salt"}})
		}, []string{`items[0]: want "milk", got "tea"`, `items[1]: missing "salt"`}},
		"an event of another aggregate": {func(t testing.TB) {
			domaintest.Given(t, good, &tally{})
		}, []string{"does not declare the event test.Tally"}},
		"a command of another aggregate": {func(t testing.TB) {
			domaintest.Given(t, good).When(&tally{})
		}, []string{"takes no test.Tally; it takes test.Put"}},
		"another document": {func(t testing.TB) {
			domaintest.Project(t, projection(goodSplit, goodApply), &putIn{Item: "tea", Count: 2}).Document("all", &tally{Last: "tea"})
		}, []string{"count: want 0, got 2"}},
		"no such document": {func(t testing.TB) {
			domaintest.Project(t, projection(goodSplit, goodApply)).Document("all", &tally{})
		}, []string{`no document "all"`}},
		"a document too many": {func(t testing.TB) {
			domaintest.Project(t, projection(goodSplit, goodApply), &putIn{}).Keys()
		}, []string{`want [], got ["all"]`}},
	} {
		t.Run(name, func(t *testing.T) { fails(t, c.sentence, c.parts...) })
	}
}

func TestImpureAggregatesFail(t *testing.T) {
	sentence := func(d decide, e evolve) func(testing.TB) {
		return func(t testing.TB) {
			domaintest.Given(t, aggregate(d, e), &putIn{Item: "a"}, &putIn{Item: "c"}, &putIn{Item: "b"}).
				When(&put{Item: "tea"}).Then(&putIn{Item: "tea", Count: 1})
		}
	}
	t.Run("a pure one passes", func(t *testing.T) { sentence(goodDecide, goodEvolve)(t) })
	t.Run("Decide that throws dice", func(t *testing.T) {
		calls := int64(0)
		fails(t, sentence(func(basket, *put) ([]domain.Event, *domain.Rejection) {
			calls++
			return []domain.Event{&putIn{Item: "tea", Count: calls}}, nil
		}, goodEvolve), "Decide is not deterministic")
	})
	t.Run("Decide that alters the state", func(t *testing.T) {
		fails(t, sentence(func(b basket, c *put) ([]domain.Event, *domain.Rejection) {
			b.Items[0] = c.Item
			return []domain.Event{&putIn{Item: "tea", Count: 1}}, nil
		}, goodEvolve), "Decide altered the state")
	})
	t.Run("Decide that alters the command", func(t *testing.T) {
		fails(t, sentence(func(_ basket, c *put) ([]domain.Event, *domain.Rejection) {
			c.Item = "tea!"
			return []domain.Event{&putIn{Item: "tea", Count: 1}}, nil
		}, goodEvolve), "Decide altered the command")
	})
	t.Run("Evolve that inserts in place", func(t *testing.T) {
		fails(t, sentence(goodDecide, func(b basket, e domain.Event) basket {
			item := e.(*putIn).Item
			at, _ := slices.BinarySearch(b.Items, item)
			return basket{Items: slices.Insert(b.Items, at, item)}
		}), "Evolve altered what the state before test.PutIn refers to")
	})
	t.Run("Evolve that throws dice", func(t *testing.T) {
		calls := 0
		fails(t, sentence(goodDecide, func(b basket, e domain.Event) basket {
			if calls++; calls%2 == 0 {
				return b
			}
			return goodEvolve(b, e)
		}), "Evolve is not deterministic")
	})
	t.Run("Evolve that alters the event", func(t *testing.T) {
		fails(t, sentence(goodDecide, func(b basket, e domain.Event) basket {
			e.(*putIn).Count++
			return goodEvolve(b, e)
		}), "Evolve altered the event")
	})
	t.Run("an event that loses a field in its encoding", func(t *testing.T) {
		fails(t, func(t testing.TB) {
			domaintest.Given(t, good, &putIn{Item: "tea", lost: "this"})
		}, "does not survive its Avro encoding", `lost: want "this", got ""`)
	})
	t.Run("an undeclared aggregate name", func(t *testing.T) {
		fails(t, func(t testing.TB) {
			domaintest.Given(t, domain.NewAggregate[basket]("Basket", 1, goodEvolve))
		}, "declaration is wrong", "lower case")
	})
}

func TestImpureProjectionsFail(t *testing.T) {
	project := func(s split, a apply) func(testing.TB) {
		return func(t testing.TB) { domaintest.Project(t, projection(s, a), &putIn{Item: "tea", Count: 1}) }
	}
	t.Run("two changes for one key", func(t *testing.T) {
		fails(t, project(func(e *putIn) []domain.Change {
			return append(goodSplit(e), goodSplit(e)...)
		}, goodApply), `two changes for document "all"`)
	})
	t.Run("a key that is no id", func(t *testing.T) {
		fails(t, project(func(e *putIn) []domain.Change {
			return []domain.Change{{Key: "", Record: e}}
		}, goodApply), "no document id")
	})
	t.Run("Split in the order of a map", func(t *testing.T) {
		fails(t, project(func(e *putIn) (changes []domain.Change) {
			for key := range map[string]bool{"a": true, "b": true, "c": true, "d": true, "e": true, "f": true, "g": true} {
				changes = append(changes, domain.Change{Key: key, Record: e})
			}
			return changes
		}, goodApply), "Split is not deterministic")
	})
	t.Run("Split that alters the event", func(t *testing.T) {
		fails(t, project(func(e *putIn) []domain.Change { e.Count++; return goodSplit(e) }, goodApply), "Split altered the event")
	})
	t.Run("Apply that throws dice", func(t *testing.T) {
		fails(t, project(goodSplit, func(doc *tally, _ *putIn) { doc.Count = rand.Int64() }), "Apply is not deterministic")
	})
	t.Run("Apply that alters the change", func(t *testing.T) {
		fails(t, project(goodSplit, func(doc *tally, c *putIn) { c.Item += "!" }), "Apply altered the change")
	})
}

func histories() [][]domain.Event {
	return [][]domain.Event{
		{&putIn{Item: "a", Count: 1}, &putIn{Item: "b", Count: 2}},
		{&putIn{Item: "c", Count: 3}},
		{&putIn{Item: "d", Count: 4}, &putIn{Item: "e", Count: 5}},
	}
}

func TestShufflingFindsWhatDependsOnOrder(t *testing.T) {
	shuffle := func(p *domain.Projection) func(testing.TB) {
		return func(t testing.TB) { domaintest.Shuffled(t, p, histories(), 50) }
	}
	t.Run("the last writer wins", func(t *testing.T) {
		fails(t, shuffle(projection(goodSplit, func(doc *tally, c *putIn) { doc.Last = c.Item })),
			"depends on the order", `document "all"`, "last: want", domaintest.SeedVariable+"=")
	})
	t.Run("a key that depends on the event before", func(t *testing.T) {
		before := ""
		fails(t, shuffle(projection(func(e *putIn) []domain.Change {
			key := before + e.Item
			before = e.Item
			return []domain.Change{{Key: key, Record: e}}
		}, goodApply)), "depends on the order")
	})
	t.Run("nothing to shuffle", func(t *testing.T) {
		fails(t, func(t testing.TB) { domaintest.Shuffled(t, projection(goodSplit, goodApply), nil, 1) }, "proves nothing")
	})
	t.Run("the order within an aggregate is kept", func(t *testing.T) {
		p := projection(func(e *putIn) []domain.Change {
			key := "first"
			switch e.Item {
			case "c":
				key = "second"
			case "d", "e":
				key = "third"
			}
			return []domain.Change{{Key: key, Record: e}}
		}, func(doc *tally, c *putIn) { doc.Last += c.Item })
		domaintest.Shuffled(t, p, histories(), 50)
	})
	t.Run("the printed seed repeats the shuffle", func(t *testing.T) {
		t.Setenv(domaintest.SeedVariable, "7")
		p := projection(goodSplit, func(doc *tally, c *putIn) { doc.Last += c.Item })
		_, first := record(shuffle(p))
		_, second := record(shuffle(p))
		if first == "" || first != second {
			t.Errorf("two shuffles of one seed differ:\n%s\n%s", first, second)
		}
	})
}
