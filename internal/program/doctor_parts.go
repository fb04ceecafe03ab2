package program

import (
	"context"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/internal/system"
)

// broker judges whether the broker answers and has the topics as they must be.
func (d *doctor) broker(ctx context.Context, r *running) {
	ctx, cancel := seconds(ctx, 10)
	defer cancel()
	cl := d.dial(ctx, r, "look at the broker's log; from another machine, make sure that its port can be reached")
	if cl == nil {
		return
	}
	defer cl.Close()
	d.ok("broker", "%s answers", r.endpoints.Bus)

	d.topics(ctx, cl, fails)
}

// dial reaches the broker. Nil says that it does not answer, which is a finding with this advice.
func (d *doctor) dial(ctx context.Context, r *running, advice string) *kgo.Client {
	cl, err := kgo.NewClient(r.broker...)
	if err == nil {
		if err = cl.Ping(ctx); err == nil {
			return cl
		}
		cl.Close()
	}
	d.fail("broker", advice, "%s does not answer: %v", r.endpoints.Bus, err)
	return nil
}

// topics judges those of the topology; missing is the verdict on what is not
// there.
func (d *doctor) topics(ctx context.Context, cl *kgo.Client, missing string) {
	actual, err := system.ActualTopics(ctx, kadm.NewClient(cl), d.topology)
	if err != nil {
		d.fail("topics", "grant the right to describe topics and their settings", "the topics cannot be read: %v", err)
		return
	}
	wanted := d.topology.Topics()
	faults := d.topology.Compare(actual)
	unfinished, err := system.Unfinished(ctx, kadm.NewClient(cl), d.topology)
	if err != nil {
		d.fail("topics", "grant the right to describe topics and their settings", "the topics cannot be read: %v", err)
		return
	}
	if unfinished != "" {
		faults = append(faults, unfinished)
	}
	absent := 0
	for _, topic := range wanted {
		if _, there := actual[topic.Name]; !there {
			absent++
			if missing == fails {
				faults = append(faults, "topic "+topic.Name+" is missing: it is created at a start")
			}
		}
	}
	switch {
	case len(faults) > 0:
		d.fail("topics", "nothing was changed; a start refuses topics that disagree", "%s", strings.Join(faults, "\n"))
	case absent > 0:
		d.ok("topics", "%d of %d are missing: a start creates them", absent, len(wanted))
	default:
		d.ok("topics", "all %d are as the topology wants them", len(wanted))
	}
}

// registry judges whether the registry answers, has every schema of this program
// and lets none in that breaks readers.
func (d *doctor) registry(ctx context.Context, r *running) {
	ctx, cancel := seconds(ctx, 10)
	defer cancel()
	err := r.framer.Load(ctx)
	switch {
	case errors.Is(err, serde.ErrNotRegistered):
		how := "--registry " + r.endpoints.Registry
		if d.at.file != "" {
			how = "--config " + d.at.file
		}
		d.fail("registry", "nexus schemas register "+how, "%s answers, but %v", r.endpoints.Registry, err)
	case err != nil:
		d.fail("registry", "look at the registry's log; from another machine, make sure that its port can be reached", "%s: %v", r.endpoints.Registry, err)
		return
	default:
		d.ok("registry", "%s has all %d schemas of this program", r.endpoints.Registry, len(d.topology.Subjects()))
	}
	switch err := r.framer.CheckLevels(ctx); {
	case errors.Is(err, serde.ErrNoLevel), errors.Is(err, serde.ErrWeakLevel):
		d.fail("compatibility", setLevel, "%v", err)
	case err != nil:
		d.warn("compatibility", "ask again", "the levels cannot be read: %v", err)
	default:
		d.ok("compatibility", "every version of a schema must be able to read all earlier ones")
	}
}

const setLevel = "set BACKWARD_TRANSITIVE or FULL_TRANSITIVE: the log is read for ever, so every version must stay readable"
