// Package check recomputes the invariants of a running system from its topics
// and compares: commands with outcomes, versions, hashes, the fold of the log
// with tables, read models and the search store. It shares no code with the
// processors, sinks and views that it judges.
//
// It reads as of now while the system goes on. Tables are read after a first cut
// through the events and before a second, so that each record of a table has a
// version that the log must contain; read models are compared again and again,
// until each document was found equal or stayed wrong while nothing changed it.
package check

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// Framer reads framed records by registered schemas.
type Framer interface {
	Decode(framed []byte, into avro.Record) error
	DecodeNew(framed []byte) (avro.Record, error)
	Current(name string, framed []byte) ([]byte, error)
}

// ReadModels answers queries as clients get them.
type ReadModels interface {
	// Documents calls f with the JSON of every document of a read model, as of the
	// position or later. An error says that this could not be had in time.
	Documents(ctx context.Context, readModel, position string, f func(document []byte) error) error
}

// Config of a check. Every field is required.
type Config struct {
	Topology *topology.Topology
	Framer   Framer
	Broker   []kgo.Opt // read access is enough
	Queries  ReadModels
}

// Run judges everything once. Its error means that the check could not be done.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cl, err := kgo.NewClient(cfg.Broker...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	defer cl.Close()
	c := &checker{
		Config: cfg, admin: kadm.NewClient(cl), report: newReport(), partitioner: kgo.StickyKeyPartitioner(nil).ForTopic(""),
		aggregates: map[string]map[string]*aggregate{}, eventIDs: map[avro.UUID]struct{}{}, byTopic: map[string]topology.Aggregate{},
	}
	for _, a := range cfg.Topology.Aggregates {
		c.aggregates[a.Name()] = map[string]*aggregate{}
		c.byTopic[cfg.Topology.Events(a)] = a
	}
	for _, p := range cfg.Topology.Projections {
		c.projections = append(c.projections, newProjection(cfg.Topology, p))
	}
	for _, step := range []func(context.Context) error{c.commands, c.cut, c.tables, c.events, c.settleTables, c.readModels} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	c.report.settle()
	return c.report, nil
}

type checker struct {
	Config
	admin       *kadm.Client
	report      *Report
	partitioner kgo.TopicPartitioner

	byTopic     map[string]topology.Aggregate            // by topic of events
	first, read map[logread.TopicPartition]logread.Range // the first cut through the event topics, and how far they are read
	aggregates  map[string]map[string]*aggregate         // by type, id
	projections []*projection
	eventIDs    map[avro.UUID]struct{}
}

func (c *checker) each(ctx context.Context, ranges map[logread.TopicPartition]logread.Range, f func(*kgo.Record) error) error {
	return logread.Each(ctx, ranges, f, c.Broker...)
}

func (c *checker) eventTopics() []string {
	var topics []string
	for _, a := range c.Topology.Aggregates {
		topics = append(topics, c.Topology.Events(a))
	}
	return topics
}

// misplaced says where a record belongs, if that is elsewhere. Every producer
// uses Kafka's partitioner, so a key has one partition.
func (c *checker) misplaced(r *kgo.Record) (string, bool) {
	belongs := c.partitioner.Partition(&kgo.Record{Key: r.Key}, int(c.Topology.PartitionCount()))
	if belongs == int(r.Partition) {
		return "", false
	}
	return fmt.Sprintf("its key belongs to partition %d", belongs), true
}

// cut notes where the events end before any table is read.
func (c *checker) cut(ctx context.Context) (err error) {
	c.first, err = logread.Committed(ctx, c.admin, c.eventTopics()...)
	return err
}
