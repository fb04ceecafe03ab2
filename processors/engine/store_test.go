package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

func TestStore_AnswersAfterCloseWithAnError(t *testing.T) {
	b := kafkatest.Kfake(t)
	n := setup(t, b)
	s := reopen(t, t.TempDir())
	e := newEngine(t, b, n.Group, withStore(s.Store))
	n.produce(t, b, 1, 10, 10, 0)
	r := start(t, b, e, n.graph(0))
	n.drained(t, b, 20*time.Second)
	must(t, s.Close())
	must(t, s.Close())
	if _, err := e.Committed(0, "x"); !errors.Is(err, engine.ErrStoreClosed) {
		t.Errorf("Committed returned %v", err)
	}
	n.produce(t, b, 11, 20, 10, 0)
	if err := r.end(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Run returned %v", err)
	}
}

// A local copy that the changelog does not continue is discarded: goka would go on
// with stale values in it.
func TestStore_DiscardsWhatTheChangelogDoesNotContinue(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name  string
		after func(t *testing.T, b *kafkatest.Broker, n names)
		away  time.Duration
		keeps bool
	}{
		{"nothing happened", func(*testing.T, *kafkatest.Broker, names) {}, time.Hour, true},
		{"away for longer than tombstones are kept", func(*testing.T, *kafkatest.Broker, names) {}, 23 * time.Hour, false},
		{"topic created anew", func(t *testing.T, b *kafkatest.Broker, n names) {
			adm := kadm.NewClient(b.Client(t))
			rs, err := adm.DeleteTopics(t.Context(), n.Table)
			must(t, err)
			must(t, rs.Error())
			b.Create(t, kafkatest.Topic{Name: n.Table, Partitions: partitions, Config: map[string]string{"cleanup.policy": "compact"}})
		}, time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := kafkatest.Kfake(t)
			n := setup(t, b)
			dir, clock := t.TempDir(), now
			run := func(keys int) (restored int64) {
				s := reopen(t, dir, engine.WithClock(func() time.Time { return clock }))
				e := newEngine(t, b, n.Group, withStore(s.Store))
				r := start(t, b, e, n.graph(0))
				n.drained(t, b, 20*time.Second)
				r.ready()
				for p := range int32(partitions) {
					kafkatest.Eventually(t, 5*time.Second, "running", func() bool { _, err := e.Committed(p, "x"); return err == nil })
				}
				if got := committed(t, e, "key-000001").Version; (got == 4) != (keys > 0) {
					t.Errorf("key-000001 has version %d", got)
				}
				r.stop()
				must(t, s.Close())
				return e.Stats().Restored
			}
			n.produce(t, b, 1, 400, 100, 0)
			run(100)
			c.after(t, b, n)
			clock = clock.Add(c.away)
			emptied := c.name == "topic created anew"
			keys := 100
			if emptied {
				keys = 0
			}
			restored := run(keys)
			if kept := restored <= 2*partitions && !emptied; kept != c.keeps {
				t.Errorf("restored %d offsets", restored)
			}
		})
	}
}
