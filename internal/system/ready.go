package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nexusblueprint/nexus/gateway"
	"github.com/nexusblueprint/nexus/processors"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/sink"
	"github.com/nexusblueprint/nexus/views"
)

// readyView is a view as readiness sees it.
type readyView interface {
	Ready() bool
	Progress() views.Progress
}

// readiness lists what must hold before requests are served, for the roles that
// there are, and lets the log and the metrics follow what is restored.
func (s *System) readiness(p *parts) []gateway.Check {
	var checks []gateway.Check
	r := newRestores()
	if p.processors != nil {
		r.add(func() []restore { return tablesOf(p.processors) })
		checks = append(checks, r.processors(p.processors))
	}
	if p.sinks != nil {
		checks = append(checks, sinksReady(p.sinks))
	}
	if p.outcomes != nil {
		for _, v := range []struct {
			name string
			view readyView
		}{{"history", p.history}, {"outcomes", p.outcomes}, {"states", p.states}} {
			r.add(func() []restore { return []restore{viewOf(v.name, v.view)} })
			checks = append(checks, r.view(v.name, v.view))
		}
	}
	s.metrics.MustRegister(r)
	s.roles.start("restore log", func(ctx context.Context) error { return r.report(ctx, s.logger) })
	return checks
}

func (r *restores) processors(ps *processors.Processors) gateway.Check {
	return func() (string, bool, string) {
		for _, status := range ps.Status() {
			switch {
			case status.Ready:
			case status.Err != nil:
				return "processors", false, "group " + status.Group + " ended and is started again: " + status.Err.Error()
			default:
				return "processors", false, "group " + status.Group + " recovers its table" + r.estimate(tableOf(status))
			}
		}
		return "processors", true, ""
	}
}

func sinksReady(sinks *sink.Sinks) gateway.Check {
	return func() (string, bool, string) {
		for _, status := range sinks.Status() {
			if !status.Ready {
				return "sinks", false, "the sink of " + status.Projection + " joins its group"
			}
		}
		return "sinks", true, ""
	}
}

func (r *restores) view(name string, v readyView) gateway.Check {
	return func() (string, bool, string) {
		if v.Ready() {
			return name, true, ""
		}
		p := v.Progress()
		return name, false, fmt.Sprintf("catching up, %d of %d records", p.Done, p.Total) + r.estimate(viewOf(name, v))
	}
}

// whileRunning adds the checks of a running system only: on a full disk a system still
// starts, to be read and to have its disk freed.
func (s *System) whileRunning(checks []gateway.Check) []gateway.Check {
	checks = slices.Clone(checks)
	if s.bus.refusal != nil {
		checks = append(checks, logTakesWrites(s.bus.refusal))
	}
	if s.local != nil {
		checks = append(checks, localHasRoom(s.local.Full))
	}
	return checks
}

func logTakesWrites(refusal func() error) gateway.Check {
	return func() (string, bool, string) {
		if why := refusal(); why != nil {
			return "broker", false, why.Error()
		}
		return "broker", true, ""
	}
}

func localHasRoom(full func() error) gateway.Check {
	return func() (string, bool, string) {
		if why := full(); why != nil {
			return "local store", false, why.Error()
		}
		return "local store", true, ""
	}
}

const readyTick = 5 * time.Millisecond

// awaitReady waits until every check is passed, then says so in the data folder.
func (s *System) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(readyTick)
	defer tick.Stop()
	for {
		waiting := ""
		for _, check := range s.checks {
			if name, ok, detail := check(); !ok {
				waiting = name + ": " + detail
				break
			}
		}
		if waiting == "" {
			return s.endpoints.write(s.dir.Path())
		}
		select {
		case err := <-s.roles.failed:
			return Ended(err)
		case <-ctx.Done():
			return fmt.Errorf("not ready when the start was given up, %s: %w", waiting, ctx.Err())
		case <-tick.C:
		}
	}
}

// Fenced says that another process took this instance's place.
func Fenced(err error) bool {
	return errors.Is(err, engine.ErrFenced) || errors.Is(err, sink.ErrFenced)
}

// Ended puts the end of a role into an operator's words.
func Ended(err error) error {
	if Fenced(err) {
		return fmt.Errorf("another process runs under this instance's name, or this one slept past its timeouts: give each process an instance name of its own, and start this one again if it only slept: %w", err)
	}
	return err
}
