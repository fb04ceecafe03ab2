package processors

import (
	"log/slog"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// aggregateProcessor is goka's side of a decider: it reads what a command needs
// and applies the effects, all within one callback.
type aggregateProcessor struct {
	t          *topology.Topology
	a          topology.Aggregate
	decider    *decider
	memory     *memory
	framer     Framer
	clock      clock.Clock
	logger     *slog.Logger
	partitions int32
	emit       emit
	counts     outcomeCounts

	events, outcomes string
	deadLetters      goka.Stream
}

// emit writes a record in the callback's transaction.
type emit func(goka.Context, engine.Record)

// graph is the goka group: commands in; events, outcomes and dead letters out;
// the table is the live snapshot. All codecs pass bytes: goka ends a processor
// whose codec fails, and a record that cannot be read must only end as a dead
// letter.
func (p *aggregateProcessor) graph() *goka.GroupGraph {
	bytes := new(codec.Bytes)
	return goka.DefineGroup(goka.Group(p.t.Group(p.a)),
		goka.Input(goka.Stream(p.t.Commands(p.a)), bytes, p.handle),
		goka.Output(goka.Stream(p.events), bytes),
		goka.Output(goka.Stream(p.outcomes), bytes),
		goka.Output(p.deadLetters, bytes),
		goka.Persist(bytes),
	)
}

func (p *aggregateProcessor) handle(ctx goka.Context, msg any) {
	in := input{source: sourceOf(ctx, msg)}
	in.at = in.timestamp
	if engine.PartitionOf(in.key, p.partitions) != in.partition {
		// The table of this key lives elsewhere: nothing may be decided here.
		p.apply(ctx, &in, p.decider.misplaced(in))
		return
	}
	in.table, _ = ctx.Value().([]byte)
	p.apply(ctx, &in, p.decider.decide(in))
}

func (p *aggregateProcessor) apply(ctx goka.Context, in *input, eff effects) {
	if eff.retry != nil {
		ctx.Fail(eff.retry) // the transaction aborts, the supervisor pauses and starts again
	}
	for _, e := range eff.events {
		p.emit(ctx, engine.Record{Topic: p.events, Key: in.key, Value: e.value, Partition: in.partition, Header: kgo.RecordHeader{Key: serde.MetaHeader, Value: e.meta}})
	}
	if eff.table != nil {
		ctx.SetValue(eff.table)
	}
	if eff.outcome != nil {
		value, err := p.frame(eff.outcome)
		if err != nil {
			ctx.Fail(err) // without an outcome the client would wait for ever
		}
		p.emit(ctx, engine.Record{Topic: p.outcomes, Key: eff.outcome.CommandID, Value: value, Partition: in.partition})
		p.memory.remember(in.partition, eff.outcome, value[serde.FrameBytes:])
		p.counts[eff.outcome.Kind].Inc()
	}
	if eff.dead != nil {
		setAside(ctx, p.framer, p.deadLetters, p.clock, p.logger, &in.source, *eff.dead)
	}
}

func (p *aggregateProcessor) frame(rec avro.Record) ([]byte, error) {
	c := chunks.Get().(*chunk)
	defer chunks.Put(c)
	return c.frame(p.framer, rec)
}

// misplaced is the end of a command on the wrong partition. Its outcome goes to
// that partition too; whoever waits reads them all.
func (d *decider) misplaced(in input) effects {
	s := &step{decider: d, in: in}
	if meta := in.header(serde.MetaHeader); meta != nil {
		_ = d.framer.Decode(meta, &s.meta) // an unreadable id has nobody waiting
	}
	return s.die(failure{
		reason: ReasonWrongPartition,
		detail: "key " + in.key + " belongs to another partition: producers must use Kafka's murmur2 partitioner, the default of Kafka's clients",
	})
}

// sourceOf copies what a callback may need of its record.
func sourceOf(ctx goka.Context, msg any) source {
	value, _ := msg.([]byte)
	return source{
		topic: string(ctx.Topic()), partition: ctx.Partition(), offset: ctx.Offset(), key: ctx.Key(),
		value: value, headers: ctx.Headers(), timestamp: avro.MillisOf(ctx.Timestamp()),
	}
}

// setAside writes the dead letter of a record in the callback's transaction.
func setAside(ctx goka.Context, framer Framer, to goka.Stream, c clock.Clock, logger *slog.Logger, src *source, f failure) {
	letter := src.letter(string(ctx.Group()), f, avro.MillisOf(c.Now()))
	value, err := framer.Append(nil, letter)
	if err != nil {
		ctx.Fail(err) // a record that is neither handled nor set aside would be lost
	}
	ctx.Emit(to, src.key, value)
	logger.Warn("record set aside", "reason", f.reason, "detail", f.detail, "topic", src.topic, "partition", src.partition, "offset", src.offset)
}
