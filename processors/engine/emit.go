package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Record is what [Engine.Emit] writes. Value and header are not to be changed
// until the transaction has ended.
type Record struct {
	Topic     string // an output of the group graph, or its loop
	Key       string
	Value     []byte
	Partition int32            // -1: by the key
	Header    kgo.RecordHeader // none without a key
}

// Emit writes a record in the open transaction. It differs from ctx.Emit and
// ctx.Loopback in that it can name the partition, and in what it costs: for a
// header goka builds three maps. It fails the callback (ctx.Fail) for a topic that
// is no output of the group graph. Only the callback's own goroutine may call it.
func (e *Engine) Emit(ctx goka.Context, r Record) {
	out := e.out.Load()
	if out == nil {
		ctx.Fail(errors.New("emit outside of a group session"))
	}
	if !out.topics[r.Topic] {
		ctx.Fail(fmt.Errorf("topic %s is no output of group %s: declare it with goka.Output", r.Topic, e.cfg.Group))
	}
	rec := recordPool.Get().(*kgo.Record)
	rec.Topic, rec.Value = r.Topic, r.Value
	rec.Key = append(rec.Key[:0], r.Key...)
	rec.Headers = rec.Headers[:0]
	if r.Header.Key != "" {
		rec.Headers = append(rec.Headers, r.Header)
	}
	if r.Partition >= 0 {
		rec.Partition, rec.Context = r.Partition, forced
	}
	out.cl.Produce(context.Background(), rec, out.produced)
}
