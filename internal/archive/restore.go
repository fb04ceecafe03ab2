package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// Target is the system that events are restored into. Its registry has the
// archive's Schemas and the program's own, nothing of it runs, and its topics
// are there: empty, or with what an earlier Restore of the same archive has
// written before it was interrupted.
type Target struct {
	Framer   *serde.Serde
	Registry ports.SchemaRegistry
	Broker   []kgo.Opt               // write access
	Progress func(done, total int64) // events; may be nil
}

// ErrOther says that the topics hold events that are not the archive's.
var ErrOther = errors.New("the topics hold other events than the archive")

// ErrLost says that the topics lack what the broker has acknowledged.
var ErrLost = errors.New("the broker has acknowledged them and does not have them")

// Sizes of one transaction of a restore, and of what one request may hold: less
// than the topics take.
const (
	restoreEventsMax = 5000
	restoreBytesMax  = 16 << 20
	eventBatchBytes  = 2 << 20
	tableBatchBytes  = 8 << 20
)

// Restore writes the events with their ids, versions, metadata and payloads as
// they were, and the tables that they fold to. What projections, views and
// search stores hold comes from the events by itself. Of the memory of commands
// it restores what events tell: the last accepted ones of each aggregate.
//
// It may be called again after it was interrupted, and goes on then; one that
// still runs elsewhere fails. Errors: ErrOther, ErrLost.
func (a *Archive) Restore(ctx context.Context, to Target) (err error) {
	r := &restore{Target: to, archive: a, ids: map[ports.Schema]uint32{}, written: heads{}}
	for _, s := range a.Schemas() {
		id, err := to.Registry.Lookup(ctx, s)
		if err != nil {
			return err
		}
		r.ids[s] = id
	}
	// Both before the first look at the topics: from here on nothing that an earlier
	// Restore has left open or still sends becomes visible.
	if r.events, err = newProducer(ctx, to.Broker, a.topology.Importing()+".events", eventBatchBytes); err != nil {
		return err
	}
	defer r.events.close()
	if r.tables, err = newProducer(ctx, to.Broker, a.topology.Importing()+".tables", tableBatchBytes); err != nil {
		return err
	}
	defer r.tables.close()
	if r.there, err = r.found(ctx); err != nil {
		return err
	}
	judge := newChains(a.topology)
	for _, f := range a.files {
		if err := r.file(ctx, judge, f); err != nil {
			return err
		}
	}
	return r.readBack(ctx)
}

// readBack makes sure that the topics hold what the broker has acknowledged.
func (r *restore) readBack(ctx context.Context) error {
	there, err := r.log(ctx)
	if err != nil {
		return fmt.Errorf("reading back what was written: %w", err)
	}
	lost := 0
	for key, last := range r.written {
		if there[key] != last {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("the last events of %d of %d aggregates: %w", lost, len(r.written), ErrLost)
	}
	return nil
}

type restore struct {
	Target
	archive        *Archive
	ids            map[ports.Schema]uint32
	events, tables *producer
	there          heads // before
	written        heads
	done           int64
}

// folded is an aggregate on its way into its table.
type folded struct {
	envelope platform.Envelope
	state    domain.Record
}

func (r *restore) file(ctx context.Context, judge *chains, f file) error {
	metadata, events, err := r.idsOf(f.header)
	if err != nil {
		return err
	}
	tables := map[string]*folded{}
	var aggregate topology.Aggregate
	_, err = r.archive.each(ctx, judge, f.path, func(c *chain, e Event, m fact) error {
		aggregate = c.aggregate
		value := frame(events[e.PayloadSchema], e.Payload)
		if err := r.fold(c, tables, e, m, value); err != nil {
			return err
		}
		if r.done++; r.Progress != nil {
			r.Progress(r.done, r.archive.events)
		}
		key := aggregateKey{m.aggregateType, m.aggregateID}
		r.written[key] = c.heads[m.aggregateID]
		if m.version <= r.there[key].version {
			return nil
		}
		return r.events.write(&kgo.Record{
			Topic: r.archive.topology.Events(c.aggregate), Key: []byte(m.aggregateID), Value: value, Timestamp: m.at.Time(),
			Headers: []kgo.RecordHeader{{Key: serde.MetaHeader, Value: frame(metadata[e.MetadataSchema], e.Metadata)}},
		})
	})
	if err == nil {
		err = r.events.commit()
	}
	if err != nil || len(tables) == 0 {
		return err
	}
	return r.table(aggregate, tables)
}

// idsOf are the registry's ids of a file's schemas, in their order.
func (r *restore) idsOf(h Header) (metadata, events []uint32, err error) {
	parsed, err := h.parse()
	if err != nil {
		return nil, nil, err
	}
	for i, s := range parsed.metadata {
		metadata = append(metadata, r.ids[ports.Schema{Subject: s.Name(), Text: h.Metadata[i]}])
	}
	for i, s := range parsed.events {
		events = append(events, r.ids[ports.Schema{Subject: s.Name(), Text: h.Events[i]}])
	}
	return metadata, events, nil
}

func frame(id uint32, payload []byte) []byte {
	framed := make([]byte, 0, serde.FrameBytes+len(payload))
	framed = append(framed, 0, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	return append(framed, payload...)
}

// fold applies an event to the table record of its aggregate.
func (r *restore) fold(c *chain, tables map[string]*folded, e Event, m fact, framed []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the aggregate's Evolve panics: %v", v)
		}
		if err != nil {
			err = &FaultError{File: c.file, Record: e.Number, Field: "event", Reason: err.Error(), Kind: ErrForeign}
		}
	}()
	rec, err := r.Framer.DecodeNew(framed)
	if err != nil {
		return err
	}
	f := tables[m.aggregateID]
	if f == nil {
		f = &folded{state: c.aggregate.NewState(), envelope: platform.Envelope{Fold: int32(c.aggregate.Fold())}}
		tables[m.aggregateID] = f
	}
	c.aggregate.Evolve(f.state, rec)
	f.envelope.Version, f.envelope.At, f.envelope.Hash = m.version, m.at, c.heads[m.aggregateID].hash
	f.envelope.EventsSinceSnapshot++
	f.envelope.BytesSinceSnapshot += int64(len(e.Payload))
	f.remember(m, c.parsed.events[e.PayloadSchema].Name()) // as it was recorded, not as it is read today
	return nil
}

// remember notes the command that caused an event. Its type and body are not in
// the event: they stay empty, and say so.
func (f *folded) remember(m fact, eventType string) {
	recent := f.envelope.Recent
	if n := len(recent); n == 0 || recent[n-1].CommandID != m.commandID {
		recent = append(recent, platform.Remembered{CommandID: m.commandID, Kind: platform.OutcomeKindAccepted})
		recent = recent[max(0, len(recent)-ports.RememberedMax):]
	}
	last := &recent[len(recent)-1]
	last.Version, last.EventTypes = m.version, append(last.EventTypes, eventType)
	f.envelope.Recent = recent
}

func (r *restore) table(a topology.Aggregate, tables map[string]*folded) error {
	id, registered := r.Framer.ID(a.Table)
	if !registered {
		return fmt.Errorf("schema %s: %w", a.Table, serde.ErrNotRegistered)
	}
	if err := r.place(a); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(tables)) {
		f := tables[key]
		record := f.state.AppendAvro(f.envelope.AppendAvro(nil))
		if err := r.tables.write(&kgo.Record{
			Topic: r.archive.topology.Table(a), Key: []byte(key), Value: frame(id, record), Timestamp: f.envelope.At.Time(),
		}); err != nil {
			return err
		}
	}
	return r.tables.commit()
}

// place commits where the aggregate's group begins to read commands, before its table
// has a row: a group with a filled table and without offsets is taken for one that has
// lost them.
func (r *restore) place(a topology.Aggregate) error {
	ctx, admin := r.tables.ctx, kadm.NewClient(r.tables.cl)
	commands, group := r.archive.topology.Commands(a), r.archive.topology.Group(a)
	starts, err := admin.ListStartOffsets(ctx, commands)
	if err == nil {
		err = starts.Error()
	}
	if err == nil {
		err = admin.CommitAllOffsets(ctx, group, starts.Offsets())
	}
	if err != nil {
		return fmt.Errorf("committing where group %s begins in %s: %w", group, commands, err)
	}
	return nil
}

// producer writes transactions of bounded size.
type producer struct {
	ctx    context.Context
	cl     *kgo.Client
	events int
	bytes  int

	mu  sync.Mutex
	err error // the first
}

// newProducer shuts out every other producer of the id, and ends what one has
// left open.
func newProducer(ctx context.Context, broker []kgo.Opt, id string, batchBytes int32) (*producer, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.TransactionalID(id),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchMaxBytes(batchBytes),
		kgo.MaxBufferedRecords(2 * restoreEventsMax),
	}, broker...)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	if _, _, err := cl.ProducerID(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("beginning transactions as %s: %w", id, err)
	}
	return &producer{ctx: ctx, cl: cl}, nil
}

func (p *producer) write(rec *kgo.Record) error {
	if p.events == 0 {
		if err := p.cl.BeginTransaction(); err != nil {
			return err
		}
	}
	p.cl.Produce(p.ctx, rec, func(_ *kgo.Record, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err == nil {
			p.err = err
		}
	})
	p.events++
	p.bytes += len(rec.Value)
	if p.events >= restoreEventsMax || p.bytes >= restoreBytesMax {
		return p.commit()
	}
	return nil
}

func (p *producer) commit() error {
	if p.events == 0 {
		return nil
	}
	p.events, p.bytes = 0, 0
	err := p.cl.Flush(p.ctx)
	p.mu.Lock()
	err = errors.Join(err, p.err)
	p.mu.Unlock()
	if err == nil {
		err = p.cl.EndTransaction(p.ctx, kgo.TryCommit)
	}
	if errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) {
		return fmt.Errorf("another import into the same topics has begun and goes on from here: %w", err)
	}
	if err != nil {
		return fmt.Errorf("writing restored records: %w", err)
	}
	return nil
}

func (p *producer) close() { p.cl.Close() }
