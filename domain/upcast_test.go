package domain_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
)

// Three versions of one event: parts were counted first, then in dozens, then
// with a remark.

type putV1 struct{ N int }

type putV2 struct{ Dozens int }

type putV3 struct {
	Dozens int
	Remark string
}

func (x *putV1) AvroName() string { return "test.Put" }
func (x *putV2) AvroName() string { return "test.PutV2" }
func (x *putV3) AvroName() string { return "test.PutV3" }

func (x *putV1) AppendAvro(dst []byte) []byte { return appendJSON(dst, x) }
func (x *putV2) AppendAvro(dst []byte) []byte { return appendJSON(dst, x) }
func (x *putV3) AppendAvro(dst []byte) []byte { return appendJSON(dst, x) }

func (x *putV1) DecodeAvro(src []byte) error { return json.Unmarshal(src, x) }
func (x *putV2) DecodeAvro(src []byte) error { return json.Unmarshal(src, x) }
func (x *putV3) DecodeAvro(src []byte) error { return json.Unmarshal(src, x) }

func inDozens(e *putV1) *putV2   { return &putV2{Dozens: e.N / 12} }
func withRemark(e *putV2) *putV3 { return &putV3{Dozens: e.Dozens, Remark: "none"} }
func backAgain(e *putV3) *putV1  { return &putV1{N: e.Dozens * 12} }

// store folds the newest version alone, and records the oldest.
func store(parts ...domain.Part[one]) *domain.Aggregate {
	return domain.NewAggregate[one]("store", 1,
		func(s one, e domain.Event) one { s.N += e.(*putV3).Dozens; return s },
		append(parts, domain.Handle(func(*one) string { return "1" }, nil, func(_ one, c *one) ([]domain.Event, *domain.Rejection) {
			return []domain.Event{&putV1{N: c.N}}, nil
		}))...)
}

func TestUpcast_reads_every_version_as_the_newest(t *testing.T) {
	// In any order of declaration.
	a := store(domain.Upcast[one](withRemark), domain.Records[one, putV3](), domain.Upcast[one](inDozens))
	if faults := a.Faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	state := a.NewState()
	for _, e := range []domain.Event{&putV1{N: 24}, &putV2{Dozens: 3}, &putV3{Dozens: 4, Remark: "none"}} {
		if newest, ok := a.Upcast(e).(*putV3); !ok || newest.Remark != "none" || a.ReadAs(e.AvroName()) != "test.PutV3" {
			t.Errorf("%s is read as %+v, %s", e.AvroName(), newest, a.ReadAs(e.AvroName()))
		}
		a.Evolve(state, e)
	}
	if state.(*one).N != 2+3+4 {
		t.Errorf("the versions fold to %d", state.(*one).N)
	}
	if want := []string{"test.Put", "test.PutV2", "test.PutV3"}; !slices.Equal(a.Events(), want) {
		t.Errorf("it declares %q", a.Events())
	}
	if a.NewEvent("test.Put").AvroName() != "test.Put" || !a.RecordsEvent("test.PutV2") {
		t.Error("older versions are not declared")
	}
	// A rolling upgrade goes on recording the old version for a release.
	if events, no := a.Decide(state, &one{N: 12}); no != nil || len(events) != 1 || events[0].AvroName() != "test.Put" {
		t.Errorf("decided %v, %v", events, no)
	}
}

func TestUpcast_refuses_what_is_no_chain(t *testing.T) {
	for _, c := range []struct {
		name string
		a    *domain.Aggregate
		want string
	}{
		{
			"a step is missing in the middle", store(domain.Upcast[one](inDozens), domain.Records[one, putV3]()),
			"gap in the chain of upcasters: test.Put is read as test.PutV2, which is neither declared with Records nor has an upcaster",
		},
		{
			"the last step is missing", store(domain.Upcast[one](inDozens), domain.Upcast[one](withRemark)),
			"gap in the chain of upcasters: test.PutV2 is read as test.PutV3",
		},
		{
			"two of one step", store(domain.Upcast[one](inDozens), domain.Upcast[one](inDozens), domain.Records[one, putV2]()),
			"event test.Put has two upcasters",
		},
		{
			"an old version is declared as if it were the newest", store(domain.Records[one, putV1](), domain.Upcast[one](inDozens), domain.Records[one, putV2]()),
			"event test.Put is declared with Records and has an upcaster to test.PutV2",
		},
		{
			"round for ever", store(domain.Upcast[one](inDozens), domain.Upcast[one](withRemark), domain.Upcast[one](backAgain)),
			"the upcasters from event test.PutV2 lead back to it",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(c.a.Faults(), "\n"); !strings.Contains(got, c.want) {
				t.Errorf("no fault says %q:\n%s", c.want, got)
			}
			c.a.Upcast(&putV1{}) // ends, whatever is wrong
		})
	}
}

func TestUpcast_a_nil_event_is_a_defect(t *testing.T) {
	a := store(domain.Upcast[one](func(*putV1) *putV2 { return nil }), domain.Records[one, putV2]())
	defer func() {
		if p, _ := recover().(string); p != "the upcaster from test.Put to test.PutV2 returned nil" {
			t.Errorf("panicked with %q", p)
		}
	}()
	a.Upcast(&putV1{})
}
