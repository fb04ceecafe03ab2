package topology

import (
	"fmt"
	"strings"
)

// Description is the topology as data: what `nexus topology --json` prints and
// policies judge.
type Description struct {
	Context     string                  `json:"context"`
	Owner       string                  `json:"owner"`
	Partitions  int32                   `json:"partitions"`
	Aggregates  []AggregateDescription  `json:"aggregates"`
	Projections []ProjectionDescription `json:"projections"`
	Topics      []Topic                 `json:"topics"`
	Schemas     []SchemaDescription     `json:"schemas"`
	Limits      LimitsDescription       `json:"limits"`
}

// AggregateDescription is one aggregate.
type AggregateDescription struct {
	Name     string             `json:"name"`
	Owner    string             `json:"owner"`
	Fold     int                `json:"fold"`
	Group    string             `json:"group"`
	Commands []string           `json:"commands"`
	Events   []EventDescription `json:"events"`
	State    string             `json:"state"`
	Table    string             `json:"table"`
}

// EventDescription is one event and the way it leaves the log.
type EventDescription struct {
	Name   string `json:"name"`
	Class  Class  `json:"class"`
	ReadAs string `json:"readAs,omitempty"` // of an older version: the event that upcasters make of it
}

// ProjectionDescription is one read model.
type ProjectionDescription struct {
	Name     string   `json:"name"`
	Version  int      `json:"version"`
	Owner    string   `json:"owner"`
	Group    string   `json:"group"`
	Sources  []string `json:"sources"` // topics read
	Reads    []string `json:"reads"`   // events
	Document string   `json:"document"`
	Table    string   `json:"table"`
	Rekeyed  bool     `json:"rekeyed"`
}

// SchemaDescription is one schema that is written to a topic or header.
type SchemaDescription struct {
	Subject string `json:"subject"`
	Owner   string `json:"owner"`
	Doc     string `json:"doc"`
	Schema  string `json:"schema"` // self-contained JSON text
}

// LimitsDescription are the topology's Limits.
type LimitsDescription struct {
	TemporalQueriesPerMinute int `json:"temporalQueriesPerMinute"`
}

// Describe gives the topology as data. The topology must be without Faults.
func (t *Topology) Describe() Description {
	d := Description{
		Context: t.Context, Owner: t.Owner, Partitions: t.PartitionCount(),
		Topics: t.Topics(), Limits: LimitsDescription(t.Limits),
	}
	for _, a := range t.Aggregates {
		ad := AggregateDescription{
			Name: a.Name(), Owner: a.Owner, Fold: a.Fold(), Group: t.Group(a),
			Commands: a.Commands(), State: a.NewState().AvroName(), Table: a.Table,
		}
		for _, e := range a.Events() {
			ed := EventDescription{Name: e, Class: a.ClassOf(e)}
			if newest := a.ReadAs(e); newest != e {
				ed.ReadAs = newest
			}
			ad.Events = append(ad.Events, ed)
		}
		d.Aggregates = append(d.Aggregates, ad)
	}
	for _, p := range t.Projections {
		pd := ProjectionDescription{
			Name: p.Name(), Version: p.Version(), Owner: p.Owner, Group: t.ProjectionGroup(p),
			Reads: p.Reads(), Document: p.NewDocument().AvroName(), Table: p.Table, Rekeyed: p.Rekeyed,
		}
		for _, a := range t.Sources(p) {
			pd.Sources = append(pd.Sources, t.Events(a))
		}
		d.Projections = append(d.Projections, pd)
	}
	for _, subject := range t.Subjects() {
		e := t.Schemas.Find(subject)
		d.Schemas = append(d.Schemas, SchemaDescription{Subject: subject, Owner: e.Schema().Owner(), Doc: e.Schema().Doc(), Schema: e.Text})
	}
	return d
}

// Text describes the topology for people at a terminal.
func (d Description) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "context %s, owned by %s, %d partitions\n", d.Context, d.Owner, d.Partitions)
	for _, a := range d.Aggregates {
		fmt.Fprintf(&b, "\naggregate %s (%s), fold %d\n", a.Name, a.Owner, a.Fold)
		for _, c := range a.Commands {
			fmt.Fprintf(&b, "  takes    %s\n", c)
		}
		for _, e := range a.Events {
			fmt.Fprintf(&b, "  records  %s (%s)%s\n", e.Name, e.Class, readAs(e))
		}
	}
	for _, p := range d.Projections {
		fmt.Fprintf(&b, "\nprojection %s.v%d (%s)\n", p.Name, p.Version, p.Owner)
		for _, e := range p.Reads {
			fmt.Fprintf(&b, "  reads    %s\n", e)
		}
		fmt.Fprintf(&b, "  shows    %s\n", p.Document)
	}
	b.WriteString("\ntopics\n")
	for _, t := range d.Topics {
		fmt.Fprintf(&b, "  %-36s %-12s %-8s retention.ms=%s, key: %s\n", t.Name, t.Kind, t.Config["cleanup.policy"], t.Config["retention.ms"], t.Key)
	}
	fmt.Fprintf(&b, "\nlimits\n  temporal queries per minute and principal: %d\n", d.Limits.TemporalQueriesPerMinute)
	return b.String()
}

func readAs(e EventDescription) string {
	if e.ReadAs == "" {
		return ""
	}
	return ", read as " + e.ReadAs
}

// Mermaid draws the flow of commands, events and documents as a flowchart.
func (d Description) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n  client([client]) --> gateway[gateway]\n")
	aggregateOf := map[string]string{}
	for _, a := range d.Aggregates {
		node := "agg_" + ident(a.Name)
		events := "ev_" + ident(a.Name)
		fmt.Fprintf(&b, "  gateway -- %s --> %s[%s]\n", shortNames(a.Commands), node, a.Name)
		fmt.Fprintf(&b, "  %s --> %s[(%s.events)]\n", node, events, a.Group)
		for _, e := range a.Events {
			aggregateOf[e.Name] = events
		}
	}
	for _, p := range d.Projections {
		node := "proj_" + ident(p.Name)
		bySource := map[string][]string{}
		for _, e := range p.Reads {
			bySource[aggregateOf[e]] = append(bySource[aggregateOf[e]], e)
		}
		for _, source := range sortedKeys(bySource) {
			fmt.Fprintf(&b, "  %s -- %s --> %s[%s.v%d]\n", source, shortNames(bySource[source]), node, p.Name, p.Version)
		}
		fmt.Fprintf(&b, "  %s --> search[(search store)]\n", node)
	}
	b.WriteString("  search --> gateway\n")
	return b.String()
}

func ident(name string) string { return strings.ReplaceAll(name, "-", "_") }

func shortNames(full []string) string {
	short := make([]string, len(full))
	for i, f := range full {
		short[i] = ShortName(f)
	}
	return strings.Join(short, ", ")
}
