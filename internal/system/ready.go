package system

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nexusblueprint/nexus/gateway"
	"github.com/nexusblueprint/nexus/processors"
	"github.com/nexusblueprint/nexus/sink"
	"github.com/nexusblueprint/nexus/views"
)

// readyView is a view as readiness sees it.
type readyView interface {
	Ready() bool
	Progress() views.Progress
}

// readiness lists what must hold before requests are served.
func readiness(ps *processors.Processors, sinks *sink.Sinks, vs map[string]readyView) []gateway.Check {
	var checks []gateway.Check
	checks = append(checks, func() (string, bool, string) {
		for _, s := range ps.Status() {
			if !s.Ready {
				return "processors", false, "group " + s.Group + " recovers its table"
			}
		}
		return "processors", true, ""
	}, func() (string, bool, string) {
		for _, s := range sinks.Status() {
			if !s.Ready {
				return "sinks", false, "the sink of " + s.Projection + " joins its group"
			}
		}
		return "sinks", true, ""
	})
	for _, name := range slices.Sorted(maps.Keys(vs)) {
		v := vs[name]
		checks = append(checks, func() (string, bool, string) {
			if v.Ready() {
				return name, true, ""
			}
			p := v.Progress()
			return name, false, fmt.Sprintf("catching up, %d of %d records", p.Done, p.Total)
		})
	}
	return checks
}

// logTakesWrites is a check of a running system only: on a full disk a system
// still starts, to be read and to have its disk freed.
func logTakesWrites(refusal func() error) gateway.Check {
	return func() (string, bool, string) {
		if why := refusal(); why != nil {
			return "broker", false, why.Error()
		}
		return "broker", true, ""
	}
}

const readyTick = 5 * time.Millisecond

// awaitReady waits until every check is passed, then says so in the data folder.
func (d *Dev) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(readyTick)
	defer tick.Stop()
	for {
		waiting := ""
		for _, check := range d.checks {
			if name, ok, detail := check(); !ok {
				waiting = name + ": " + detail
				break
			}
		}
		if waiting == "" {
			return d.endpoints.write(d.dir.Path())
		}
		select {
		case err := <-d.roles.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("not ready when the start was given up, %s: %w", waiting, ctx.Err())
		case <-tick.C:
		}
	}
}
