package domaintest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
)

// The records of a small domain: a basket that items are put into. JSON serves
// as their encoding; to domaintest it is bytes.

type put struct{ Item string }

type putIn struct {
	Item  string
	Count int64
	lost  string // not encoded: only a broken record has it
}

type basket struct{ Items []string }

type tally struct {
	Last  string
	Count int64
}

func encode(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(dst, b...)
}

func (x *put) AvroName() string    { return "test.Put" }
func (x *putIn) AvroName() string  { return "test.PutIn" }
func (x *basket) AvroName() string { return "test.Basket" }
func (x *tally) AvroName() string  { return "test.Tally" }

func (x *put) AppendAvro(dst []byte) []byte    { return encode(dst, x) }
func (x *putIn) AppendAvro(dst []byte) []byte  { return encode(dst, x) }
func (x *basket) AppendAvro(dst []byte) []byte { return encode(dst, x) }
func (x *tally) AppendAvro(dst []byte) []byte  { return encode(dst, x) }

func (x *put) DecodeAvro(src []byte) error    { *x = put{}; return json.Unmarshal(src, x) }
func (x *putIn) DecodeAvro(src []byte) error  { *x = putIn{}; return json.Unmarshal(src, x) }
func (x *basket) DecodeAvro(src []byte) error { *x = basket{}; return json.Unmarshal(src, x) }
func (x *tally) DecodeAvro(src []byte) error  { *x = tally{}; return json.Unmarshal(src, x) }

type (
	decide = func(basket, *put) ([]domain.Event, *domain.Rejection)
	evolve = func(basket, domain.Event) basket
)

func goodDecide(b basket, c *put) ([]domain.Event, *domain.Rejection) {
	switch {
	case c.Item == "nothing":
		return nil, nil
	case slices.Contains(b.Items, c.Item):
		return nil, domain.Reject("item-already-in", "%s is in the basket", c.Item)
	}
	return []domain.Event{&putIn{Item: c.Item, Count: 1}}, nil
}

func goodEvolve(b basket, e domain.Event) basket {
	item := e.(*putIn).Item
	at, _ := slices.BinarySearch(b.Items, item)
	return basket{Items: slices.Concat(b.Items[:at], []string{item}, b.Items[at:])}
}

func validate(c *put) []domain.Fault {
	if c.Item == "too heavy" {
		return []domain.Fault{domain.Faultf("/item", "too-heavy", "it does not fit")}
	}
	return nil
}

func aggregate(d decide, e evolve) *domain.Aggregate {
	return domain.NewAggregate[basket]("basket", 1, e,
		domain.Handle(func(*put) string { return "1" }, validate, d),
		domain.Records[basket, putIn](),
	)
}

type (
	split = func(*putIn) []domain.Change
	apply = func(*tally, *putIn)
)

func goodSplit(e *putIn) []domain.Change { return []domain.Change{{Key: "all", Record: e}} }

func goodApply(doc *tally, c *putIn) {
	doc.Count += c.Count
	doc.Last = max(doc.Last, c.Item)
}

func projection(s split, a apply) *domain.Projection {
	return domain.NewProjection[tally]("tally", 1, domain.From[tally](s), domain.Apply[tally](a))
}

// recorder is a testing.TB that keeps what a test would have reported.
type recorder struct {
	testing.TB
	said   []string
	failed bool
}

type stop struct{}

func (r *recorder) Helper() {}

func (r *recorder) Logf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failed = true
	r.Logf(format, args...)
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(stop{})
}

// record runs a sentence and returns whether it failed and what it said.
func record(sentence func(testing.TB)) (failed bool, said string) {
	r := &recorder{}
	defer func() {
		if p := recover(); p != nil && p != (stop{}) {
			panic(p)
		}
		failed, said = r.failed, strings.Join(r.said, "\n")
	}()
	sentence(r)
	return
}

// fails says that the sentence fails and that its report holds every part.
func fails(t *testing.T, sentence func(testing.TB), parts ...string) {
	t.Helper()
	failed, said := record(sentence)
	if !failed {
		t.Fatal("the sentence passed; it must fail")
	}
	for _, part := range parts {
		if !strings.Contains(said, part) {
			t.Errorf("the report does not say %q:\n%s", part, said)
		}
	}
}
