package views

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/topology"
)

// stillWaiting is how long a wait that must not end is watched.
const stillWaiting = 60 * time.Millisecond

// waiting is a Wait under way.
type waiting struct {
	t    testing.TB
	done chan error
}

func (r *rig) wait(p *Positions, pr topology.Projection, pos Position) *waiting {
	ctx := deadline(r.t, 20*time.Second)
	w := &waiting{r.t, make(chan error, 1)}
	go func() { w.done <- p.Wait(ctx, pr, pos) }()
	return w
}

func (w *waiting) waits(why string) {
	w.t.Helper()
	select {
	case err := <-w.done:
		w.t.Fatalf("the wait ended (%v) though %s", err, why)
	case <-time.After(stillWaiting):
	}
}

func (w *waiting) ends(why string) {
	w.t.Helper()
	select {
	case err := <-w.done:
		if err != nil {
			w.t.Fatalf("the wait ended with %v though %s", err, why)
		}
	case <-time.After(10 * time.Second):
		w.t.Fatalf("the wait goes on though %s", why)
	}
}

func (r *rig) projection(name string) topology.Projection {
	p, ok := r.topo.Projection(name)
	if !ok {
		r.t.Fatalf("no projection %s", name)
	}
	return p
}

// after is the position after what is committed on one partition.
func (r *rig) after(p *Positions, tp TopicPartition) Position {
	r.t.Helper()
	pos, err := p.After(deadline(r.t, 10*time.Second), []TopicPartition{tp})
	if err != nil {
		r.t.Fatal(err)
	}
	return pos
}

func raw(tp TopicPartition) *kgo.Record {
	return &kgo.Record{Topic: tp.Topic, Partition: tp.Partition, Key: []byte("k"), Value: []byte("v")}
}

// A projection whose documents have the keys of their events: its transaction holds table records and offsets.
func TestPositions_waitsForTheSearchStore(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		r := newRig(t, b)
		p := NewPositions(r.config(nil))
		r.start(p)
		orders := r.projection("orders")
		group, sink := r.topo.ProjectionGroup(orders), r.topo.SinkGroup(orders)
		events := TopicPartition{r.topo.Events(r.order()), 1}
		table := TopicPartition{r.topo.ProjectionTable(orders), 2}
		aggregate, projector := r.producer(), r.producer()

		aggregate.begin()
		aggregate.put(raw(events))
		last := aggregate.put(raw(events))
		aggregate.commit()
		pos := r.after(p, events)
		if pos[events] < last.Offset {
			t.Fatalf("position %s is before the event at %d", pos, last.Offset)
		}
		w := r.wait(p, orders, pos)
		w.waits("the projection has applied nothing")
		r.commitGroup(group, events, last.Offset) // all but the last
		w.waits("the projection has not applied the last event")

		// The sink is behind when the projection commits: the wait is for what the table holds then.
		projector.begin()
		projector.put(raw(table))
		row := projector.put(raw(table))
		projector.commit()
		r.commitGroup(group, events, last.Offset+1) // below the position: the marker is nobody's
		w.waits("the sink has written nothing")
		r.commitGroup(sink, table, row.Offset)
		w.waits("the sink has not written the last row")
		r.commitGroup(sink, table, row.Offset+1)
		w.ends("the sink has written the last row")

		again := r.wait(p, orders, pos)
		again.ends("everything was visible before")
	})
}

func TestPositions_stepsOverTailsNobodyIsGiven(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		r := newRig(t, b)
		p := NewPositions(r.config(nil))
		r.start(p)
		orders := r.projection("orders")
		group := r.topo.ProjectionGroup(orders)
		events := TopicPartition{r.topo.Events(r.order()), 0}
		aggregate := r.producer()

		aggregate.begin()
		last := aggregate.put(raw(events))
		aggregate.commit()
		for range 3 {
			aggregate.begin()
			for range 200 {
				aggregate.cl.Produce(t.Context(), raw(events), nil)
			}
			aggregate.abort()
		}
		pos := r.after(p, events)
		if pos[events] < last.Offset+600 {
			t.Fatalf("position %s does not cover the aborted tail", pos)
		}
		w := r.wait(p, orders, pos)
		w.waits("nothing was applied")
		r.commitGroup(group, events, last.Offset+1)
		w.ends("only aborted records and markers are left")

		// A partition of nothing but aborted records, of which no group will ever commit anything.
		only := TopicPartition{events.Topic, 2}
		aggregate.begin()
		aggregate.put(raw(only))
		aggregate.abort()
		r.wait(p, orders, r.after(p, only)).ends("there is no record in the partition")

		// An open transaction may still be committed.
		aggregate.begin()
		open := aggregate.put(raw(only))
		pos = r.after(p, only)
		if pos[only] != open.Offset {
			t.Errorf("position %s, the open record stands at %d", pos, open.Offset)
		}
		w = r.wait(p, orders, pos)
		w.waits("the transaction is open")
		aggregate.abort()
		w.ends("the transaction was aborted")
	})
}

func TestPositions_waitsForTheLoopOfARekeyedProjection(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	p := NewPositions(r.config(nil))
	r.start(p)
	sales := r.projection("sales-by-country")
	group, sink := r.topo.ProjectionGroup(sales), r.topo.SinkGroup(sales)
	events := TopicPartition{r.topo.Events(r.order()), 0}
	loop, table := TopicPartition{r.topo.ProjectionLoop(sales), 1}, TopicPartition{r.topo.ProjectionTable(sales), 1}
	aggregate, projector := r.producer(), r.producer()

	aggregate.committed(raw(events))
	pos := r.after(p, events)
	w := r.wait(p, sales, pos)
	projector.committed(raw(loop)) // the change, in one transaction with the event's offset
	r.commitGroup(group, events, 1)
	w.waits("the change has not been folded")
	// What comes into the loop later is of later events.
	projector.committed(raw(loop))
	projector.committed(raw(table))
	r.commitGroup(group, loop, 1)
	w.waits("the sink has written nothing")
	projector.committed(raw(table)) // later still
	r.commitGroup(sink, table, 1)
	w.ends("the row of the change is written; later changes do not matter")

	// The other read model of the same events has its own pace.
	r.wait(p, r.projection("orders"), pos).waits("the other read model has applied nothing")
}

func TestPositions_ignoresWhatTheReadModelDoesNotRead(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	p := NewPositions(r.config(nil))
	r.start(p)
	orders := r.projection("orders")
	for _, pos := range []Position{nil, {}, {{"other.topic", 0}: 99}, {{r.topo.Table(r.order()), 0}: 99}} {
		r.wait(p, orders, pos).ends("the read model does not read " + pos.String())
	}
	if err := p.Wait(t.Context(), orders, Position{{r.topo.Events(r.order()), 99}: 0}); !errors.Is(err, ErrPosition) {
		t.Errorf("a partition that is not there: %v", err)
	}
	if pos := r.after(p, TopicPartition{r.topo.Events(r.order()), 0}); len(pos) != 0 {
		t.Errorf("position %s of an empty partition", pos)
	}
}

func TestPositions_givesUpInTime(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	p := NewPositions(r.config(nil))
	r.start(p)
	orders := r.projection("orders")
	pos := Position{{r.topo.Events(r.order()), 0}: 7} // beyond the end
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := p.Wait(ctx, orders, pos); !errors.Is(err, ErrBehind) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	cancelled, cancel2 := context.WithCancel(t.Context())
	cancel2()
	if err := p.Wait(cancelled, orders, pos); !errors.Is(err, context.Canceled) || errors.Is(err, ErrBehind) {
		t.Errorf("got %v", err)
	}
	p.mu.Lock()
	left := len(p.waits)
	p.mu.Unlock()
	if left != 0 {
		t.Errorf("%d waits are left", left)
	}
}

func TestPositions_hundredsAtATime(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	p := NewPositions(r.config(nil))
	r.start(p)
	orders := r.projection("orders")
	group, sink := r.topo.ProjectionGroup(orders), r.topo.SinkGroup(orders)
	aggregate, projector := r.producer(), r.producer()
	var wg sync.WaitGroup
	for i := range 300 {
		tp := TopicPartition{r.topo.Events(r.order()), int32(i % 3)}
		if i < 30 {
			aggregate.committed(raw(tp))
		}
		wg.Go(func() {
			pos, err := p.After(deadline(t, 10*time.Second), []TopicPartition{tp})
			if err == nil {
				err = p.Wait(deadline(t, 20*time.Second), orders, pos)
			}
			if err != nil {
				t.Errorf("%s: %v", tp, err)
			}
		})
	}
	table := TopicPartition{r.topo.ProjectionTable(orders), 0}
	projector.committed(raw(table))
	for i := range int32(3) {
		r.commitGroup(group, TopicPartition{r.topo.Events(r.order()), i}, 19) // ten records, each with a marker
	}
	r.commitGroup(sink, table, 1)
	wg.Wait()
}

func TestPositions_Lag(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	p := NewPositions(r.config(nil))
	r.start(p)
	sales := r.projection("sales-by-country")
	group, sink := r.topo.ProjectionGroup(sales), r.topo.SinkGroup(sales)
	events := TopicPartition{r.topo.Events(r.order()), 0}
	loop, table := TopicPartition{r.topo.ProjectionLoop(sales), 1}, TopicPartition{r.topo.ProjectionTable(sales), 1}
	aggregate, projector := r.producer(), r.producer()
	now := time.Now().Add(time.Hour).Truncate(time.Second)
	lag := func() Lag {
		t.Helper()
		now = now.Add(time.Second) // older than the last one may be
		r.now.Store(now.UnixMilli())
		l, err := p.Lag(deadline(t, 10*time.Second), sales)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	expect := func(l Lag, since time.Time, records int64, position string) {
		t.Helper()
		seconds := 0.0
		if !since.IsZero() {
			seconds = now.Sub(since).Seconds()
		}
		if diff := l.Seconds - seconds; diff < -0.01 || diff > 0.01 || l.Records != records || l.Position.String() != position {
			t.Errorf("lag %.3f s, %d records, position %q; want %.3f, %d, %q", l.Seconds, l.Records, l.Position, seconds, records, position)
		}
	}
	dated := func(tp TopicPartition, at time.Time) *kgo.Record {
		rec := raw(tp)
		rec.Timestamp = at
		return rec
	}
	expect(lag(), time.Time{}, 0, "")

	first := now.Add(-10 * time.Minute)
	aggregate.begin()
	aggregate.put(dated(events, first))
	aggregate.put(dated(events, first.Add(time.Minute)))
	aggregate.commit()
	expect(lag(), first, 3, "") // two events and their marker

	r.commitGroup(group, events, 1)
	expect(lag(), first.Add(time.Minute), 2, fmt.Sprintf("%s/0", events))
	projector.committed(dated(loop, first.Add(2*time.Minute)))
	r.commitGroup(group, events, 2)
	expect(lag(), first.Add(2*time.Minute), 2, fmt.Sprintf("%s/0", events))
	projector.committed(dated(table, first.Add(3*time.Minute)))
	r.commitGroup(group, loop, 1)
	expect(lag(), first.Add(3*time.Minute), 2, fmt.Sprintf("%s/0", events))
	r.commitGroup(sink, table, 1)
	expect(lag(), time.Time{}, 0, fmt.Sprintf("%s/1", events))

	// An open transaction is nobody's to apply, an aborted one never was.
	aggregate.begin()
	aggregate.put(dated(events, first))
	expect(lag(), time.Time{}, 0, fmt.Sprintf("%s/1", events))
	aggregate.abort()
	expect(lag(), time.Time{}, 0, fmt.Sprintf("%s/1", events))

	// A fresh answer is shared.
	a, err := p.Lag(t.Context(), sales)
	if err != nil {
		t.Fatal(err)
	}
	aggregate.committed(dated(events, first))
	if b, err := p.Lag(t.Context(), sales); err != nil || b.Records != a.Records {
		t.Errorf("asked again within %v: %+v, %v", lagAge, b, err)
	}
}

func TestPositions_Lag_outlivesAQuestionThatFails(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	p := NewPositions(r.config(nil))
	r.start(p)
	failed := 0
	r.broker.Fake.ControlKey(int16(kmsg.OffsetFetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		failed++ // kfake drops a control that has answered
		resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		for _, g := range req.(*kmsg.OffsetFetchRequest).Groups {
			answer := kmsg.NewOffsetFetchResponseGroup()
			answer.Group, answer.ErrorCode = g.Group, kerr.UnknownServerError.Code
			resp.Groups = append(resp.Groups, answer)
		}
		return resp, nil, true
	})
	if _, err := p.Lag(deadline(t, 10*time.Second), r.projection("orders")); err != nil || failed != 1 {
		t.Errorf("%v, after %d failures", err, failed)
	}
}

func TestPositions_sayWhenTheBrokerIsGone(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	p := NewPositions(r.config(nil))
	r.start(p)
	r.broker.Fake.Close()
	if _, err := p.After(deadline(t, 20*time.Second), []TopicPartition{{r.topo.Events(r.order()), 0}}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Lag(deadline(t, 20*time.Second), r.projection("orders")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
