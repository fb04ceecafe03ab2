package processors

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// projectionProcessor folds events into documents. A change whose document has
// the event's own key is applied at once; every other one goes over the loop
// topic to the partition of its key. Both orders give the same document, because
// a projection's fold does not depend on the order of events of different
// aggregates.
type projectionProcessor struct {
	t          *topology.Topology
	p          topology.Projection
	framer     Framer
	clock      clock.Clock
	logger     *slog.Logger
	read       prometheus.Counter // events
	emit       emit
	loop       string // topic
	checkState func(key string, valueBytes int) error

	deadLetters goka.Stream
}

func (p *projectionProcessor) graph() *goka.GroupGraph {
	bytes := new(codec.Bytes)
	edges := []goka.Edge{goka.Output(p.deadLetters, bytes), goka.Persist(bytes)}
	for _, a := range p.t.Sources(p.p) {
		edges = append(edges, goka.Input(goka.Stream(p.t.Events(a)), bytes, p.onEvent))
	}
	if p.p.Rekeyed {
		edges = append(edges, goka.Loop(bytes, p.onChange))
	}
	return goka.DefineGroup(goka.Group(p.t.ProjectionGroup(p.p)), edges...)
}

// loopback is a change on its way to the partition of its document.
type loopback struct {
	key         string
	meta, value []byte
}

func (p *projectionProcessor) onEvent(ctx goka.Context, msg any) {
	src := sourceOf(ctx, msg)
	loops, own, f := p.split(&src)
	var table []byte
	if f == nil && own != nil {
		stored, _ := ctx.Value().([]byte)
		table, f = p.fold(src.key, stored, own.record, own.at)
	}
	if f != nil { // nothing was emitted yet: a failed event changes no document
		p.setAside(ctx, &src, f)
		return
	}
	for _, l := range loops {
		p.emit(ctx, engine.Record{Topic: p.loop, Key: l.key, Value: l.value, Partition: -1, Header: kgo.RecordHeader{Key: serde.MetaHeader, Value: l.meta}})
	}
	if table != nil {
		ctx.SetValue(table)
	}
	p.read.Inc()
}

func (p *projectionProcessor) onChange(ctx goka.Context, msg any) {
	src := sourceOf(ctx, msg)
	change, f := p.change(&src)
	var table []byte
	if f == nil {
		stored, _ := ctx.Value().([]byte)
		table, f = p.fold(src.key, stored, change.record, change.at)
	}
	if f != nil {
		p.setAside(ctx, &src, f)
		return
	}
	ctx.SetValue(table)
}

// setAside ends a record that cannot be handled; one that merely cannot be
// handled now is tried again after a pause.
func (p *projectionProcessor) setAside(ctx goka.Context, src *source, f *failure) {
	if f.passes() {
		ctx.Fail(f.cause)
	}
	setAside(ctx, p.framer, p.deadLetters, p.clock, p.logger, src, *f)
}

// keyed is a change with the recorded time of its event.
type keyed struct {
	record domain.Record
	at     avro.Millis
}

// split turns an event into its changes: own for the event's own key, loops for
// the others. No change at all for an event the projection does not read.
func (p *projectionProcessor) split(src *source) (loops []loopback, own *keyed, f *failure) {
	defer caught(&f)
	c := chunks.Get().(*chunk)
	defer chunks.Put(c)
	rec, err := p.framer.DecodeNew(src.value)
	if err != nil {
		return nil, nil, &failure{reason: ReasonUndecodable, detail: "event: " + err.Error(), cause: err}
	}
	changes := p.p.Split(rec)
	if len(changes) == 0 {
		return nil, nil, nil
	}
	var meta platform.Metadata
	if err := p.framer.Decode(src.header(serde.MetaHeader), &meta); err != nil {
		return nil, nil, &failure{reason: ReasonUndecodable, detail: "header " + serde.MetaHeader + ": " + err.Error(), cause: err}
	}
	header, err := c.frame(p.framer, &platform.ChangeMetadata{EventID: meta.EventID, At: meta.At})
	if err != nil {
		return nil, nil, &failure{reason: ReasonFailed, detail: err.Error(), cause: err}
	}
	for _, ch := range changes {
		switch {
		case ch.Key == src.key:
			own = &keyed{record: ch.Record, at: meta.At}
			continue
		case !p.p.Rekeyed:
			return nil, nil, &failure{reason: ReasonFailed, detail: fmt.Sprintf("projection %s has a document %q for an event of %q: declare it Rekeyed in the topology", p.p.Name(), ch.Key, src.key)}
		}
		if faults := domain.ValidID(ch.Key); len(faults) > 0 {
			return nil, nil, &failure{reason: ReasonFailed, detail: fmt.Sprintf("projection %s has a document key that is none: %s", p.p.Name(), faults[0].Detail)}
		}
		value, err := c.frame(p.framer, ch.Record)
		if err != nil {
			return nil, nil, &failure{reason: ReasonFailed, detail: err.Error(), cause: err}
		}
		loops = append(loops, loopback{key: ch.Key, meta: header, value: value})
	}
	return loops, own, nil
}

// change decodes a record of the loop topic.
func (p *projectionProcessor) change(src *source) (c keyed, f *failure) {
	rec, err := p.framer.DecodeNew(src.value)
	if err != nil {
		return c, &failure{reason: ReasonUndecodable, detail: "change: " + err.Error(), cause: err}
	}
	var meta platform.ChangeMetadata
	if err := p.framer.Decode(src.header(serde.MetaHeader), &meta); err != nil {
		return c, &failure{reason: ReasonUndecodable, detail: "header " + serde.MetaHeader + ": " + err.Error(), cause: err}
	}
	return keyed{record: rec, at: meta.At}, nil
}

// fold applies a change to the stored document; nil stands for none yet.
func (p *projectionProcessor) fold(key string, stored []byte, change domain.Record, at avro.Millis) (table []byte, f *failure) {
	defer caught(&f)
	var env platform.DocumentEnvelope
	doc := avro.Joined{Name: p.p.Table, Head: &env, Tail: p.p.NewDocument()}
	if stored != nil {
		if err := p.framer.Decode(stored, &doc); err != nil {
			return nil, &failure{reason: ReasonUndecodable, detail: "document: " + err.Error(), cause: err}
		}
	}
	if p.p.NewChange(change.AvroName()) == nil {
		return nil, &failure{reason: ReasonFailed, detail: fmt.Sprintf("projection %s does not apply %s", p.p.Name(), change.AvroName())}
	}
	p.p.Apply(doc.Tail, change)
	env.Version++
	env.At = max(env.At, at)
	table, err := p.framer.Append(make([]byte, 0, len(stored)+64), &doc)
	if err != nil {
		return nil, &failure{reason: ReasonFailed, detail: err.Error(), cause: err}
	}
	if err := p.checkState(key, len(table)); err != nil {
		return nil, &failure{reason: ReasonFailed, detail: "the document would grow too large: " + err.Error()}
	}
	return table, nil
}

// caught makes a panic of a user's pure function a failure.
func caught(f **failure) {
	if v := recover(); v != nil {
		*f = &failure{reason: ReasonPanicked, detail: fmt.Sprint(v), stack: string(debug.Stack())}
	}
}
