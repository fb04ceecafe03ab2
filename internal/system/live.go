package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/nexusblueprint/nexus/adapters/kafka"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

// ConfigurationFacts are what policies may know of a configuration: no secret.
func ConfigurationFacts(c *config.Config) *policies.Configuration {
	facts := &policies.Configuration{Settings: map[string]policies.Setting{}, Principals: policies.Principals{
		Platform: append([]string{}, c.Bus.Platform()...), BreakGlass: append([]string{}, c.Bus.BreakGlass...),
	}}
	for key, s := range c.Stated() {
		facts.Settings[key] = policies.Setting(s)
	}
	return facts
}

// BrokerFacts asks a cluster for all that policies may know of it. What it does
// not tell is said, too, and is no error.
func BrokerFacts(ctx context.Context, t *topology.Topology, client *kgo.Client, bus config.Bus) *policies.Live {
	live := &policies.Live{}
	if actual, err := ActualTopics(ctx, kadm.NewClient(client), t); err != nil {
		live.Unknown = append(live.Unknown, policies.Unknown{Part: "topics", Why: err.Error()})
	} else {
		live.Topics = topicFacts(actual)
	}
	askBroker(ctx, live, t, client, bus)
	return live
}

// NoBroker are the facts of a cluster that cannot be reached.
func NoBroker(why error) *policies.Live {
	live := &policies.Live{}
	for _, part := range []string{"topics", "broker", "acls"} {
		live.Unknown = append(live.Unknown, policies.Unknown{Part: part, Why: why.Error()})
	}
	return live
}

func topicFacts(actual map[string]topology.Actual) map[string]policies.LiveTopic {
	facts := map[string]policies.LiveTopic{}
	for name, topic := range actual {
		facts[name] = policies.LiveTopic(topic)
	}
	return facts
}

// askBroker adds the cluster's settings and ACLs to what is known of its topics.
func askBroker(ctx context.Context, live *policies.Live, t *topology.Topology, client *kgo.Client, bus config.Bus) {
	unknown := func(part, format string, args ...any) {
		live.Unknown = append(live.Unknown, policies.Unknown{Part: part, Why: fmt.Sprintf(format, args...)})
	}
	if cluster, err := kafka.Look(ctx, kadm.NewClient(client)); err != nil {
		unknown("broker", "%v", err)
	} else {
		live.Broker = &policies.LiveBroker{Brokers: cluster.Brokers, Config: cluster.Settings}
	}
	acls, err := kafka.ACLs(ctx, client)
	switch {
	case errors.Is(err, kafka.ErrNoAuthorizer):
		unknown("acls", "%v, so whoever reaches it may write and delete events: set authorizer.class.name, and give each principal its rights (docs/how-to/operate.md)", err)
		return
	case errors.Is(err, kafka.ErrNotTold):
		unknown("acls", "%s, and so is told no ACLs: grant it", kafka.Denied(bus.User, kafka.Right{Resource: kmsg.ACLResourceTypeCluster, Operation: mayDescribe}))
		return
	case err != nil:
		unknown("acls", "%v", err)
		return
	}
	live.ACLs = []policies.LiveACL{}
	for _, acl := range acls {
		if reaches(acl, t) {
			live.ACLs = append(live.ACLs, policies.LiveACL(acl))
		}
	}
	// Kafka lets everyone do everything to what no ACL is about, if a setting says so whose value brokers hide.
	const everyone = "allow.everyone.if.no.acl.found"
	if live.Broker != nil {
		if value, set := live.Broker.Config[everyone]; !set || value == "false" {
			return
		}
	}
	for _, topic := range t.Topics() {
		if topic.Kind == topology.EventTopic && !slices.ContainsFunc(acls, func(a kafka.ACL) bool { return a.Reaches("topic", topic.Name) }) {
			unknown("acls", "no ACL is about %s, and brokers do not tell whether %s lets everyone write and delete there: give the platform's principals their rights by ACLs (docs/how-to/operate.md)", topic.Name, everyone)
			return
		}
	}
}

// reaches says whether an ACL is about the cluster or something of the context.
func reaches(acl kafka.ACL, t *topology.Topology) bool {
	switch acl.Resource {
	case "cluster":
		return true
	case "topic":
		return slices.ContainsFunc(t.Topics(), func(topic topology.Topic) bool { return acl.Reaches("topic", topic.Name) })
	case "group":
		return slices.ContainsFunc(t.Groups(), func(name string) bool { return acl.Reaches("group", name) })
	default: // transactional ids end with the name of an instance
		return acl.Name == "*" || strings.HasPrefix(acl.Name, t.Context+".") || acl.Pattern == "prefixed" && strings.HasPrefix(t.Context+".", acl.Name)
	}
}

// lookupsAtATime bounds how many questions a registry has at once.
const lookupsAtATime = 8

// CompareRegistered adds to a history what breaks between today's schemas and
// the versions that a registry holds of them. Those it lacks break nothing.
func CompareRegistered(ctx context.Context, registry ports.SchemaRegistry, d topology.Description, h *policies.History) error {
	held := make([][]ports.SchemaVersion, len(d.Schemas))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(lookupsAtATime)
	for i, s := range d.Schemas {
		group.Go(func() (err error) {
			held[i], err = registry.Versions(gctx, s.Subject)
			if errors.Is(err, ports.ErrUnknownSchema) {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, s := range d.Schemas {
		for _, v := range held[i] {
			if err := h.Compare(s.Subject, fmt.Sprintf("version %d in the registry", v.Number), s.Schema, v.Text); err != nil {
				return err
			}
		}
	}
	return nil
}
