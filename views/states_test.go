package views

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

func TestStates_Get(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	s := NewStates(r.config(r.openStore()))
	r.start(s)
	p := r.producer()

	t.Run("finds nothing where nothing is committed", func(t *testing.T) {
		p.begin()
		p.put(r.table("1", 1, "France"))
		p.abort()
		p.committed(r.table("2", 1, "France"))
		if _, err := s.Get(deadline(t, 5*time.Second), "order", "2", 1); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "order", "1", 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Get(t.Context(), "nobody", "1", 0); !errors.Is(err, ports.ErrUnknownType) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("shows the state with its schema and bytes", func(t *testing.T) {
		p.committed(r.table("3", 2, "Norway"))
		st, err := s.Get(deadline(t, 5*time.Second), "order", "3", 2)
		if err != nil {
			t.Fatal(err)
		}
		if st.Version != 2 || st.At != 2000 || st.Schema.Name() != "shop.order.Order" || st.Record.(*retail.Order).Country != "Norway" {
			t.Errorf("got %+v", st)
		}
		again := new(retail.Order)
		if err := again.DecodeAvro(st.Avro); err != nil || again.Country != "Norway" {
			t.Errorf("its bytes hold %+v, %v", again, err)
		}
	})
	t.Run("waits for a version", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if st, err := s.Get(deadline(t, 10*time.Second), "order", "4", 3); err != nil || st.Version < 3 {
					t.Errorf("got version %d, %v", st.Version, err)
				}
			})
		}
		for v := range int64(4) {
			p.committed(r.table("4", v+1, "Norway"))
		}
		wg.Wait()
	})
	t.Run("says when the version does not come in time", func(t *testing.T) {
		if _, err := s.Get(deadline(t, 20*time.Millisecond), "order", "4", 99); !errors.Is(err, ErrBehind) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Get(ctx, "order", "nobody", 1); !errors.Is(err, context.Canceled) || errors.Is(err, ErrBehind) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("forgets what has a tombstone", func(t *testing.T) {
		gone := r.table("2", 0, "")
		gone.Value = nil
		p.committed(gone)
		kafkatest.Eventually(t, 5*time.Second, "the state is gone", func() bool {
			_, err := s.Get(t.Context(), "order", "2", 0)
			return errors.Is(err, ErrNotFound)
		})
	})
	t.Run("waits for the newer record of one that compaction took", func(t *testing.T) {
		tp := TopicPartition{r.topo.Table(r.order()), r.partition("6")}
		p.begin()
		old := p.put(r.table("6", 1, "Norway"))
		p.commit()
		if _, err := s.Get(deadline(t, 5*time.Second), "order", "6", 1); err != nil {
			t.Fatal(err)
		}
		r.deleteRecords(tp, old.Offset+1)
		got := make(chan State, 1)
		go func() {
			st, err := s.Get(deadline(t, 10*time.Second), "order", "6", 0)
			if err != nil {
				t.Errorf("got %v", err)
			}
			got <- st
		}()
		kafkatest.Eventually(t, 5*time.Second, "it waits", func() bool { return !s.watch.idle() })
		p.committed(r.table("6", 2, "France"))
		if st := <-got; st.Version != 2 {
			t.Errorf("got version %d", st.Version)
		}
	})
	t.Run("is fetched by a few at a time, for however many ask", func(t *testing.T) {
		p.committed(r.table("7", 1, "Norway"))
		if _, err := s.Get(deadline(t, 5*time.Second), "order", "7", 1); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if st, err := s.Get(deadline(t, 10*time.Second), "order", "7", 0); err != nil || st.Version != 1 {
					t.Errorf("got version %d, %v", st.Version, err)
				}
			})
		}
		wg.Wait()
	})
	if !s.watch.idle() {
		t.Errorf("%d watched keys are left", len(s.watch.keys))
	}
}
