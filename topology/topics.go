package topology

import (
	"fmt"
	"strconv"
	"time"
)

// Names of the topics and groups. They are contracts: other programs read them.

// Group is the aggregate's consumer group; its table is Group+"-table".
func (t *Topology) Group(a Aggregate) string { return t.Context + "." + a.Name() }

// Commands is the topic that the aggregate's commands arrive on.
func (t *Topology) Commands(a Aggregate) string { return t.Group(a) + ".commands" }

// Events is the aggregate's event store.
func (t *Topology) Events(a Aggregate) string { return t.Group(a) + ".events" }

// Outcomes is the topic with one record per command.
func (t *Topology) Outcomes(a Aggregate) string { return t.Group(a) + ".outcomes" }

// Table is the aggregate's group table: the live snapshot.
func (t *Topology) Table(a Aggregate) string { return t.Group(a) + "-table" }

// ProjectionGroup is the projection's consumer group.
func (t *Topology) ProjectionGroup(p Projection) string { return t.Context + "." + Index(p) }

// ProjectionTable is the read model itself.
func (t *Topology) ProjectionTable(p Projection) string { return t.ProjectionGroup(p) + "-table" }

// ProjectionLoop carries changes to the partition of their document's key.
func (t *Topology) ProjectionLoop(p Projection) string { return t.ProjectionGroup(p) + "-loop" }

// SinkGroup is the consumer group that mirrors the read model.
func (t *Topology) SinkGroup(p Projection) string { return t.ProjectionGroup(p) + "-sink" }

// Groups are the consumer groups of all that the topology declares, in its order.
func (t *Topology) Groups() (names []string) {
	for _, a := range t.Aggregates {
		names = append(names, t.Group(a))
	}
	for _, p := range t.Projections {
		names = append(names, t.ProjectionGroup(p), t.SinkGroup(p))
	}
	return names
}

// DeadLetters is the context's topic of records set aside.
func (t *Topology) DeadLetters() string { return t.Context + ".dlq" }

// Importing is a topic that is there exactly while an import into the context
// has begun and not been completed.
func (t *Topology) Importing() string { return t.Context + ".importing" }

// Index is the name of a read model with its version, such as "products.v1":
// its index in the search store.
func Index(p Projection) string { return p.Name() + ".v" + strconv.Itoa(p.Version()) }

// Kind is what a topic is for.
type Kind string

// The kinds of topics.
const (
	CommandTopic    Kind = "commands"
	EventTopic      Kind = "events"
	TableTopic      Kind = "table"
	OutcomeTopic    Kind = "outcomes"
	LoopTopic       Kind = "loop"
	DeadLetterTopic Kind = "dead letters"
)

// Topic is one topic of the context with the settings it must have.
type Topic struct {
	Name       string            `json:"name"`
	Kind       Kind              `json:"kind"`
	Of         string            `json:"of"` // aggregate or projection; empty for the context's own
	Key        string            `json:"key"`
	Partitions int32             `json:"partitions"`
	Config     map[string]string `json:"config"` // Kafka's names and values
	Schemas    []string          `json:"schemas"`
	Owner      string            `json:"owner"`
}

const (
	// tableBytesMax bounds a table record: a larger state is refused with an outcome.
	tableBytesMax = 8 << 20
	// recordBytesMax bounds every other record; the gateway takes smaller bodies.
	recordBytesMax = 2 << 20

	day = 24 * time.Hour
)

// settings states every setting that a guarantee hangs on. retention.ms is
// always written out: some brokers apply their default to compacted topics.
func settings(cleanup string, retention time.Duration, bytesMax int) map[string]string {
	ms := int64(-1)
	if retention > 0 {
		ms = retention.Milliseconds()
	}
	return map[string]string{
		"cleanup.policy":    cleanup,
		"retention.ms":      strconv.FormatInt(ms, 10),
		"retention.bytes":   "-1",
		"max.message.bytes": strconv.Itoa(bytesMax),
	}
}

// Topics are all topics of the context, aggregates first, in the order of
// declaration.
func (t *Topology) Topics() []Topic {
	var topics []Topic
	add := func(topic Topic) {
		topic.Partitions = t.PartitionCount()
		topics = append(topics, topic)
	}
	for _, a := range t.Aggregates {
		of, key := a.Name(), a.Name()+" id"
		commands := settings("delete", 7*day, recordBytesMax)
		// The age of a command's id is judged against the log's time, not the producer's.
		commands["message.timestamp.type"] = "LogAppendTime"
		add(Topic{Name: t.Commands(a), Kind: CommandTopic, Of: of, Key: key, Owner: a.Owner, Config: commands, Schemas: a.Commands()})
		add(Topic{Name: t.Events(a), Kind: EventTopic, Of: of, Key: key, Owner: a.Owner, Config: settings("delete", 0, recordBytesMax), Schemas: a.Events()})
		add(Topic{Name: t.Table(a), Kind: TableTopic, Of: of, Key: key, Owner: a.Owner, Config: settings("compact", 0, tableBytesMax), Schemas: []string{a.Table}})
		add(Topic{Name: t.Outcomes(a), Kind: OutcomeTopic, Of: of, Key: "command id, on the partition of the " + a.Name(), Owner: a.Owner, Config: settings("delete", 7*day, recordBytesMax), Schemas: []string{OutcomeSchema}})
	}
	for _, p := range t.Projections {
		of, key := p.Name(), "document id"
		add(Topic{Name: t.ProjectionTable(p), Kind: TableTopic, Of: of, Key: key, Owner: p.Owner, Config: settings("compact", 0, tableBytesMax), Schemas: []string{p.Table}})
		if p.Rekeyed {
			add(Topic{Name: t.ProjectionLoop(p), Kind: LoopTopic, Of: of, Key: key, Owner: p.Owner, Config: settings("delete", 0, recordBytesMax), Schemas: p.Changes()})
		}
	}
	add(Topic{Name: t.DeadLetters(), Kind: DeadLetterTopic, Key: "key of the original record", Owner: t.Owner, Config: settings("delete", 30*day, tableBytesMax), Schemas: []string{DeadLetterSchema}})
	return topics
}

// Schemas of the platform's own records.
const (
	MetadataSchema        = "nexus.Metadata"
	CommandMetadataSchema = "nexus.CommandMetadata"
	ChangeMetadataSchema  = "nexus.ChangeMetadata"
	OutcomeSchema         = "nexus.Outcome"
	DeadLetterSchema      = "nexus.DeadLetter"
)

// Subjects are the full names of all schemas that are written to topics or
// headers, each once: what must be registered.
func (t *Topology) Subjects() []string {
	seen := map[string]bool{}
	var subjects []string
	add := func(names ...string) {
		for _, n := range names {
			if !seen[n] {
				seen[n] = true
				subjects = append(subjects, n)
			}
		}
	}
	add(MetadataSchema, CommandMetadataSchema, ChangeMetadataSchema)
	for _, topic := range t.Topics() {
		add(topic.Schemas...)
	}
	return subjects
}

// Actual is a topic as a broker has it.
type Actual struct {
	Partitions int32
	Replicas   int               // of each partition
	Config     map[string]string // every setting the topic has, with Kafka's names
}

// Difference is what a broker's topic has otherwise than the topology says.
type Difference struct {
	Topic   Topic
	Setting string // Kafka's name; empty for the number of partitions
	Fault   string // what is wrong and what to do
}

// Differences lists what is wrong with the topics a broker has, all of it. Topics that are missing are none: they
// can be created.
func (t *Topology) Differences(actual map[string]Actual) []Difference {
	var all []Difference
	for _, want := range t.Topics() {
		have, ok := actual[want.Name]
		if !ok {
			continue
		}
		if have.Partitions != want.Partitions {
			all = append(all, Difference{Topic: want, Fault: fmt.Sprintf("topic %s has %d partitions, the topology says %d: state Partitions: %d in the topology, or copy the context into new topics; adding partitions would scatter its keys",
				want.Name, have.Partitions, want.Partitions, have.Partitions)})
		}
		for _, name := range sortedKeys(want.Config) {
			if got := have.Config[name]; got != want.Config[name] {
				all = append(all, Difference{Topic: want, Setting: name, Fault: fmt.Sprintf("topic %s has %s=%s, the topology needs %s: set it with kafka-configs --alter --topic %s --add-config %s=%s, after making sure that nothing was lost under the old setting",
					want.Name, name, got, want.Config[name], want.Name, name, want.Config[name])})
			}
		}
	}
	return all
}

// Compare is Differences, in words alone.
func (t *Topology) Compare(actual map[string]Actual) []string {
	var faults []string
	for _, d := range t.Differences(actual) {
		faults = append(faults, d.Fault)
	}
	return faults
}
