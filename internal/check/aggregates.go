package check

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

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

func (c *checker) aggregate(a topology.Aggregate, id string) *aggregate {
	byID := c.aggregates[a.Name()]
	if byID[id] == nil {
		byID[id] = &aggregate{state: a.NewState()}
	}
	return byID[id]
}

// events reads the log up to a second cut, judges ids, versions and hashes, and
// folds.
func (c *checker) events(ctx context.Context) error {
	second, err := logread.Settled(ctx, c.admin, c.eventTopics()...)
	if err != nil {
		return err
	}
	return c.readEvents(ctx, second)
}

// readOn folds the events that came in since the last cut, in the order of their
// time over all partitions: that is how they were most likely applied.
func (c *checker) readOn(ctx context.Context) error {
	now, err := logread.Committed(ctx, c.admin, c.eventTopics()...)
	if err != nil {
		return err
	}
	for tp, r := range now {
		r.From = max(r.From, c.read[tp].To)
		now[tp] = r
	}
	c.read = now
	came := map[logread.TopicPartition][]*kgo.Record{}
	err = c.each(ctx, now, func(r *kgo.Record) error {
		tp := logread.TopicPartition{Topic: r.Topic, Partition: r.Partition}
		came[tp] = append(came[tp], r)
		return nil
	})
	for r := oldest(came); r != nil; r = oldest(came) {
		c.event(c.byTopic[r.Topic], r)
	}
	return err
}

// oldest takes the oldest of the records that are first in their partition.
func oldest(came map[logread.TopicPartition][]*kgo.Record) *kgo.Record {
	var first *kgo.Record
	for _, records := range came {
		if len(records) > 0 && (first == nil || records[0].Timestamp.Before(first.Timestamp)) {
			first = records[0]
		}
	}
	if first != nil {
		tp := logread.TopicPartition{Topic: first.Topic, Partition: first.Partition}
		came[tp] = came[tp][1:]
	}
	return first
}

func (c *checker) readEvents(ctx context.Context, ranges map[logread.TopicPartition]logread.Range) error {
	c.read = ranges
	return c.each(ctx, ranges, func(r *kgo.Record) error {
		c.event(c.byTopic[r.Topic], r)
		return nil
	})
}

func (c *checker) event(a topology.Aggregate, r *kgo.Record) {
	at := where(r)
	ids, versions, chain := c.report.of("I2"), c.report.of("I3"), c.report.of("I9")
	ids.Checked++
	versions.Checked++
	chain.Checked++
	header, meta, err := c.metadata(r)
	if err != nil {
		versions.unreadable(err, "metadata of the event at %s cannot be read: %v", at, err)
		return
	}
	if _, twice := c.eventIDs[meta.EventID]; twice {
		ids.violate("event id %s stands a second time at %s", meta.EventID, at)
	}
	c.eventIDs[meta.EventID] = struct{}{}
	if meta.AggregateID != string(r.Key) || meta.AggregateType != a.Name() {
		versions.violate("event at %s is of %s %s, its topic and key say %s %s", at, meta.AggregateType, meta.AggregateID, a.Name(), r.Key)
		return
	}
	if why, wrong := c.misplaced(r); wrong {
		versions.violate("event of %s %s at %s: %s, where it stands it is in no order with the others", a.Name(), r.Key, at, why)
	}
	agg := c.aggregate(a, meta.AggregateID)
	if meta.Version != agg.version+1 {
		versions.violate("%s %s has version %d after %d at %s", a.Name(), r.Key, meta.Version, agg.version, at)
	}
	if meta.PreviousHash != agg.hash {
		chain.violate("%s %s version %d at %s does not follow from the event before it: that one, or this one's metadata, was altered", a.Name(), r.Key, meta.Version, at)
	}
	agg.hash = hashOf(header, r.Value)
	agg.version, agg.at = meta.Version, meta.At
	if r.Offset < c.first[logread.TopicPartition{Topic: r.Topic, Partition: r.Partition}].To {
		agg.atCut = meta.Version
	}
	c.fold(a, agg, r, at)
}

// metadata returns the header and what it says.
func (c *checker) metadata(r *kgo.Record) ([]byte, *platform.Metadata, error) {
	framed := serde.Metadata(r)
	if framed == nil {
		return nil, nil, errors.New("there is no header " + serde.MetaHeader)
	}
	meta := new(platform.Metadata)
	return framed, meta, c.Framer.Decode(framed, meta)
}

// hashOf is SHA-256 over metadata and payload without their framing.
func hashOf(header, value []byte) (sum platform.Sha256) {
	h := sha256.New()
	h.Write(header[serde.FrameBytes:])
	if len(value) > serde.FrameBytes {
		h.Write(value[serde.FrameBytes:])
	}
	h.Sum(sum[:0])
	return sum
}

func (c *checker) fold(a topology.Aggregate, agg *aggregate, r *kgo.Record, at string) {
	i := c.report.of("I4")
	rec, err := c.Framer.DecodeNew(r.Value)
	if err != nil {
		i.unreadable(err, "event at %s cannot be read: %v", at, err)
		return
	}
	if !a.RecordsEvent(rec.AvroName()) {
		i.violate("event at %s is %s, which %s does not record", at, rec.AvroName(), a.Name())
		return
	}
	if why := panics(func() { a.Evolve(agg.state, rec) }); why != "" {
		i.violate("event at %s cannot be folded: Evolve of %s panics: %s", at, a.Name(), why)
	}
	for _, p := range c.projections {
		if why := panics(func() { p.apply(rec) }); why != "" {
			c.report.of("I5").violate("event at %s cannot be folded: projection %s panics: %s", at, p.Name(), why)
		}
	}
	if agg.table != nil && agg.table.envelope.Version == agg.version && !agg.matched {
		c.compareTable(a, agg, string(r.Key))
	}
}

// panics runs a user's pure function, which altered events may lead astray, and
// says what it panicked with.
func panics(f func()) (why string) {
	defer func() {
		if v := recover(); v != nil {
			why = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}
