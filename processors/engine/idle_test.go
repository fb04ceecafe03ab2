package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// Ten processors and their broker in one process, with nothing to do.
func TestIdle_CostsLittle(t *testing.T) {
	b := kafkatest.Kfake(t)
	s, cl := openStore(t, t.TempDir()), b.Client(t)
	for i := range 10 {
		n := namesOf(fmt.Sprint(b.Prefix, i, "."))
		n.create(t, b, partitions)
		n.produce(t, b, 1, 100, 10, 0)
		e := newEngine(t, b, n.Group, withStore(s), func(c *engine.Config) { c.Client, c.SessionTimeout = cl, 0 })
		r := start(t, b, e, n.graph(0)).ready()
		n.drained(t, b, 20*time.Second)
		t.Cleanup(r.stop)
		// An idle session must still answer at once.
		defer func() {
			n.produce(t, b, 101, 101, 10, 0)
			n.drained(t, b, 2*time.Second)
		}()
	}
	const watch = 5 * time.Second
	before := cpuTime()
	<-time.After(watch)
	share := float64(cpuTime()-before) / float64(watch)
	t.Logf("%.2f %% of a core", 100*share)
	if share > 0.03 {
		t.Errorf("ten idle processors take %.1f %% of a core", 100*share)
	}
}
