package check_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/check"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/internal/systemtest"
	"github.com/nexusblueprint/nexus/topology"
)

func live(t *testing.T, top *topology.Topology, e system.Endpoints) *check.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	registry, err := confluent.New(config.Registry{URL: e.Registry})
	if err != nil {
		t.Fatal(err)
	}
	framer := serde.New(registry, top)
	if err := framer.Load(ctx); err != nil {
		t.Fatal(err)
	}
	report, err := check.Run(ctx, check.Config{
		Topology: top, Framer: framer, Broker: []kgo.Opt{kgo.SeedBrokers(e.Bus)}, Queries: check.API{URL: e.API, Client: http.DefaultClient},
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// While commands come in, most documents can be compared between two of their
// changes; the one that every command changes may stay unknown, but nothing is
// called violated.
func TestRun_raises_no_false_alarm_while_commands_come_in(t *testing.T) {
	top := testTopology()
	e := systemtest.Start(t, top, t.TempDir())
	ctx, stop := context.WithCancel(context.Background())
	sent := make(chan int, 1)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			order := fmt.Sprint(600000 + n)
			send(t, e.API, 201, place("p"+order, order, "17850", "22423"), receive("r"+order, "22423", 10, order), receive("s"+order, "sku"+order, 10, order))
		}
		sent <- n
	}()
	defer func() {
		stop()
		t.Logf("%d batches of 3 commands meanwhile", <-sent)
		if report := live(t, top, e); !report.OK {
			t.Errorf("at rest:\n%s", report.Text())
		}
	}()
	for range 3 {
		report := live(t, top, e)
		for _, i := range report.Invariants {
			if i.Verdict == check.Violated || i.Verdict == check.Unknown && i.ID != "I5" {
				t.Errorf("%s is %s:\n%s", i.ID, i.Verdict, report.Text())
			}
		}
		t.Log(report.Text())
	}
}
