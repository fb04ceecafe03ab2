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
	Version  string                `json:"version"`
	Topology *topology.Description `json:"topology,omitempty"`
	Schemas  []Schema              `json:"schemas,omitzero"`
	History  *History              `json:"history,omitempty"`
	Source   *source.Facts         `json:"source,omitempty"`
	Deploy   *deploy.Facts         `json:"deploy,omitempty"`
	Live     *Live                 `json:"live,omitempty"`
}

// Live are the settings of a running broker and registry.
type Live struct {
	Topics   map[string]LiveTopic `json:"topics,omitempty"`
	Registry *LiveRegistry        `json:"registry,omitempty"`
}

// LiveTopic is a topic as the broker has it, with Kafka's names.
type LiveTopic struct {
	Partitions int32             `json:"partitions"`
	Config     map[string]string `json:"config"`
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
	return map[string]bool{
		"topology": f.Topology != nil, "schemas": f.Schemas != nil, "history": f.History != nil,
		"source": f.Source != nil, "deploy": f.Deploy != nil, "live": f.Live != nil,
	}
}
