// Package check recomputes the invariants of a running system from its topics
// and compares: commands with outcomes, versions, hashes, the fold of the log
// with tables, read models and the search store. It shares no code with the
// processors, sinks and views that it judges.
//
// It reads as of now while the system goes on: tables are read after the first
// cut through the events and before the second, so that each record of a table
// has a version that the log must contain.
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
	c := &checker{Config: cfg, admin: kadm.NewClient(cl), report: newReport()}
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
	admin  *kadm.Client
	report *Report

	first, second map[logread.TopicPartition]logread.Range // the cuts through the event topics
	aggregates    map[string]map[string]*aggregate         // by type, id
	projections   []*projection
	eventIDs      map[avro.UUID]struct{}
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

// cut notes where the events end before any table is read.
func (c *checker) cut(ctx context.Context) (err error) {
	c.first, err = logread.Committed(ctx, c.admin, c.eventTopics()...)
	return err
}
