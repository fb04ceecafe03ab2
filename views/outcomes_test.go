package views

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// heard waits for the next outcome of an expectation.
func heard(t testing.TB, e ports.Expectation) *platform.Outcome {
	t.Helper()
	select {
	case out := <-e.C():
		return out
	case <-time.After(10 * time.Second):
		t.Fatal("no outcome came")
		return nil
	}
}

func silent(t testing.TB, e ports.Expectation) {
	t.Helper()
	select {
	case out := <-e.C():
		t.Fatalf("heard %+v", out)
	default:
	}
}

func TestOutcomes_deliversWhatIsCommitted(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		r := newRig(t, b)
		o := NewOutcomes(r.config(r.openStore()))
		r.start(o)
		p := r.producer()

		aborted, committed, after := o.Expect("aborted"), o.Expect("committed"), o.Expect("after")
		p.begin()
		p.put(r.outcome("1", &platform.Outcome{CommandID: "aborted"}))
		p.abort()
		p.begin()
		p.put(r.outcome("1", &platform.Outcome{CommandID: "committed", Version: 4}))
		// Another writer's outcome passes the open transaction by: when it is here, the other one could be.
		p2 := r.producer()
		p2.committed(r.outcome("2", &platform.Outcome{CommandID: "after"}))
		if r.partition("1") == r.partition("2") {
			t.Fatal("the two orders must be on different partitions")
		}
		heard(t, after)
		silent(t, committed)
		p.commit()
		if out := heard(t, committed); out.CommandID != "committed" || out.Version != 4 {
			t.Errorf("heard %+v", out)
		}
		if out, ok, err := o.Outcome(deadline(t, time.Second), "committed"); err != nil || !ok || out.Version != 4 {
			t.Errorf("what an expectation was given is not found: %v %v %v", out, ok, err)
		}
		if _, ok, err := o.Outcome(deadline(t, time.Second), "aborted"); err != nil || ok {
			t.Errorf("the aborted outcome: found %v, %v", ok, err)
		}
		silent(t, aborted)
		silent(t, committed) // once
		for _, e := range []ports.Expectation{aborted, committed, after, after} {
			e.Cancel()
		}
		if n := len(o.expected); n != 0 {
			t.Errorf("%d expectations are left", n)
		}
	})
}

func TestOutcomes_sharesAnIdBetweenExpectations(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	o := NewOutcomes(r.config(r.openStore()))
	r.start(o)
	one, two, gone := o.Expect("c"), o.Expect("c"), o.Expect("c")
	gone.Cancel()
	gone.Cancel()
	r.producer().committed(
		r.outcome("1", &platform.Outcome{CommandID: "c"}),
		r.outcome("1", &platform.Outcome{CommandID: "c", Repeated: true}),
	)
	for _, e := range []ports.Expectation{one, two} {
		if heard(t, e).Repeated || !heard(t, e).Repeated {
			t.Error("the outcomes came in another order than in the log")
		}
		e.Cancel()
	}
	silent(t, gone)
	if n := len(o.expected); n != 0 {
		t.Errorf("%d ids are left", n)
	}
}

func TestOutcomes_theFirstOutcomeOfAnIdStands(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	o := NewOutcomes(r.config(r.openStore()))
	r.start(o)
	p := r.producer()
	p.committed(r.outcome("1", &platform.Outcome{CommandID: "c", Repeated: true, Detail: "of one whose first is forgotten"}))
	p.committed(r.outcome("1", &platform.Outcome{CommandID: "c\x00d", Detail: "another id"}))
	last := o.Expect("last")
	get := func() *platform.Outcome {
		t.Helper()
		out, ok, err := o.Outcome(deadline(t, 5*time.Second), "c")
		if err != nil || !ok {
			t.Fatalf("found %v, %v", ok, err)
		}
		return out
	}
	kafkatest.Eventually(t, 5*time.Second, "the repetition is there", func() bool {
		_, ok, _ := o.Outcome(deadline(t, time.Second), "c\x00d")
		return ok
	})
	if !get().Repeated {
		t.Error("there is nothing but a repetition, which should be found")
	}
	p.committed(r.outcome("1", &platform.Outcome{CommandID: "c", Detail: "first"}))
	p.committed(r.outcome("1", &platform.Outcome{CommandID: "c", Repeated: true}))
	p.committed(r.outcome("1", &platform.Outcome{CommandID: "last"}))
	heard(t, last)
	if out := get(); out.Repeated || out.Detail != "first" {
		t.Errorf("found %+v", out)
	}
}

func TestOutcomes_forgetsHoursThatAreOver(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	noon := time.Date(2011, 1, 4, 12, 30, 0, 0, time.UTC)
	r.now.Store(noon.UnixMilli())
	o := NewOutcomes(r.config(r.openStore()))
	r.start(o)
	p := r.producer()
	at := func(id string, when time.Time) {
		t.Helper()
		r.now.Store(when.UnixMilli())
		heardIt := o.Expect(id)
		defer heardIt.Cancel()
		rec := r.outcome("1", &platform.Outcome{CommandID: id})
		rec.Timestamp = when
		p.committed(rec)
		heard(t, heardIt)
	}
	known := func(id string, want bool) {
		t.Helper()
		if _, ok, err := o.Outcome(deadline(t, 5*time.Second), id); err != nil || ok != want {
			t.Errorf("%s at %v: found %v (%v), want %v", id, time.UnixMilli(r.now.Load()).UTC(), ok, err, want)
		}
	}
	at("a", noon)
	at("b", noon.Add(29*time.Minute))
	at("c", noon.Add(time.Hour)) // 13:30
	known("a", true)
	known("b", true)
	at("d", noon.Add(90*time.Minute)) // 14:00
	known("a", false)
	known("c", true)
	known("d", true)
}

func TestOutcomes_goesOnAfterARestart(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		r := newRig(t, b)
		s := r.openStore()
		o := NewOutcomes(r.config(s))
		stop := r.start(o)
		p := r.producer()
		for i := range 30 {
			p.committed(r.outcome(fmt.Sprint(i), &platform.Outcome{CommandID: fmt.Sprint("c", i)}))
		}
		kafkatest.Eventually(t, 5*time.Second, "the last outcome is known", func() bool {
			_, ok, _ := o.Outcome(deadline(t, time.Second), "c29")
			return ok
		})
		stop()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		p.committed(r.outcome("away", &platform.Outcome{CommandID: "away"}))
		r.log.clear()

		o = NewOutcomes(r.config(r.openStore()))
		early := o.Expect("away")
		r.start(o)
		heard(t, early)
		for i := range 30 {
			if _, ok, err := o.Outcome(deadline(t, time.Second), fmt.Sprint("c", i)); !ok || err != nil {
				t.Errorf("c%d is lost: %v", i, err)
			}
		}
		if pr := o.Progress(); pr.Total > 10 || pr.Done != pr.Total {
			t.Errorf("read %+v again", pr)
		}
		if r.log.has("built") {
			t.Errorf("the view was built anew: %v", r.log.lines)
		}
	})
}

func TestOutcomes_answersOnlyWhenCaughtUp(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	o := NewOutcomes(r.config(r.openStore()))
	if _, _, err := o.Outcome(context.Background(), "c"); err == nil || o.Ready() {
		t.Errorf("answered before it was run: %v", err)
	}
}
