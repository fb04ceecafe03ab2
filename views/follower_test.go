package views

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
)

// fill commits n events, one per order.
func (p *producer) fill(from, n int) {
	p.rig.t.Helper()
	for i := range n {
		p.committed(p.rig.event(fmt.Sprint("o", from+i), 1, fmt.Sprint("country", from+i)))
	}
}

func TestFollower_isReadyOverTailsNobodyIsShown(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		r := newRig(t, b)
		p := r.producer()
		p.fill(0, 10)
		for i := range 3 { // every partition ends in aborted records and markers
			p.begin()
			for range 5 {
				rec := r.event("x", 1, "aborted")
				rec.Partition = int32(i)
				p.put(rec)
			}
			p.abort()
		}
		h := NewHistory(r.config(r.openStore()))
		r.start(h)
		if got := h.Progress(); got.Total == 0 || got.Done != got.Total {
			t.Errorf("progress %+v", got)
		}
		for i := range 10 {
			if page, err := h.Events(t.Context(), "order", fmt.Sprint("o", i), 1, 10); err != nil || len(page) != 1 {
				t.Errorf("o%d: %d events, %v: the view was not ready", i, len(page), err)
			}
		}
	})
}

func TestFollower_isBuiltAnew(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(r *rig, p *producer)
		says string
		left int // events afterwards, o0 and on
	}{
		"when a topic was created anew": {func(r *rig, p *producer) {
			r.deleteTopic(r.topo.Events(r.order()))
			r.createTopic(r.topo.Events(r.order()))
			r.producer().fill(0, 40) // more than before: the offsets alone look fine
		}, "another one", 40},
		"when a topic was cut off": {func(r *rig, p *producer) {
			r.deleteTopic(r.topo.Events(r.order()))
			r.createTopic(r.topo.Events(r.order()))
			r.producer().fill(0, 2)
		}, "built", 2},
		"when the store holds it in another format": {func(r *rig, p *producer) {
			s := r.openStore()
			b := s.NewBatch()
			b.Set(historySpace.formatKey(), []byte{format + 1})
			if err := s.Apply(b); err != nil {
				r.t.Fatal(err)
			}
			_ = s.Close()
		}, "another release", 20},
		"when a mark is damaged": {func(r *rig, p *producer) {
			s := r.openStore()
			b := s.NewBatch()
			b.Set(historySpace.markKey(nil, TopicPartition{r.topo.Events(r.order()), 0}), []byte("damaged"))
			if err := s.Apply(b); err != nil {
				r.t.Fatal(err)
			}
			_ = s.Close()
		}, "damaged", 20},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, kafkatest.Kfake(t))
			s := r.openStore()
			h := NewHistory(r.config(s))
			stop := r.start(h)
			p := r.producer()
			p.fill(0, 20)
			awaitVersion(t, h, "o19", 1)
			stop()
			_ = s.Close()
			if !r.log.has("INFO view is built") {
				t.Errorf("a view on a new folder said %v", r.log.lines)
			}
			r.log.clear()
			c.harm(r, p)

			h = NewHistory(r.config(r.openStore()))
			r.start(h)
			if !r.log.has(c.says) {
				t.Errorf("it did not say %q: %v", c.says, r.log.lines)
			}
			for i := range 40 {
				page, err := h.Events(t.Context(), "order", fmt.Sprint("o", i), 1, 10)
				if err != nil || (len(page) == 1) != (i < c.left) {
					t.Errorf("o%d: %d events, %v", i, len(page), err)
				}
			}
		})
	}
}

func TestFollower_findsATopicCreatedAnewWhileItRuns(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	h := NewHistory(r.config(r.openStore()))
	r.start(h)
	r.producer().fill(0, 20)
	awaitVersion(t, h, "o19", 1)
	r.deleteTopic(r.topo.Events(r.order()))
	r.createTopic(r.topo.Events(r.order()))
	r.producer().fill(100, 5)
	awaitVersion(t, h, "o104", 1)
	kafkatest.Eventually(t, 30*time.Second, "the view is ready again", h.Ready)
	if page, err := h.Events(t.Context(), "order", "o0", 1, 10); err != nil || len(page) != 0 {
		t.Errorf("events of the old topic: %d, %v", len(page), err)
	}
}

func TestFollower_recordsGoneBeforeTheyWereReadAreToldOf(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	s := r.openStore()
	h := NewHistory(r.config(s))
	stop := r.start(h)
	p := r.producer()
	p.fill(0, 20)
	awaitVersion(t, h, "o19", 1)
	stop()
	_ = s.Close()
	p.fill(20, 20)
	for i := range r.topo.PartitionCount() {
		r.deleteRecords(TopicPartition{r.topo.Events(r.order()), i}, -1)
	}
	p.fill(40, 5)
	h = NewHistory(r.config(r.openStore()))
	r.start(h)
	if !r.log.has("records are gone") {
		t.Errorf("it did not say so: %v", r.log.lines)
	}
	awaitVersion(t, h, "o44", 1)
}

func TestFollower_endsWhenTheStoreDoes(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	s := r.openStore()
	h := NewHistory(r.config(s))
	done := make(chan error, 1)
	go func() { done <- h.Run(context.Background()) }()
	kafkatest.Eventually(t, 10*time.Second, "the view is ready", h.Ready)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r.producer().fill(0, 1)
	select {
	case err := <-done:
		if err == nil {
			t.Error("it ended without an error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on without a store")
	}
	if _, err := h.Events(t.Context(), "order", "o0", 1, 1); err == nil {
		t.Error("it answers without a store")
	}
}

// deleteRecords removes what stands before an offset; -1 is the end.
func (r *rig) deleteRecords(tp TopicPartition, before int64) {
	r.t.Helper()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: tp.Topic, Partition: tp.Partition, At: before})
	resp, err := kadm.NewClient(r.broker.Client(r.t)).DeleteRecords(deadline(r.t, 10*time.Second), os)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) deleteTopic(name string) {
	r.t.Helper()
	resp, err := kadm.NewClient(r.broker.Client(r.t)).DeleteTopic(deadline(r.t, 10*time.Second), name)
	if err == nil {
		err = resp.Err
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// createTopic creates one topic of the topology again.
func (r *rig) createTopic(name string) {
	r.t.Helper()
	for _, topic := range r.topo.Topics() {
		if topic.Name == name {
			r.broker.Create(r.t, kafkatest.Topic{Name: name, Partitions: int(topic.Partitions), Config: topic.Config})
		}
	}
}
