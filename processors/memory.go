package processors

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

const (
	// A span of log time is forgotten as a whole. A new id is looked for in all of
	// them, so few long ones are faster and many short ones smaller.
	spanMillis = 5 * 60 * 1000
	// spansKept before the newest are the ten minutes promised.
	spansKept = 2
	// refillChunkBytes bounds the outcomes gathered before they are put down.
	refillChunkBytes = 64 << 10
)

// memory is the command memory of one aggregate's processor: every outcome of
// the last ten minutes by log time, so that a repeated command gets its first
// answer. It implements engine.Local: what a transaction adds is visible to the
// partition's own callbacks at once, and kept only if the transaction commits.
//
// On disk there is one value per commit and partition: the outcomes one after
// the other, under span and sequence. In memory there is, per span, the hash of
// each command id and the sequence to look under, some 20 bytes a command.
type memory struct {
	clock    clock.Clock
	topic    string // of the outcomes
	outcomes OutcomeLog

	mu         sync.RWMutex
	partitions map[int32]*partitionMemory
}

// OutcomeLog reads outcomes that other instances may have written.
type OutcomeLog interface {
	// Read calls f with the committed outcomes of a partition, in order, from the
	// offset on but not those written before the time. It returns the offset to go
	// on from.
	Read(ctx context.Context, partition int32, offset int64, from avro.Millis, f func(*platform.Outcome) error) (next int64, err error)
}

func newMemory(c clock.Clock, topic string, log OutcomeLog) *memory {
	return &memory{clock: c, topic: topic, outcomes: log, partitions: map[int32]*partitionMemory{}}
}

// partitionMemory belongs to the goroutine that runs the partition's callbacks;
// the engine calls Commit and Rollback only while no callback runs.
type partitionMemory struct {
	kv     engine.KV
	seed   maphash.Seed
	spans  map[uint32]map[uint64]uint32 // span → hash of the id → sequence
	newest uint32                       // greatest span seen
	next   uint32                       // next sequence

	open pending // of the open transaction
}

// pending are outcomes that are not on disk yet.
type pending struct {
	outcomes map[string]*platform.Outcome
	chunk    []byte // the same, encoded for the disk
	span     uint32 // greatest among them
}

func (p *pending) add(out *platform.Outcome, encoded []byte) {
	p.outcomes[out.CommandID] = out
	p.span = max(p.span, spanOf(out.At))
	p.chunk = append(binary.BigEndian.AppendUint32(p.chunk, uint32(len(encoded))), encoded...)
}

func (p *pending) clear() {
	clear(p.outcomes)
	p.chunk, p.span = p.chunk[:0], 0
}

// Layout of keys: 'm', span, sequence → outcomes; 'n' → the next offset of the
// outcomes topic that is not remembered yet.
var nextKey = []byte{'n'}

func spanOf(t avro.Millis) uint32 { return uint32(int64(t) / spanMillis) }

func spanKey(span uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{'m'}, span)
}

func chunkKey(span, seq uint32) []byte {
	return binary.BigEndian.AppendUint32(spanKey(span), seq)
}

// Open loads what the local store remembers and adds what was decided elsewhere
// since: while another instance held the partition, or before a crash that the
// store did not live to see.
func (m *memory) Open(ctx context.Context, partition int32, kv engine.KV) error {
	p := &partitionMemory{
		kv: kv, seed: maphash.MakeSeed(), spans: map[uint32]map[uint64]uint32{},
		open: pending{outcomes: map[string]*platform.Outcome{}},
	}
	oldest := spanOf(avro.MillisOf(m.clock.Now())) - spansKept
	if err := p.load(oldest); err != nil {
		return fmt.Errorf("loading the command memory of partition %d: %w", partition, err)
	}
	// Spans that passed while nobody ran are over as well.
	if err := kv.Update(func(b engine.Batch) error { b.DeleteRange(spanKey(0), spanKey(oldest)); return nil }); err != nil {
		return fmt.Errorf("clearing the command memory of partition %d: %w", partition, err)
	}
	if err := m.refill(ctx, partition, p, oldest); err != nil {
		return fmt.Errorf("refilling the command memory of partition %d: %w", partition, err)
	}
	m.mu.Lock()
	m.partitions[partition] = p
	m.mu.Unlock()
	return nil
}

// refill adds what the log has and the local store has not.
func (m *memory) refill(ctx context.Context, partition int32, p *partitionMemory, oldest uint32) error {
	stored, err := p.kv.Get(nextKey)
	if err != nil {
		return err
	}
	offset := int64(0)
	if len(stored) == 8 {
		offset = int64(binary.BigEndian.Uint64(stored))
	}
	next, err := m.outcomes.Read(ctx, partition, offset, avro.Millis(oldest)*spanMillis, func(out *platform.Outcome) error {
		if !out.Repeated {
			p.open.add(out, out.AppendAvro(nil))
		}
		if len(p.open.chunk) < refillChunkBytes {
			return nil
		}
		return p.kv.Update(func(b engine.Batch) error { p.flush(b); return nil })
	})
	if err != nil || next == offset {
		return err
	}
	return p.kv.Update(func(b engine.Batch) error {
		p.flush(b)
		p.setNext(b, next)
		return nil
	})
}

func (p *partitionMemory) setNext(b engine.Batch, next int64) {
	b.Set(nextKey, binary.BigEndian.AppendUint64(nil, uint64(next)))
}

func (p *partitionMemory) load(oldest uint32) error {
	return p.kv.Iterate(spanKey(oldest), spanKey(^uint32(0)), func(k, chunk []byte) error {
		span, seq := binary.BigEndian.Uint32(k[1:]), binary.BigEndian.Uint32(k[5:])
		p.next = max(p.next, seq+1)
		return eachOutcome(chunk, func(encoded []byte) (bool, error) {
			r := avro.NewReader(encoded)
			p.index(span, seq, r.String()) // the id is an outcome's first field
			return true, nil
		})
	})
}

func (p *partitionMemory) index(span, seq uint32, id string) {
	ids := p.spans[span]
	if ids == nil {
		ids = map[uint64]uint32{}
		p.spans[span] = ids
	}
	ids[maphash.String(p.seed, id)] = seq
	p.newest = max(p.newest, span)
}

// lookup returns the first outcome of a command id, nil if it is not remembered.
func (m *memory) lookup(partition int32, commandID string) (*platform.Outcome, error) {
	p := m.partition(partition)
	if p == nil {
		return nil, fmt.Errorf("partition %d is not open here", partition)
	}
	return p.find(commandID)
}

func (m *memory) partition(partition int32) *partitionMemory {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.partitions[partition]
}

func (p *partitionMemory) find(id string) (*platform.Outcome, error) {
	if out := p.open.outcomes[id]; out != nil {
		return out, nil
	}
	hash := maphash.String(p.seed, id)
	for span, ids := range p.spans {
		seq, ok := ids[hash]
		if !ok {
			continue
		}
		chunk, err := p.kv.Get(chunkKey(span, seq))
		if err != nil {
			return nil, err
		}
		var found *platform.Outcome
		err = eachOutcome(chunk, func(encoded []byte) (bool, error) {
			r := avro.NewReader(encoded)
			if r.String() != id {
				return true, nil // another id in the commit, or one with the same hash
			}
			found = new(platform.Outcome)
			return false, found.DecodeAvro(encoded)
		})
		if found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// remember adds an outcome, with its Avro encoding, to the open transaction.
func (m *memory) remember(partition int32, out *platform.Outcome, encoded []byte) {
	if p := m.partition(partition); p != nil && !out.Repeated {
		p.open.add(out, encoded)
	}
}

// eachOutcome walks the encoded outcomes of one commit until f says stop.
func eachOutcome(chunk []byte, f func(encoded []byte) (more bool, err error)) error {
	for len(chunk) > 0 {
		if len(chunk) < 4 || int(binary.BigEndian.Uint32(chunk)) > len(chunk)-4 {
			return fmt.Errorf("the command memory holds a damaged record: remove the local store, it is refilled from the log")
		}
		end := 4 + int(binary.BigEndian.Uint32(chunk))
		more, err := f(chunk[4:end])
		if err != nil || !more {
			return err
		}
		chunk = chunk[end:]
	}
	return nil
}

// Commit puts the transaction's outcomes down beside the table and forgets
// spans that are over.
func (m *memory) Commit(partition int32, b engine.Batch) error {
	p := m.partition(partition)
	if p == nil {
		return nil
	}
	if produced := b.Produced(m.topic); produced >= 0 {
		p.setNext(b, produced+1)
	}
	p.flush(b)
	return nil
}

// flush puts the pending outcomes down as one value and forgets spans that
// are over.
func (p *partitionMemory) flush(b engine.Batch) {
	if len(p.open.outcomes) == 0 {
		return
	}
	b.Set(chunkKey(p.open.span, p.next), p.open.chunk)
	for id := range p.open.outcomes {
		p.index(p.open.span, p.next, id)
	}
	p.next++
	p.open.clear()
	p.forget(b)
}

func (p *partitionMemory) forget(b engine.Batch) {
	if p.newest < spansKept {
		return
	}
	oldest := p.newest - spansKept
	over := false
	for span := range p.spans {
		if span < oldest {
			over = true
			delete(p.spans, span)
		}
	}
	if over {
		b.DeleteRange(spanKey(0), spanKey(oldest))
	}
}

// Rollback forgets what the aborted transaction added.
func (m *memory) Rollback(partition int32) {
	if p := m.partition(partition); p != nil {
		p.open.clear()
	}
}

// Close forgets a partition that is no longer held.
func (m *memory) Close(partition int32) {
	m.mu.Lock()
	delete(m.partitions, partition)
	m.mu.Unlock()
}
