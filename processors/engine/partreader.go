package engine

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// partReader implements sarama.PartitionConsumer.
type partReader struct {
	sarama.PartitionConsumer // nil: goka uses Messages, Errors and AsyncClose

	r *reader
	tp
	table         *table // takes what it lacks by itself, see replay; nil: goka puts it there
	start, target int64  // target: the high watermark when it was opened
	msgs          chan *sarama.ConsumerMessage
	errs          chan *sarama.ConsumerError
	closing       chan struct{}
	once          sync.Once

	mu     sync.Mutex // held while sending; AsyncClose closes the channels under it
	closed bool
	broken bool // the table did not take a record: nothing may come after it
	// goka is done with a message when it takes the next one, so the structs go
	// round: readAhead are in the channel, one is at goka, one is being filled.
	ring [readAhead + 2]sarama.ConsumerMessage
	at   int

	pos  sync.Mutex // guards next apart from mu, which may be held long
	next int64      // next offset
}

func newPartReader(r *reader, at tp, offset, target int64) *partReader {
	return &partReader{
		r: r, tp: at, start: offset, next: offset, target: target,
		msgs: make(chan *sarama.ConsumerMessage, readAhead), errs: make(chan *sarama.ConsumerError, 1),
		closing: make(chan struct{}),
	}
}

func (p *partReader) position() int64 {
	p.pos.Lock()
	defer p.pos.Unlock()
	return p.next
}

// advance returns the position before.
func (p *partReader) advance(to int64) int64 {
	p.pos.Lock()
	defer p.pos.Unlock()
	before := p.next
	p.next = to
	return before
}

func (p *partReader) behind() bool { return p.position() < p.target }

// replay puts records into the table, without goka, and returns those that goka must see:
// from the one at the target on, for by that it knows that the recovery is over. A record's
// way through goka costs several times what the table does with it.
func (p *partReader) replay(recs []*kgo.Record) []*kgo.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.position()
	if p.closed || p.broken || before >= p.target {
		return recs
	}
	fresh, n := firstFrom(recs, before), firstFrom(recs, p.target-1)
	if fresh >= n {
		return recs
	}
	if err := p.table.replay(recs[fresh:n]); err != nil {
		p.broken = true
		p.failLocked(fmt.Errorf("putting records %d to %d into the local copy of %s/%d: %w", recs[fresh].Offset, recs[n-1].Offset, p.topic, p.part, err))
		return nil
	}
	at := recs[n-1].Offset + 1
	p.advance(at)
	p.r.e.counters.restored.Add(at - before)
	return recs[n:]
}

// firstFrom is the index of the first record at the offset or after it.
func firstFrom(recs []*kgo.Record, offset int64) int {
	i, _ := slices.BinarySearchFunc(recs, offset, func(rec *kgo.Record, at int64) int { return cmp.Compare(rec.Offset, at) })
	return i
}

func (p *partReader) deliver(recs []*kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return
	}
	at := p.position()
	restored := int64(0)
	for _, rec := range recs {
		if rec.Offset < at {
			continue // left over from an earlier reading of this partition
		}
		before := at
		at = rec.Offset + 1
		control := rec.Attrs.IsControl()
		if !control && !p.send(rec.Key, rec.Value, rec) {
			return
		}
		// Passed the target without a record that goka could see there?
		if before < p.target && at >= p.target && (control || rec.Offset >= p.target) {
			p.sendEnd()
		}
		restored += min(at, p.target) - min(before, p.target)
	}
	p.advance(at)
	p.r.e.counters.restored.Add(restored)
}

// finish ends a recovery of which no record is left.
func (p *partReader) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return
	}
	if before := p.advance(p.target); before < p.target {
		p.r.e.counters.restored.Add(p.target - before)
		p.sendEnd()
	} else {
		p.advance(before)
	}
}

// sendEnd tells goka that the target is reached, as a tombstone of the key "",
// which no table has.
func (p *partReader) sendEnd() {
	p.push(sarama.ConsumerMessage{Topic: p.topic, Partition: p.part, Offset: p.target - 1})
}

func (p *partReader) send(key, value []byte, rec *kgo.Record) bool {
	m := sarama.ConsumerMessage{Topic: p.topic, Partition: p.part, Offset: rec.Offset, Key: key, Value: value, Timestamp: rec.Timestamp}
	for _, h := range rec.Headers {
		m.Headers = append(m.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return p.push(m)
}

func (p *partReader) push(msg sarama.ConsumerMessage) bool {
	if p.closed {
		return false
	}
	p.at = (p.at + 1) % len(p.ring)
	m := &p.ring[p.at]
	*m = msg
	select { // much cheaper than the one below
	case p.msgs <- m:
		return true
	default:
	}
	select {
	case p.msgs <- m:
		return true
	case <-p.closing:
		return false
	}
}

func (p *partReader) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failLocked(err)
}

// failLocked tells goka of an error. p.mu is held.
func (p *partReader) failLocked(err error) {
	if !p.closed {
		select {
		case p.errs <- &sarama.ConsumerError{Topic: p.topic, Partition: p.part, Err: err}:
		default:
		}
	}
}

// AsyncClose ends the reading; goka drains both channels until they are closed.
func (p *partReader) AsyncClose() {
	p.once.Do(func() {
		close(p.closing)
		p.r.forget(p)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closed = true
		close(p.msgs)
		close(p.errs)
	})
}

func (p *partReader) Messages() <-chan *sarama.ConsumerMessage { return p.msgs }
func (p *partReader) Errors() <-chan *sarama.ConsumerError     { return p.errs }
