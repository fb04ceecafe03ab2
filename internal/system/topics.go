package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

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

func topicNames(t *topology.Topology) []string {
	var names []string
	for _, topic := range t.Topics() {
		names = append(names, topic.Name)
	}
	return names
}

// ActualTopics fetches the context's topics as the broker has them.
func ActualTopics(ctx context.Context, admin *kadm.Client, t *topology.Topology) (map[string]topology.Actual, error) {
	// Of several brokers each learns of a new topic in its own time: one lists what
	// another, asked for its settings, does not know yet. This happens where instances
	// of a new context start side by side.
	patient, cancel := context.WithTimeout(ctx, topicsPatience)
	defer cancel()
	tick := time.NewTicker(topicsTick)
	defer tick.Stop()
	for {
		actual, err := actualTopics(ctx, admin, t)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return actual, err
		}
		select {
		case <-patient.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

func actualTopics(ctx context.Context, admin *kadm.Client, t *topology.Topology) (map[string]topology.Actual, error) {
	// With authorized operations, kadm asks the broker: else it may answer from
	// memory, where a topic that was just created is missing.
	listed, err := admin.ListTopics(kadm.WithAuthorizedOps(ctx), topicNames(t)...)
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
			actual[detail.Topic] = topology.Actual{Partitions: int32(len(detail.Partitions)), Replicas: detail.Partitions.NumReplicas(), Config: map[string]string{}}
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

// provisionTopics creates what is missing and refuses what disagrees, unless the
// policies judge it. Several instances may do so at once.
func provisionTopics(ctx context.Context, client *kgo.Client, t *topology.Topology, replication int16, governed func(topology.Difference) bool) error {
	admin := kadm.NewClient(client)
	actual, err := ActualTopics(ctx, admin, t)
	if err != nil {
		return err
	}
	var faults []string
	for _, d := range t.Differences(actual) {
		if !governed(d) {
			faults = append(faults, d.Fault)
		}
	}
	if len(faults) > 0 {
		return &FaultsError{Gate: "topics", Faults: faults}
	}
	topics := t.Topics()
	// The dead letters first: a policy wants them where others are, also after a start
	// that was interrupted here.
	last := slices.IndexFunc(topics, func(topic topology.Topic) bool { return topic.Kind == topology.DeadLetterTopic })
	topics[0], topics[last] = topics[last], topics[0]
	for _, topic := range topics {
		if _, there := actual[topic.Name]; there {
			continue
		}
		settings := map[string]*string{}
		for name, value := range topic.Config {
			settings[name] = &value
		}
		if replication > 2 { // acknowledged is what two brokers have, and one may be away
			settings["min.insync.replicas"] = kadm.StringPtr("2")
		}
		_, err := admin.CreateTopic(ctx, topic.Partitions, replication, settings, topic.Name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("creating topic %s with %d replicas: %w", topic.Name, replication, err)
		}
	}
	return awaitTopics(ctx, client, t, len(actual) < len(t.Topics()))
}

const (
	topicsPatience = 30 * time.Second
	topicsTick     = 20 * time.Millisecond
)

// awaitTopics returns when every broker knows every topic and, where some were
// created, every partition has a leader: brokers create topics after they have said
// so, each in its own time. Another instance may have created them just now.
func awaitTopics(ctx context.Context, client *kgo.Client, t *topology.Topology, created bool) error {
	ctx, cancel := context.WithTimeout(ctx, topicsPatience)
	defer cancel()
	tick := time.NewTicker(topicsTick)
	defer tick.Stop()
	for {
		missing, err := missingTopic(ctx, client, t, created)
		if err == nil && missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("topic %s was created and has no leaders: look at the brokers' logs: %w", missing, ctx.Err()), err)
		case <-tick.C:
		}
	}
}

// missingTopic is one that a broker does not know, or has no leaders for if that is
// asked. A broker that does not answer is not asked again: it has to know all topics
// before it serves.
func missingTopic(ctx context.Context, client *kgo.Client, t *topology.Topology, leaders bool) (string, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topicNames(t) {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	first, err := req.RequestWith(ctx, client)
	if err != nil {
		return "", fmt.Errorf("asking for the brokers: %w", err)
	}
	for _, broker := range first.Brokers {
		resp, err := client.Broker(int(broker.NodeID)).Request(ctx, req)
		if err != nil {
			continue
		}
		for _, topic := range resp.(*kmsg.MetadataResponse).Topics {
			err := kerr.ErrorForCode(topic.ErrorCode)
			if errors.Is(err, kerr.UnknownTopicOrPartition) || leaders && (err != nil || !led(topic)) {
				return *topic.Topic, nil
			}
		}
	}
	return "", nil
}

func led(topic kmsg.MetadataResponseTopic) bool {
	for _, p := range topic.Partitions {
		if p.ErrorCode != 0 || p.Leader < 0 {
			return false
		}
	}
	return len(topic.Partitions) > 0
}
