package system

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/adapters/kafka"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/topology"
)

// grant is what users of a role must be allowed, a row of the table in
// docs/how-to/operate.md.
type grant struct {
	role       string // "" for every one
	resource   kmsg.ACLResourceType
	names      []string // of the resources, with <placeholders>; "" for the cluster
	operations []kmsg.ACLOperation
	when       string // it is needed; "" for always, and then a start demands it
}

const (
	theTopic       = kmsg.ACLResourceTypeTopic
	theGroup       = kmsg.ACLResourceTypeGroup
	theTransaction = kmsg.ACLResourceTypeTransactionalId

	mayRead            = kmsg.ACLOperationRead
	mayWrite           = kmsg.ACLOperationWrite
	mayCreate          = kmsg.ACLOperationCreate
	mayDelete          = kmsg.ACLOperationDelete
	mayDescribe        = kmsg.ACLOperationDescribe
	mayDescribeConfigs = kmsg.ACLOperationDescribeConfigs
)

// tools are no role: nexus check and whatever else looks into a running system.
const tools = "tools"

type (
	names = []string
	may   = []kmsg.ACLOperation
)

// Names of topics, which groups begin with, too.
const (
	anything   = "<context>.<any>"
	commands   = "<context>.<aggregate>.commands"
	events     = "<context>.<aggregate>.events"
	outcomes   = "<context>.<aggregate>.outcomes"
	states     = "<context>.<aggregate>-table"
	changes    = "<context>.<projection>.v<N>-loop"
	documents  = "<context>.<projection>.v<N>-table"
	letters    = "<context>.dlq"
	aggregate  = "<context>.<aggregate>"
	projection = "<context>.<projection>.v<N>"
	mirror     = "<context>.<projection>.v<N>-sink"
)

// Read, Write and Delete include Describe.
var grants = []grant{
	{"", kmsg.ACLResourceTypeCluster, names{""}, may{mayDescribeConfigs}, ""},
	{"", kmsg.ACLResourceTypeCluster, names{""}, may{mayDescribe}, "the policies are to judge the ACLs"},
	{"", theTopic, names{anything}, may{mayDescribe, mayDescribeConfigs}, ""},
	{"", theTopic, names{anything}, may{mayCreate}, "topics are missing"},
	{config.Gateway, theTopic, names{commands}, may{mayWrite}, ""},
	{config.Gateway, theTopic, names{events, outcomes, states, changes, documents}, may{mayRead}, ""},
	{config.Gateway, theGroup, names{projection, mirror}, may{mayDescribe}, ""},
	{config.Processors, theTopic, names{commands}, may{mayRead}, ""},
	{config.Processors, theTopic, names{events, outcomes, states, documents}, may{mayRead, mayWrite}, ""},
	{config.Processors, theTopic, names{changes}, may{mayRead, mayWrite, mayDelete}, ""},
	{config.Processors, theTopic, names{letters}, may{mayWrite}, ""},
	// A look at a transaction of our own names the topics in it, offsets among them; it is answered without this, too.
	{config.Processors, theTopic, names{"__consumer_offsets"}, may{mayDescribe}, "no denial is to be logged"},
	{config.Processors, theGroup, names{aggregate, projection}, may{mayRead}, ""},
	{config.Processors, theTransaction, names{aggregate + ".<instance>", projection + ".<instance>"}, may{mayWrite}, ""},
	{config.Sink, theTopic, names{documents}, may{mayRead}, ""},
	{config.Sink, theTopic, names{letters}, may{mayWrite}, ""},
	{config.Sink, theGroup, names{mirror}, may{mayRead}, ""},
	{tools, theTopic, names{anything}, may{mayRead}, ""},
	{tools, theGroup, names{aggregate, projection, mirror}, may{mayDescribe}, ""},
}

// rightsOf lists the rights that a start of an instance demands of its roles, or those
// of tools.
func rightsOf(t *topology.Topology, instance string, roles []string) []kafka.Right {
	resources := map[kmsg.ACLResourceType][]string{kmsg.ACLResourceTypeCluster: {""}, theTopic: topicNames(t)}
	group := func(name string) {
		resources[theGroup] = append(resources[theGroup], name)
		resources[theTransaction] = append(resources[theTransaction], name+"."+instance)
	}
	for _, a := range t.Aggregates {
		group(t.Group(a))
	}
	for _, p := range t.Projections {
		group(t.ProjectionGroup(p))
		resources[theGroup] = append(resources[theGroup], t.SinkGroup(p))
	}
	var all []kafka.Right
	for _, g := range grants {
		everyRole := g.role == "" && !slices.Contains(roles, tools)
		if g.when != "" || !everyRole && !slices.Contains(roles, g.role) {
			continue
		}
		of := g.pattern(t, instance)
		for _, name := range resources[g.resource] {
			if !of.MatchString(name) {
				continue
			}
			for _, o := range g.operations {
				all = append(all, kafka.Right{Resource: g.resource, Name: name, Operation: o})
			}
		}
	}
	return all
}

var placeholder = regexp.MustCompile(`<\w+>`)

// pattern matches the names that the row is about.
func (g *grant) pattern(t *topology.Topology, instance string) *regexp.Regexp {
	all := make([]string, len(g.names))
	for i, name := range g.names {
		all[i] = placeholder.ReplaceAllStringFunc(regexp.QuoteMeta(name), func(holder string) string {
			switch holder {
			case "<context>":
				return regexp.QuoteMeta(t.Context)
			case "<instance>":
				return regexp.QuoteMeta(instance)
			case "<any>":
				return ".+"
			case "<N>":
				return `\d+`
			default:
				return "[^.]+"
			}
		})
	}
	return regexp.MustCompile("^(" + strings.Join(all, "|") + ")$")
}

// JudgeRights says which rights the user of an instance lacks at the broker; topics
// that are missing are left out.
func JudgeRights(ctx context.Context, t *topology.Topology, client *kgo.Client, settings *config.Config) ([]string, error) {
	return kafka.Denials(ctx, client, settings.Bus.User, rightsOf(t, settings.Instance, settings.Roles))
}

// JudgeToolRights is JudgeRights for the user of a tool that looks into a running
// system.
func JudgeToolRights(ctx context.Context, t *topology.Topology, client *kgo.Client, user string) ([]string, error) {
	return kafka.Denials(ctx, client, user, rightsOf(t, "", []string{tools}))
}

// judgeRights refuses to go on without a right: what is denied later would only be
// tried again and again.
func (s *System) judgeRights(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	denials, err := JudgeRights(ctx, s.topology, s.bus.client, &s.settings)
	if err != nil || len(denials) == 0 {
		return err
	}
	return &FaultsError{Gate: "what the broker at " + s.bus.address() + " allows (see docs/how-to/operate.md)", Faults: denials}
}

// denied says which rights are missing where something was denied: all of them, or
// the one right that a start does not demand before it is needed.
func (s *System) denied(ctx context.Context, err error) error {
	if judged := s.judgeRights(ctx); judged != nil {
		return judged
	}
	return fmt.Errorf("%s: %w", kafka.Denied(s.settings.Bus.User, kafka.Right{Resource: theTopic, Name: s.topology.Context + ".*", Operation: mayCreate}), err)
}

// rightsTable is the table of the rights, as Markdown.
func rightsTable() string {
	var b strings.Builder
	b.WriteString("| who | on | named | operations |\n|---|---|---|---|\n")
	for _, g := range grants {
		who, named := g.role, ""
		if who == "" {
			who = "every role"
		}
		if g.names[0] != "" {
			named = "`" + strings.Join(g.names, "`, `") + "`"
		}
		allowed := make([]string, len(g.operations))
		for i, o := range g.operations {
			allowed[i] = kafka.OperationName(o)
		}
		when := ""
		if g.when != "" {
			when = " where " + g.when
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s%s |\n", who, kafka.ResourceName(g.resource), named, strings.Join(allowed, ", "), when)
	}
	return b.String()
}
