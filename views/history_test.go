package views

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// awaitVersion waits until the history has a version.
func awaitVersion(t testing.TB, h *History, id string, version int64) {
	t.Helper()
	if err := h.await(deadline(t, 10*time.Second), "order", id, version); err != nil {
		t.Fatal(err)
	}
}

func TestHistory_Events(t *testing.T) {
	r := newRig(t, kafkatest.Kfake(t))
	h := NewHistory(r.config(r.openStore()))
	r.start(h)
	p := r.producer()

	// Ids that begin alike must not run into each other.
	for _, id := range []string{"1", "12", "1\x00", "é"} {
		for v := range int64(300) {
			if v%100 == 0 {
				p.begin()
				p.put(r.event(id, v+1, "aborted"))
				p.abort()
				p.begin()
			}
			p.put(r.event(id, v+1, fmt.Sprint(id, "@", v+1)))
			if v%100 == 99 {
				p.commit()
			}
		}
		awaitVersion(t, h, id, 300)
	}

	t.Run("pages hold every event once, in order", func(t *testing.T) {
		for _, id := range []string{"1", "12", "1\x00", "é"} {
			want := int64(1)
			for {
				page, err := h.Events(t.Context(), "order", id, want, 70)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page {
					placed := new(retail.OrderPlaced)
					if err := placed.DecodeAvro(e.Avro); err != nil {
						t.Fatal(err)
					}
					if e.Metadata.Version != want || e.Metadata.AggregateID != id || e.Type != "shop.order.OrderPlaced" ||
						placed.Country != fmt.Sprint(id, "@", want) || string(e.Framed[5:]) != string(e.Avro) {
						t.Fatalf("at version %d of %q: %+v %+v", want, id, e.Metadata, placed)
					}
					want++
				}
				if len(page) < 70 {
					break
				}
			}
			if want != 301 {
				t.Errorf("%q has %d events", id, want-1)
			}
		}
	})
	t.Run("there is nothing before the first, after the last and of nobody", func(t *testing.T) {
		for _, c := range []struct {
			id    string
			from  int64
			limit int
			want  int
		}{{"1", 301, 10, 0}, {"1", -5, 10, 10}, {"1", 300, 10, 1}, {"nobody", 1, 10, 0}, {"1", 1, 0, 0}, {"", 1, 10, 0}} {
			page, err := h.Events(t.Context(), "order", c.id, c.from, c.limit)
			if err != nil || len(page) != c.want {
				t.Errorf("%+v: %d events, %v", c, len(page), err)
			}
		}
		if _, err := h.Events(t.Context(), "nobody", "1", 1, 1); !errors.Is(err, ports.ErrUnknownType) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("payloads come whole and in order", func(t *testing.T) {
		seen := int64(0)
		err := h.Payloads(deadline(t, 5*time.Second), "order", "12", 200, func(framed []byte) error {
			seen++
			rec, err := r.framer.DecodeNew(framed)
			if err == nil && rec.(*retail.OrderPlaced).Country != fmt.Sprint("12@", seen) {
				err = fmt.Errorf("at %d: %+v", seen, rec)
			}
			return err
		})
		if err != nil || seen != 200 {
			t.Errorf("%d payloads, %v", seen, err)
		}
		if err := h.Payloads(deadline(t, 20*time.Millisecond), "order", "12", 301, nil); !errors.Is(err, ErrBehind) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a record that cannot be read keeps nobody from the others", func(t *testing.T) {
		p.committed(
			&kgo.Record{Topic: r.topo.Events(r.order()), Partition: r.partition("5"), Key: []byte("5"), Value: []byte("no event")},
			r.event("5", 1, "Norway"),
		)
		awaitVersion(t, h, "5", 1)
		if !r.log.has("record cannot be read by the view") {
			t.Error("nothing was said of it")
		}
	})
}
