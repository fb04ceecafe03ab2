package domain_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
)

// Two records serve as command, event, state and document.

type one struct{ N int }

type two struct{ N int }

func (x *one) AvroName() string { return "test.One" }
func (x *two) AvroName() string { return "test.Two" }

func (x *one) AppendAvro(dst []byte) []byte { return appendJSON(dst, x) }
func (x *two) AppendAvro(dst []byte) []byte { return appendJSON(dst, x) }

func (x *one) DecodeAvro(src []byte) error { return json.Unmarshal(src, x) }
func (x *two) DecodeAvro(src []byte) error { return json.Unmarshal(src, x) }

func appendJSON(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(dst, b...)
}

func aggregate(name string, fold int, parts ...domain.Part[one]) *domain.Aggregate {
	return domain.NewAggregate[one](name, fold, func(s one, e domain.Event) one { s.N += e.(*two).N; return s }, parts...)
}

func handle(id string) domain.Part[one] {
	return domain.Handle(
		func(*one) string { return id },
		func(c *one) []domain.Fault {
			if c.N < 0 {
				return []domain.Fault{domain.Faultf("/n", "negative", "%d is negative", c.N)}
			}
			return nil
		},
		func(s one, c *one) ([]domain.Event, *domain.Rejection) {
			if s.N > 9 {
				return nil, domain.Reject("full", "it holds %d", s.N)
			}
			return []domain.Event{&two{N: c.N}}, nil
		})
}

func TestAggregate(t *testing.T) {
	a := aggregate("box", 3, handle("1"), domain.Records[one, two]())
	if len(a.Faults()) > 0 {
		t.Fatalf("faults: %q", a.Faults())
	}
	t.Run("knows its declaration", func(t *testing.T) {
		if a.Name() != "box" || a.Fold() != 3 || !slices.Equal(a.Commands(), []string{"test.One"}) || !slices.Equal(a.Events(), []string{"test.Two"}) {
			t.Errorf("%s %d %q %q", a.Name(), a.Fold(), a.Commands(), a.Events())
		}
		if !a.Takes("test.One") || a.Takes("test.Two") || !a.RecordsEvent("test.Two") || a.RecordsEvent("test.One") {
			t.Error("commands and events are mixed up")
		}
		if a.NewCommand("test.One").AvroName() != "test.One" || a.NewCommand("test.Two") != nil ||
			a.NewEvent("test.Two").AvroName() != "test.Two" || a.NewEvent("test.One") != nil {
			t.Error("it makes records of other types than it declares")
		}
	})
	t.Run("decides and evolves", func(t *testing.T) {
		state := a.NewState()
		for _, n := range []int{4, 6} {
			events, no := a.Decide(state, &one{N: n})
			if no != nil || len(events) != 1 || events[0].(*two).N != n {
				t.Fatalf("decided %v, %v", events, no)
			}
			a.Evolve(state, events[0])
		}
		if state.(*one).N != 10 {
			t.Errorf("state %d, want 10", state.(*one).N)
		}
		if events, no := a.Decide(state, &one{N: 1}); no == nil || no.Error() != "full: it holds 10" || events != nil {
			t.Errorf("decided %v, %v", events, no)
		}
	})
	t.Run("finds faults of a command", func(t *testing.T) {
		if a.ID(&one{}) != "1" || a.Validate(&one{N: 1}) != nil {
			t.Error("a good command has faults")
		}
		got := a.Validate(&one{N: -1})
		if len(got) != 1 || got[0] != (domain.Fault{Pointer: "/n", Code: "negative", Detail: "-1 is negative"}) {
			t.Errorf("faults %v", got)
		}
	})
}

func TestAggregate_DecidingAnUndeclaredEventPanics(t *testing.T) {
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "does not declare with Records") {
			t.Errorf("panicked with %q", p)
		}
	}()
	aggregate("box", 1, handle("1")).Decide(&one{}, &one{})
}

func TestAggregate_FaultsNamesEveryMistake(t *testing.T) {
	a := aggregate("Box", 0, handle("1"), handle("2"), domain.Records[one, two](), domain.Records[one, two](), domain.IDAt[one]("id"))
	got := strings.Join(append(a.Faults(), aggregate("empty", 1).Faults()...), "\n")
	for _, part := range []string{"lower case", "fold number 0", "test.One is handled twice", "test.Two is declared twice", `id at "id"`, "takes no command"} {
		if !strings.Contains(got, part) {
			t.Errorf("no fault says %q:\n%s", part, got)
		}
	}
}

func TestValidID(t *testing.T) {
	for id, code := range map[string]string{
		"536365":                               "",
		"Ünicode and spaces / slashes":         "",
		strings.Repeat("x", 256):               "",
		"":                                     "id-empty",
		strings.Repeat("x", 257):               "id-too-long",
		"a\nb":                                 "id-control-character",
		"a\x00b":                               "id-control-character",
		"a\u0085b":                             "id-control-character",
		"a\xffb":                               "id-not-utf8",
		strings.Repeat("x", 10_000) + "\x00\n": "id-too-long",
	} {
		faults := domain.ValidID(id)
		if code == "" && faults != nil || code != "" && (len(faults) != 1 || faults[0].Code != code || faults[0].Detail == "") {
			t.Errorf("%.20q: faults %v, want code %q", id, faults, code)
		}
		for _, at := range []string{"", "/id"} {
			parts := []domain.Part[one]{handle(id), domain.Records[one, two]()}
			if at != "" {
				parts = append(parts, domain.IDAt[one](at))
			}
			got := aggregate("box", 1, parts...).Validate(&one{})
			if len(got) != len(faults) || len(got) > 0 && got[0].Pointer != at {
				t.Errorf("%.20q: Validate finds %v, want the faults at %q", id, got, at)
			}
		}
	}
}

func projection(parts ...domain.ProjectionPart[two]) *domain.Projection {
	return domain.NewProjection[two]("sums", 1, parts...)
}

func from() domain.ProjectionPart[two] {
	return domain.From[two](func(e *one) []domain.Change { return []domain.Change{{Key: "all", Record: e}} })
}

func apply() domain.ProjectionPart[two] {
	return domain.Apply[two](func(doc *two, c *one) { doc.N += c.N })
}

func TestProjection(t *testing.T) {
	p := projection(from(), apply())
	if len(p.Faults()) > 0 || p.Name() != "sums" || p.Version() != 1 ||
		!slices.Equal(p.Reads(), []string{"test.One"}) || !slices.Equal(p.Changes(), []string{"test.One"}) {
		t.Fatalf("declaration: %q %s %d %q %q", p.Faults(), p.Name(), p.Version(), p.Reads(), p.Changes())
	}
	if p.NewChange("test.One").AvroName() != "test.One" || p.NewChange("test.Two") != nil {
		t.Error("it makes changes of other types than it applies")
	}
	doc := p.NewDocument()
	for _, n := range []int{1, 2} {
		for _, c := range p.Split(&one{N: n}) {
			p.Apply(doc, c.Record)
		}
	}
	if doc.(*two).N != 3 {
		t.Errorf("document %v, want the sum 3", doc)
	}
	if p.Split(&two{}) != nil {
		t.Error("an event it does not read has changes")
	}
}

func TestProjection_SplittingIntoAnUnknownChangePanics(t *testing.T) {
	p := projection(apply(), domain.From[two](func(e *two) []domain.Change { return []domain.Change{{Key: "all", Record: e}} }))
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "which no Apply takes") {
			t.Errorf("panicked with %q", p)
		}
	}()
	p.Split(&two{})
}

func TestProjection_FaultsNamesEveryMistake(t *testing.T) {
	p := domain.NewProjection[two]("", 0, from(), from(), apply(), apply())
	got := strings.Join(append(p.Faults(), projection(from()).Faults()...), "\n")
	for _, part := range []string{"lower case", "version 0", "test.One is read twice", "test.One is applied twice", "at least one From and one Apply"} {
		if !strings.Contains(got, part) {
			t.Errorf("no fault says %q:\n%s", part, got)
		}
	}
}
