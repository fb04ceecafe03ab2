package system

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/nexusblueprint/nexus/topology"
)

// FaultsError is everything that keeps a start from going on, each fault with
// its place and what to do.
type FaultsError struct {
	Gate   string // what was judged: "topology", "topics", ...
	Faults []string
}

func (e *FaultsError) Error() string {
	return e.Gate + " does not pass:\n  - " + strings.Join(e.Faults, "\n  - ")
}

// ActualTopics fetches the context's topics as the broker has them.
func ActualTopics(ctx context.Context, admin *kadm.Client, t *topology.Topology) (map[string]topology.Actual, error) {
	var names []string
	for _, topic := range t.Topics() {
		names = append(names, topic.Name)
	}
	listed, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	actual := map[string]topology.Actual{}
	var present []string
	for _, detail := range listed.Sorted() {
		switch {
		case errors.Is(detail.Err, kerr.UnknownTopicOrPartition):
		case detail.Err != nil:
			return nil, fmt.Errorf("topic %s: %w", detail.Topic, detail.Err)
		default:
			present = append(present, detail.Topic)
			actual[detail.Topic] = topology.Actual{Partitions: int32(len(detail.Partitions)), Config: map[string]string{}}
		}
	}
	if len(present) == 0 {
		return actual, nil
	}
	configs, err := admin.DescribeTopicConfigs(ctx, present...)
	if err != nil {
		return nil, fmt.Errorf("reading topic settings: %w", err)
	}
	for _, c := range configs {
		if c.Err != nil {
			return nil, fmt.Errorf("reading settings of topic %s: %w", c.Name, c.Err)
		}
		for _, setting := range c.Configs {
			actual[c.Name].Config[setting.Key] = setting.MaybeValue()
		}
	}
	return actual, nil
}

// provisionTopics creates what is missing and refuses what disagrees.
func provisionTopics(ctx context.Context, admin *kadm.Client, t *topology.Topology, replication int16) error {
	actual, err := ActualTopics(ctx, admin, t)
	if err != nil {
		return err
	}
	if faults := t.Compare(actual); len(faults) > 0 {
		return &FaultsError{Gate: "topics", Faults: faults}
	}
	for _, topic := range t.Topics() {
		if _, there := actual[topic.Name]; there {
			continue
		}
		settings := map[string]*string{}
		for name, value := range topic.Config {
			settings[name] = &value
		}
		_, err := admin.CreateTopic(ctx, topic.Partitions, replication, settings, topic.Name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("creating topic %s: %w", topic.Name, err)
		}
	}
	return nil
}
