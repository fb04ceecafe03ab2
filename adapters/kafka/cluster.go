package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Cluster is what a cluster says of itself and of some topics.
type Cluster struct {
	Brokers  int
	Settings map[string]string // of one broker, with Kafka's names
	topics   []topic
}

type topic struct {
	name     string
	replicas int
	settings map[string]string
}

// Look asks the cluster. Topics that do not exist are left out.
func Look(ctx context.Context, admin *kadm.Client, topics ...string) (*Cluster, error) {
	fresh := kadm.WithAuthorizedOps(ctx) // with it, kadm does not answer from memory
	meta, err := admin.BrokerMetadata(fresh)
	if len(topics) > 0 { // none would mean all
		meta, err = admin.Metadata(fresh, topics...)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the cluster for its brokers: %w", err)
	}
	c := &Cluster{Brokers: len(meta.Brokers), Settings: map[string]string{}}
	var present []string
	for _, d := range meta.Topics.Sorted() {
		if d.Err == nil {
			present = append(present, d.Topic)
			c.topics = append(c.topics, topic{name: d.Topic, replicas: d.Partitions.NumReplicas(), settings: map[string]string{}})
		}
	}
	if len(meta.Brokers) > 0 {
		described, err := admin.DescribeBrokerConfigs(ctx, meta.Brokers[0].NodeID)
		if err != nil {
			return nil, fmt.Errorf("reading the settings of broker %d: %w", meta.Brokers[0].NodeID, err)
		}
		for _, r := range described {
			if r.Err != nil {
				return nil, fmt.Errorf("reading the settings of broker %s: %w", r.Name, r.Err)
			}
			collect(c.Settings, r)
		}
	}
	return c, c.topicSettings(ctx, admin, present)
}

func (c *Cluster) topicSettings(ctx context.Context, admin *kadm.Client, present []string) error {
	if len(present) == 0 {
		return nil
	}
	described, err := admin.DescribeTopicConfigs(ctx, present...)
	if err != nil {
		return fmt.Errorf("reading topic settings: %w", err)
	}
	for _, r := range described {
		if r.Err != nil {
			return fmt.Errorf("reading the settings of topic %s: %w", r.Name, r.Err)
		}
		for i := range c.topics {
			if c.topics[i].name == r.Name {
				collect(c.topics[i].settings, r)
			}
		}
	}
	return nil
}

func collect(into map[string]string, r kadm.ResourceConfig) {
	for _, setting := range r.Configs {
		into[setting.Key] = setting.MaybeValue()
	}
}

// Needs are limits of the platform that the cluster's settings have to admit.
type Needs struct {
	Session, Transaction time.Duration // session.timeout.ms, transaction.timeout.ms
	RecordBytes          int           // of the largest record
}

// offsetsKept is how long offsets of a group without members are kept at least:
// Kafka's own default.
const offsetsKept = 7 * 24 * time.Hour

// Faults are settings under which the platform cannot run.
func (c *Cluster) Faults(n Needs) []string {
	var faults []string
	if v, ok := c.number("group.min.session.timeout.ms"); ok && time.Duration(v)*time.Millisecond > n.Session {
		faults = append(faults, fmt.Sprintf("group.min.session.timeout.ms is %d: set it to %d or less, or no instance can join its groups", v, n.Session.Milliseconds()))
	}
	if v, ok := c.number("group.max.session.timeout.ms"); ok && time.Duration(v)*time.Millisecond < n.Session {
		faults = append(faults, fmt.Sprintf("group.max.session.timeout.ms is %d: set it to %d or more, or no instance can join its groups", v, n.Session.Milliseconds()))
	}
	if v, ok := c.number("transaction.max.timeout.ms"); ok && time.Duration(v)*time.Millisecond < n.Transaction {
		faults = append(faults, fmt.Sprintf("transaction.max.timeout.ms is %d: set it to %d or more, or no processor can begin a transaction", v, n.Transaction.Milliseconds()))
	}
	if v, ok := c.number("socket.request.max.bytes"); ok && v < int64(n.RecordBytes) {
		faults = append(faults, fmt.Sprintf("socket.request.max.bytes is %d: set it to more than %d, or the largest states cannot be written", v, n.RecordBytes))
	}
	return faults
}

// Warnings are settings under which the platform runs, and something may be lost.
func (c *Cluster) Warnings() []string {
	var all []string
	if v, ok := c.number("offsets.retention.minutes"); ok && time.Duration(v)*time.Minute < offsetsKept {
		all = append(all, fmt.Sprintf("offsets.retention.minutes is %d: a group that stands still for longer forgets where it was; set it to %d or more", v, int(offsetsKept.Minutes())))
	}
	warn := func(text string, bad func(topic) bool) {
		if names := c.those(bad); len(names) > 0 {
			all = append(all, text+": "+shorten(names))
		}
	}
	warn("topics with one replica lose what a lost disk held", func(t topic) bool { return t.replicas == 1 })
	warn("topics with min.insync.replicas=1 may lose acknowledged records with one broker: set it to 2", func(t topic) bool {
		return t.replicas > 2 && t.settings["min.insync.replicas"] == "1"
	})
	warn("topics with as many min.insync.replicas as replicas take no writes while one broker is away", func(t topic) bool {
		return t.replicas > 1 && t.settings["min.insync.replicas"] == strconv.Itoa(t.replicas)
	})
	warn("topics with unclean.leader.election.enable=true may lose acknowledged records: set it to false", func(t topic) bool {
		return t.settings["unclean.leader.election.enable"] == "true"
	})
	return all
}

func (c *Cluster) those(bad func(topic) bool) []string {
	names := map[string]bool{}
	for _, t := range c.topics {
		if bad(t) {
			names[t.name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func shorten(names []string) string {
	const shown = 3
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

func (c *Cluster) number(setting string) (int64, bool) {
	n, err := strconv.ParseInt(c.Settings[setting], 10, 64)
	return n, err == nil
}
