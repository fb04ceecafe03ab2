package engine

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// producer implements goka.Producer: what callbacks emit joins the open transaction.
type producer struct{ e *Engine }

func (e *Engine) producerBuilder([]string, string, func() hash.Hash32) (goka.Producer, error) {
	return producer{e}, nil
}

func (p producer) Close() error { return nil } // the group owns the client

func (p producer) Emit(topic, key string, value []byte) *goka.Promise {
	return p.EmitWithHeaders(topic, key, value, nil)
}

// EmitWithHeaders returns a promise that is kept already. goka marks the input
// record once all its promises are kept, and here a mark means "the callback is
// done", not "the broker has it": whether the broker has everything is decided
// once per transaction, by the flush before the commit. A promise that waited for
// the broker would only add a round trip and, after an abort, would never be kept;
// goka then waits 60 s for it at shutdown.
//
// The message in the promise is nil: goka must not touch the table's offset.
//
// A kept promise calls back at once and remembers nothing, so one can serve all
// emits. There are 64, because each has a lock that is held meanwhile.
func (p producer) EmitWithHeaders(topic, key string, value []byte, headers goka.Headers) *goka.Promise {
	e := p.e
	if topic == e.table {
		// The value is in the table's overlay already. Of all values that a key takes
		// in this transaction only the last is produced, at its end.
		if len(headers) > 0 {
			e.tableHeaders(key, headers)
		}
		return e.kept[stripe(key)]
	}
	out := e.out.Load()
	if out == nil {
		_, finish := goka.NewPromiseWithFinisher()
		return finish(nil, errors.New("emit outside of a group session"))
	}
	rec := recordPool.Get().(*kgo.Record)
	rec.Topic, rec.Value = topic, value
	rec.Key = append(rec.Key[:0], key...)
	if len(headers) > 0 {
		rec.Headers = appendHeaders(rec.Headers[:0], headers)
	}
	out.cl.Produce(context.Background(), rec, out.produced)
	return e.kept[stripe(key)]
}

func stripe(key string) int {
	if n := len(key); n > 1 {
		return int(key[n-1]^key[n-2]<<3) & 63
	}
	return 0
}

// appendHeaders in the order of their names, so that equal input makes equal bytes.
func appendHeaders(dst []kgo.RecordHeader, h goka.Headers) []kgo.RecordHeader {
	for k, v := range h {
		dst = append(dst, kgo.RecordHeader{Key: k, Value: v})
	}
	if len(dst) > 1 {
		slices.SortFunc(dst, func(a, b kgo.RecordHeader) int { return strings.Compare(a.Key, b.Key) })
	}
	return dst
}

func (e *Engine) tableHeaders(key string, h goka.Headers) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, t := range e.tables {
		if t.npar > 0 && PartitionOf(key, t.npar) == t.part {
			t.setHeaders(key, h)
		}
	}
}

// recordPool holds emitted records, which franz-go lets go of when it has called
// their promise. Table records live in their table's slab.
var recordPool = sync.Pool{New: func() any { return new(kgo.Record) }}

// output is what one group member produces with.
type output struct {
	e        *Engine
	cl       *kgo.Client
	produced func(*kgo.Record, error) // onProduced as a value, made once
	topics   map[string]bool          // the graph's outputs
	offsets  offsets
	err      atomic.Pointer[error] // first produce error of the open transaction
}

func newOutput(e *Engine, cl *kgo.Client) *output {
	o := &output{e: e, cl: cl, topics: map[string]bool{}}
	if g := e.graph.Load(); g != nil {
		for _, out := range g.OutputStreams() {
			o.topics[out.Topic()] = true
		}
		if loop := g.LoopStream(); loop != nil {
			o.topics[loop.Topic()] = true
		}
	}
	o.produced = o.onProduced
	return o
}

// onProduced runs when the broker has answered, at the latest in the flush before
// the commit. franz-go calls the promises of a client one after the other.
func (o *output) onProduced(r *kgo.Record, err error) {
	if err == nil {
		o.offsets.put(r.Topic, r.Partition, r.Offset)
	} else if !errors.Is(err, kgo.ErrAborting) {
		err := o.e.produceError(r, err)
		o.err.CompareAndSwap(nil, &err)
	}
	if r.Topic != o.e.table {
		clear(r.Headers)
		*r = kgo.Record{Key: r.Key[:0], Headers: r.Headers[:0]}
		recordPool.Put(r)
	}
}

// begin readies the output for a transaction.
func (o *output) begin() {
	o.err.Store(nil)
	o.offsets.reset()
}

func (e *Engine) produceError(r *kgo.Record, err error) error {
	if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) {
		return &TooLargeError{Topic: r.Topic, Key: string(r.Key), Bytes: len(r.Key) + len(r.Value), LimitBytes: int(e.topic.messageBytes(r.Topic))}
	}
	return fmt.Errorf("producing to %s/%d: %w", r.Topic, r.Partition, err)
}

// offsets remembers the last offset that the open transaction wrote to each
// partition. Only franz-go's promise goroutine puts; the flush before the commit
// orders that before the engine's reads.
type offsets struct {
	m    map[tp]*int64
	last tp // of the last put: records of a partition come in runs
	slot *int64
}

type tp struct {
	topic string
	part  int32
}

func (o *offsets) put(topic string, part int32, offset int64) {
	if o.slot == nil || o.last.part != part || o.last.topic != topic {
		o.last = tp{topic, part}
		o.slot = o.m[o.last]
		if o.slot == nil {
			if o.m == nil {
				o.m = map[tp]*int64{}
			}
			o.slot = new(int64)
			*o.slot = -1
			o.m[o.last] = o.slot
		}
	}
	// A batch the broker had seen before is answered without its offset.
	*o.slot = max(*o.slot, offset)
}

// get returns -1 if the transaction wrote nothing there.
func (o *offsets) get(topic string, part int32) int64 {
	if p := o.m[tp{topic, part}]; p != nil {
		return *p
	}
	return -1
}

// any says whether the transaction wrote anything.
func (o *offsets) any() bool {
	for _, p := range o.m {
		if *p >= 0 {
			return true
		}
	}
	return false
}

func (o *offsets) reset() {
	for _, p := range o.m {
		*p = -1
	}
}
