package check

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

const frameBytes = 5

// aggregate is one aggregate as the log tells it, and as its table had it.
type aggregate struct {
	state   domain.Record
	version int64 // of the last event read
	atCut   int64 // version at the first cut
	hash    platform.Sha256
	at      avro.Millis

	table   *tabled // nil: no table record
	matched bool    // the fold was compared with the table at the table's version
}

// tabled is a record of a group table.
type tabled struct {
	envelope platform.Envelope
	state    []byte // Avro
	where    string
}

func (c *checker) aggregate(a topology.Aggregate, id string) *aggregate {
	byID := c.aggregates[a.Name()]
	if byID[id] == nil {
		byID[id] = &aggregate{state: a.NewState()}
	}
	return byID[id]
}

// tables reads the group tables: the last record of each key.
func (c *checker) tables(ctx context.Context) error {
	c.aggregates = map[string]map[string]*aggregate{}
	for _, a := range c.Topology.Aggregates {
		c.aggregates[a.Name()] = map[string]*aggregate{}
		ranges, err := logread.Committed(ctx, c.admin, c.Topology.Table(a))
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
	where := fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	agg := c.aggregate(a, string(r.Key))
	if r.Value == nil {
		agg.table = nil
		return
	}
	framed, err := c.Framer.Current(a.Table, r.Value)
	if err != nil {
		c.report.of("I4").violate("table record of %s %s at %s cannot be read: %v", a.Name(), r.Key, where, err)
		return
	}
	t := &tabled{where: where}
	reader := avro.NewReader(framed[frameBytes:])
	t.envelope.ReadAvro(&reader)
	if !reader.OK() {
		c.report.of("I4").violate("table record of %s %s at %s: %v", a.Name(), r.Key, where, reader.Close(a.Table))
		return
	}
	t.state = framed[len(framed)-reader.Rest():]
	if agg.table != nil && t.envelope.Version < agg.table.envelope.Version {
		c.report.of("I4").violate("table of %s %s goes back from version %d to %d at %s", a.Name(), r.Key, agg.table.envelope.Version, t.envelope.Version, where)
	}
	agg.table = t
}

// events reads the log up to a second cut, judges ids, versions and hashes, and
// folds.
func (c *checker) events(ctx context.Context) (err error) {
	if c.second, err = logread.Committed(ctx, c.admin, c.eventTopics()...); err != nil {
		return err
	}
	c.eventIDs = map[avro.UUID]struct{}{}
	for _, p := range c.Topology.Projections {
		c.projections = append(c.projections, newProjection(c.Topology, p))
	}
	return c.read(ctx, c.second)
}

func (c *checker) read(ctx context.Context, ranges map[logread.TopicPartition]logread.Range) error {
	byTopic := map[string]topology.Aggregate{}
	for _, a := range c.Topology.Aggregates {
		byTopic[c.Topology.Events(a)] = a
	}
	return c.each(ctx, ranges, func(r *kgo.Record) error {
		c.event(byTopic[r.Topic], r)
		return nil
	})
}

func (c *checker) event(a topology.Aggregate, r *kgo.Record) {
	where := fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	ids, versions, chain := c.report.of("I2"), c.report.of("I3"), c.report.of("I9")
	ids.Checked++
	versions.Checked++
	chain.Checked++
	header, meta, err := c.metadata(r)
	if err != nil {
		versions.violate("event at %s: %v", where, err)
		return
	}
	if _, twice := c.eventIDs[meta.EventID]; twice {
		ids.violate("event id %s stands a second time at %s", meta.EventID, where)
	}
	c.eventIDs[meta.EventID] = struct{}{}
	if meta.AggregateID != string(r.Key) || meta.AggregateType != a.Name() {
		versions.violate("event at %s is of %s %s, its topic and key say %s %s", where, meta.AggregateType, meta.AggregateID, a.Name(), r.Key)
		return
	}
	agg := c.aggregate(a, meta.AggregateID)
	if meta.Version != agg.version+1 {
		versions.violate("%s %s has version %d after %d at %s", a.Name(), r.Key, meta.Version, agg.version, where)
	}
	if meta.PreviousHash != agg.hash {
		chain.violate("%s %s version %d at %s does not follow from the event before it: that one, or this one's metadata, was altered", a.Name(), r.Key, meta.Version, where)
	}
	agg.hash = hashOf(header, r.Value)
	agg.version, agg.at = meta.Version, meta.At
	if r.Offset < c.first[logread.TopicPartition{Topic: r.Topic, Partition: r.Partition}].To {
		agg.atCut = meta.Version
	}
	c.fold(a, agg, r, where)
}

// metadata returns the header and what it says.
func (c *checker) metadata(r *kgo.Record) ([]byte, *platform.Metadata, error) {
	for _, h := range r.Headers {
		if h.Key == metaHeader {
			meta := new(platform.Metadata)
			return h.Value, meta, c.Framer.Decode(h.Value, meta)
		}
	}
	return nil, nil, fmt.Errorf("it has no header %s", metaHeader)
}

// hashOf is SHA-256 over metadata and payload without their framing.
func hashOf(header, value []byte) (sum platform.Sha256) {
	h := sha256.New()
	h.Write(header[frameBytes:])
	if len(value) > frameBytes {
		h.Write(value[frameBytes:])
	}
	h.Sum(sum[:0])
	return sum
}

func (c *checker) fold(a topology.Aggregate, agg *aggregate, r *kgo.Record, where string) {
	rec, err := c.Framer.DecodeNew(r.Value)
	if err != nil {
		c.report.of("I4").violate("event at %s cannot be read: %v", where, err)
		return
	}
	if !a.RecordsEvent(rec.AvroName()) {
		c.report.of("I4").violate("event at %s is %s, which %s does not record", where, rec.AvroName(), a.Name())
		return
	}
	a.Evolve(agg.state, rec)
	for _, p := range c.projections {
		p.apply(rec)
	}
	if agg.table != nil && agg.table.envelope.Version == agg.version && !agg.matched {
		agg.matched = true
		c.compare(a, agg, string(r.Key))
	}
}

// compare judges a table record against the fold at its version.
func (c *checker) compare(a topology.Aggregate, agg *aggregate, id string) {
	i, t := c.report.of("I4"), agg.table
	i.Checked++
	if int(t.envelope.Fold) == a.Fold() && !bytes.Equal(agg.state.AppendAvro(nil), t.state) {
		i.violate("table record of %s %s at %s differs from the fold of its %d events", a.Name(), id, t.where, agg.version)
	}
	if t.envelope.Hash != agg.hash {
		c.report.of("I9").violate("table record of %s %s at %s has another hash than event %d", a.Name(), id, t.where, agg.version)
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
