package check

import (
	"bytes"
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// tabled is a record of a group table.
type tabled struct {
	envelope platform.Envelope
	state    []byte // Avro
	where    string
}

// tables reads the group tables: the last record of each key. An event and its
// table record are one transaction but become visible one by one, so what was
// seen of the events at the first cut is there once the tables have settled.
func (c *checker) tables(ctx context.Context) error {
	for _, a := range c.Topology.Aggregates {
		ranges, err := logread.Settled(ctx, c.admin, c.Topology.Table(a))
		if err != nil {
			return err
		}
		if err := c.each(ctx, ranges, func(r *kgo.Record) error { c.tableRecord(a, r); return nil }); err != nil {
			return fmt.Errorf("table of %s: %w", a.Name(), err)
		}
	}
	return nil
}

func (c *checker) tableRecord(a topology.Aggregate, r *kgo.Record) {
	i, at := c.report.of("I4"), where(r)
	if why, wrong := c.misplaced(r); wrong {
		i.violate("table record of %s %s at %s: %s", a.Name(), r.Key, at, why)
		return
	}
	agg := c.aggregate(a, string(r.Key))
	if r.Value == nil {
		agg.table = nil
		return
	}
	framed, err := c.Framer.Current(a.Table, r.Value)
	if err != nil {
		i.unreadable(err, "table record of %s %s at %s cannot be read: %v", a.Name(), r.Key, at, err)
		return
	}
	t := &tabled{where: at}
	reader := avro.NewReader(framed[serde.FrameBytes:])
	t.envelope.ReadAvro(&reader)
	if !reader.OK() {
		i.violate("table record of %s %s at %s: %v", a.Name(), r.Key, at, reader.Close(a.Table))
		return
	}
	t.state = framed[len(framed)-reader.Rest():]
	if agg.table != nil && t.envelope.Version < agg.table.envelope.Version {
		i.violate("table of %s %s goes back from version %d to %d at %s", a.Name(), r.Key, agg.table.envelope.Version, t.envelope.Version, at)
	}
	agg.table = t
}

// compareTable judges a table record against the fold at its version.
func (c *checker) compareTable(a topology.Aggregate, agg *aggregate, id string) {
	i, t := c.report.of("I4"), agg.table
	agg.matched = true
	i.Checked++
	// State of another fold number is made anew at the next command: not wrong, and
	// not comparable.
	if int(t.envelope.Fold) == a.Fold() && !bytes.Equal(agg.state.AppendAvro(nil), t.state) {
		i.violate("table record of %s %s at %s differs from the fold of its %d events", a.Name(), id, t.where, agg.version)
	}
	if t.envelope.Hash != agg.hash {
		c.report.of("I9").violate("table record of %s %s at %s has another hash than event %d: one of them was altered", a.Name(), id, t.where, agg.version)
	}
	if t.envelope.At != agg.at {
		i.violate("table record of %s %s at %s says %s, event %d was recorded at %s", a.Name(), id, t.where, t.envelope.At, agg.version, agg.at)
	}
}

// settleTables judges what no event brought up: tables ahead of the log, behind
// it, or without a record.
func (c *checker) settleTables(context.Context) error {
	i := c.report.of("I4")
	for _, a := range c.Topology.Aggregates {
		for id, agg := range c.aggregates[a.Name()] {
			switch {
			case agg.table == nil && agg.atCut > 0:
				i.violate("%s %s has %d events but no table record", a.Name(), id, agg.atCut)
			case agg.table == nil:
			case agg.table.envelope.Version < agg.atCut:
				i.violate("table record of %s %s at %s stands at version %d, the log is at %d", a.Name(), id, agg.table.where, agg.table.envelope.Version, agg.atCut)
			case !agg.matched:
				i.violate("table record of %s %s at %s stands at version %d, the log has only %d", a.Name(), id, agg.table.where, agg.table.envelope.Version, agg.version)
			}
		}
	}
	return nil
}
