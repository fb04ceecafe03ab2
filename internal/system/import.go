package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/processors"
	"github.com/nexusblueprint/nexus/topology"
)

// Import fills a context on Kafka that nothing has used yet, and starts nothing.
// It registers the seed's schemas and the program's own, creates the topics, and
// lets the seed write to them. While it is under way a topic says so, and no
// instance starts: after an interruption, call it again. The seed's Fill then
// finds what it has written before.
// Errors: *FaultsError, which changes nothing.
func Import(ctx context.Context, t *topology.Topology, settings config.Config, seed Seed, logger *slog.Logger) error {
	s := &System{settings: settings, seed: &seed, logger: logger, topology: t, roles: newRoles(logger)}
	for _, step := range []func(context.Context) error{
		s.judgeDeclaration, s.openBus, s.judgeUnused, s.openRegistry, s.judgeLive, s.beginImport, s.judgeLive, s.sayVerdict, s.complete,
	} {
		if err := step(ctx); err != nil {
			return errors.Join(s.notGoverned(err), s.Stop())
		}
	}
	return s.Stop()
}

func (s *System) complete(ctx context.Context) error {
	if err := s.fill(ctx); err != nil {
		return fmt.Errorf("the import is not complete, and no instance starts; call it again with the files that it began with, and it goes on where it is: %w", err)
	}
	return s.endImport(ctx)
}

// judgeUnused refuses a context that an instance runs or has run, unless what is
// there comes from an import that was interrupted.
func (s *System) judgeUnused(ctx context.Context) error {
	faults, err := s.running(ctx)
	if err != nil {
		return err
	}
	actual, err := ActualTopics(ctx, s.bus.admin, s.topology)
	if err != nil {
		return err
	}
	faults = append(faults, s.topology.Compare(actual)...)
	begun, err := importing(ctx, s.bus.admin, s.topology)
	if err != nil {
		return err
	}
	if !begun {
		used, err := s.used(ctx, actual)
		if err != nil {
			return err
		}
		faults = append(faults, used...)
	}
	if len(faults) > 0 {
		return &FaultsError{Gate: "the target at " + s.bus.address(), Faults: faults}
	}
	return nil
}

// running names the groups that have members.
func (s *System) running(ctx context.Context) (faults []string, err error) {
	// A cluster that never had a group has no coordinator that could be asked for one.
	known, err := s.bus.admin.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking for running instances: %w", err)
	}
	ours := slices.DeleteFunc(s.topology.Groups(), func(name string) bool { _, ok := known[name]; return !ok })
	if len(ours) == 0 { // none would mean all
		return nil, nil
	}
	groups, err := s.bus.admin.DescribeGroups(ctx, ours...)
	if err != nil {
		return nil, fmt.Errorf("looking for running instances: %w", err)
	}
	session, _ := processors.Timeouts() // an instance that stopped for a restart stays a member so long
	for _, g := range groups.Sorted() {
		switch {
		case errors.Is(g.Err, kerr.GroupIDNotFound):
		case g.Err != nil:
			return nil, fmt.Errorf("looking for running instances: group %s: %w", g.Group, g.Err)
		case len(g.Members) > 0:
			faults = append(faults, fmt.Sprintf("group %s has %d members: stop every instance of %s, and wait until their sessions are over (%g s)", g.Group, len(g.Members), s.topology.Context, session.Seconds()))
		}
	}
	return faults, nil
}

// used names what is on the topics and in the read models.
func (s *System) used(ctx context.Context, actual map[string]topology.Actual) (faults []string, err error) {
	var there []string
	for _, topic := range s.topology.Topics() {
		if _, ok := actual[topic.Name]; ok {
			there = append(there, topic.Name)
		}
	}
	if len(there) > 0 { // none would mean all
		written, err := logread.Committed(ctx, s.bus.admin, there...)
		if err != nil {
			return nil, err
		}
		full := map[string]bool{}
		for tp, r := range written {
			full[tp.Topic] = full[tp.Topic] || r.To > 0
		}
		for _, topic := range there {
			if full[topic] {
				faults = append(faults, fmt.Sprintf("topic %s holds records or has held some", topic))
			}
		}
	}
	found, err := s.indexed(ctx)
	if err != nil {
		return nil, err
	}
	if faults = append(faults, found...); len(faults) > 0 {
		faults = append(faults, fmt.Sprintf("an import makes a new system and adds to none: if nobody needs this one, delete all topics and read models that begin with %q or are named above, and import again", s.topology.Context+"."))
	}
	return faults, nil
}

// indexed names the read models that hold documents: with their versions these
// would keep those of the new system out.
func (s *System) indexed(ctx context.Context) (faults []string, err error) {
	if s.settings.Search.Embedded() {
		return nil, nil // it is in the data folders of instances
	}
	store, err := OpenSearch(ctx, s.settings.Search)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for _, p := range s.topology.Projections {
		n, err := store.Count(ctx, topology.Index(p))
		if errors.Is(err, ports.ErrNoIndex) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for documents of %s: %w", topology.Index(p), err)
		}
		if n > 0 {
			faults = append(faults, fmt.Sprintf("the read model %s holds %d documents at %s", topology.Index(p), n, s.settings.Search.HTTP()))
		}
	}
	return faults, nil
}

// beginImport creates the topics, and the one that keeps instances from starting.
func (s *System) beginImport(ctx context.Context) error {
	if err := provisionTopics(ctx, s.bus.client, s.topology, s.bus.replication, s.governed); err != nil {
		return err
	}
	_, err := s.bus.admin.CreateTopic(ctx, 1, s.bus.replication, nil, s.topology.Importing())
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("creating topic %s: %w", s.topology.Importing(), err)
	}
	return nil
}

func (s *System) endImport(ctx context.Context) error {
	_, err := s.bus.admin.DeleteTopic(ctx, s.topology.Importing())
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("every event is there, but topic %s, which keeps instances from starting, could not be deleted: delete it: %w", s.topology.Importing(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, topicsPatience)
	defer cancel()
	tick := time.NewTicker(topicsTick)
	defer tick.Stop()
	for { // a broker may know it for a moment longer
		left, err := importing(ctx, s.bus.admin, s.topology)
		if err != nil || !left {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("every event is there, but topic %s, which keeps instances from starting, does not go away: look at the brokers' logs: %w", s.topology.Importing(), ctx.Err())
		case <-tick.C:
		}
	}
}

// importing says whether an import has begun and not been completed.
func importing(ctx context.Context, admin *kadm.Client, t *topology.Topology) (bool, error) {
	listed, err := admin.ListTopics(kadm.WithAuthorizedOps(ctx), t.Importing()) // see actualTopics
	if err != nil {
		return false, fmt.Errorf("listing topics: %w", err)
	}
	// Whoever may not ask for it cannot be told, and starts.
	topic, named := listed[t.Importing()]
	return named && !errors.Is(topic.Err, kerr.UnknownTopicOrPartition) && !errors.Is(topic.Err, kerr.TopicAuthorizationFailed), nil
}

// Unfinished says what is wrong with topics that an import was interrupted on; ""
// if none was.
func Unfinished(ctx context.Context, admin *kadm.Client, t *topology.Topology) (string, error) {
	begun, err := importing(ctx, admin, t)
	if err != nil || !begun {
		return "", err
	}
	return fmt.Sprintf("an import has begun and is not complete (topic %s is there): let it end; if it was interrupted, run nexus events import again with the same files, or delete all topics that begin with %q", t.Importing(), t.Context+"."), nil
}
