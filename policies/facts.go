package policies

import (
	"context"
	"os"
	"path/filepath"

	"github.com/nexusblueprint/nexus/policies/deploy"
	"github.com/nexusblueprint/nexus/policies/source"
	"github.com/nexusblueprint/nexus/topology"
)

// FactsVersion is the version of the facts' shape: the first number changes
// when a rule that was written for the last one may misread them.
// docs/reference/facts.md describes it.
const FactsVersion = "1.1"

// Facts are what rules are asked about. A nil part was not gathered; the rules
// that need it are reported as not judged.
type Facts struct {
	Version       string                `json:"version"`
	Topology      *topology.Description `json:"topology,omitempty"`
	Schemas       []Schema              `json:"schemas,omitzero"`
	History       *History              `json:"history,omitempty"`
	Source        *source.Facts         `json:"source,omitempty"`
	Deploy        *deploy.Facts         `json:"deploy,omitempty"`
	Configuration *Configuration        `json:"configuration,omitempty"`
	Live          *Live                 `json:"live,omitempty"`
}

// Configuration is what an instance is told.
type Configuration struct {
	Settings   map[string]Setting `json:"settings"` // by the keys of docs/reference/config.md
	Principals Principals         `json:"principals"`
}

// Setting is one setting with where it comes from.
type Setting struct {
	Value string `json:"value"` // empty for a secret
	From  string `json:"from"`  // file:line:column, environment variable, flag or "default"
}

// Principals are those at the broker who may do what others may not.
type Principals struct {
	Platform   []string `json:"platform"`
	BreakGlass []string `json:"breakGlass"`
}

// Live is what a running broker and registry say. A part that was not asked for,
// or not told, is nil.
type Live struct {
	Topics   map[string]LiveTopic `json:"topics,omitzero"` // of the topology's, those that are there
	Broker   *LiveBroker          `json:"broker,omitempty"`
	ACLs     []LiveACL            `json:"acls,omitzero"` // those that reach the cluster or something of the context
	Registry *LiveRegistry        `json:"registry,omitempty"`
	Unknown  []Unknown            `json:"unknown,omitempty"`
}

// LiveTopic is a topic as the broker has it, with Kafka's names.
type LiveTopic struct {
	Partitions int32             `json:"partitions"`
	Replicas   int               `json:"replicas"`
	Config     map[string]string `json:"config"`
}

// LiveBroker is the cluster.
type LiveBroker struct {
	Brokers int               `json:"brokers"`
	Config  map[string]string `json:"config"` // of one broker, with Kafka's names; empty where brokers hide a value
}

// LiveACL is a binding in the words of Kafka's tools.
type LiveACL struct {
	Principal  string `json:"principal"`
	Host       string `json:"host"`
	Permission string `json:"permission"`
	Operation  string `json:"operation"`
	Resource   string `json:"resource"`
	Name       string `json:"name"`
	Pattern    string `json:"pattern"`
}

// Unknown is a part of the live facts that was asked for and is not told, or
// not all of it.
type Unknown struct {
	Part string `json:"part"` // "topics", "broker" or "acls"
	Why  string `json:"why"`  // and what to do
}

// LiveRegistry is what the schema registry holds. A part that was not asked for
// is nil.
type LiveRegistry struct {
	Subjects []string          `json:"subjects,omitzero"` // of the topology's, those that are registered
	Levels   map[string]string `json:"levels,omitzero"`   // of compatibility, by subject
}

// Gather collects what can be judged without a running system: the topology,
// its schemas and their releases in dir/schemas/avro/history, the source of the
// module in dir and the deploy files below it.
func Gather(ctx context.Context, d topology.Description, dir string) (Facts, error) {
	facts := Facts{Version: FactsVersion, Topology: &d}
	var err error
	if facts.Source, err = source.Read(ctx, dir); err != nil {
		return facts, err
	}
	if facts.Schemas, err = ReadSchemas(d, dir); err != nil {
		return facts, err
	}
	if facts.Deploy, err = deploy.Read(dir); err != nil {
		return facts, err
	}
	facts.History, err = ReadHistory(d, os.DirFS(filepath.Join(dir, "schemas", "avro", "history")))
	return facts, err
}

// gathered says which parts there are, by the names that rules need them by.
func (f Facts) gathered() map[string]bool {
	var live Live
	if f.Live != nil {
		live = *f.Live
	}
	return map[string]bool{
		"topology": f.Topology != nil, "schemas": f.Schemas != nil, "history": f.History != nil,
		"source": f.Source != nil, "deploy": f.Deploy != nil, "configuration": f.Configuration != nil, "live": f.Live != nil,
		"live.topics": live.Topics != nil, "live.broker": live.Broker != nil, "live.acls": live.ACLs != nil, "live.registry": live.Registry != nil,
	}
}
