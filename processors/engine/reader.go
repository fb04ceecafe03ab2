package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reader implements sarama.Consumer for goka's partition tables: the group table,
// joined tables, lookup tables and views. While it has partitions to read it holds
// one franz-go client that reads them committed; else it holds nothing.
//
// goka ends a recovery when it sees a record at the high watermark minus one. In a
// log written by transactions that offset is a transaction marker (or an aborted
// record), which no consumer is shown: goka would wait for ever. The reader
// therefore keeps control records, knows by them that it has passed the high
// watermark found when it was opened, and hands goka an empty tombstone there.
//
// A read-committed consumer cannot pass the last stable offset. Passing the high
// watermark hence also means: every transaction that was open on the partition
// when recovery began has ended, and its outcome is in the table.
type reader struct {
	sarama.Consumer // nil: goka uses ConsumePartition, HighWaterMarks and Close

	e       *Engine
	tableOf func(tp) *table // see partReader.table
	ctx     context.Context
	cancel  context.CancelFunc

	mu      sync.Mutex
	parts   map[tp]*partReader
	added   []*partReader      // not yet known to the client
	changed context.CancelFunc // ends the poll in progress
	running bool
	closed  bool
	wg      sync.WaitGroup
}

const (
	readAhead = 256 // records per partition
	readTurn  = 32  // records that a partition gets before the next has its turn
	// goka opens the partitions of a table one after the other; a client that is told
	// of them one by one would interrupt its fetches as often.
	gatherOpens = 2 * time.Millisecond
	// A recovery that sees no record for this long asks whether there will be any. The
	// first fetch from a broker that has to read its disk takes most of the least.
	stallMin, stallMax = 100 * time.Millisecond, time.Second
	// A recovery takes what there is, and a round trip for each piece.
	recoverFetchBytes = 2 * fetchBytes
)

func newReader(e *Engine, tableOf func(tp) *table) *reader {
	ctx, cancel := context.WithCancel(context.Background())
	return &reader{e: e, tableOf: tableOf, ctx: ctx, cancel: cancel, parts: map[tp]*partReader{}}
}

func (r *reader) HighWaterMarks() map[string]map[int32]int64 { return nil } // statistics only

// Close ends all partitions' reading.
func (r *reader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	return nil
}

// ConsumePartition reads from offset on. It may be called again for a partition
// after AsyncClose.
func (r *reader) ConsumePartition(topic string, part int32, offset int64) (sarama.PartitionConsumer, error) {
	target, err := topics{r.e}.GetOffset(topic, part, sarama.OffsetNewest)
	if err != nil {
		return nil, err
	}
	p := newPartReader(r, tp{topic, part}, offset, target)
	p.table = r.tableOf(p.tp)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, errors.New("reader is closed")
	case r.parts[p.tp] != nil:
		return nil, fmt.Errorf("%s/%d is being read already", topic, part)
	}
	r.parts[p.tp] = p
	r.added = append(r.added, p)
	r.e.counters.restoreTotal.Add(max(target-offset, 0))
	if !r.running {
		r.running = true
		r.wg.Go(r.run)
	} else if r.changed != nil {
		r.changed()
	}
	return p, nil
}

// run polls while there are partitions to read.
func (r *reader) run() {
	cl, err := kgo.NewClient(r.e.opts(
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(time.Second),
		kgo.FetchMaxBytes(recoverFetchBytes),
		kgo.FetchMaxPartitionBytes(recoverFetchBytes/4),
		// The log of a table cannot begin after the offset it was asked for, see checkStore.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)...)
	if err != nil {
		r.failAll(err)
		return
	}
	defer cl.Close()
	known := map[tp]bool{} // to the client
	for stall := stallMin; ; {
		ctx, cancel, ok := r.next(cl, known)
		if !ok {
			return
		}
		behind := r.behind()
		if len(behind) > 0 { // only then may a timer run
			ctx, cancel = context.WithTimeout(ctx, stall)
		}
		fs := cl.PollFetches(ctx)
		timedOut := ctx.Err() == context.DeadlineExceeded
		cancel()
		if r.deliver(fs) > 0 {
			stall = stallMin
		} else if timedOut {
			r.probe(behind)
			stall = min(2*stall, stallMax)
		}
	}
}

// next makes the client read what was asked for since the last poll. It answers
// false when nothing is left to read.
func (r *reader) next(cl *kgo.Client, known map[tp]bool) (context.Context, context.CancelFunc, bool) {
	r.mu.Lock()
	if len(r.added) > 0 {
		r.mu.Unlock()
		select {
		case <-time.After(gatherOpens):
		case <-r.ctx.Done():
		}
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	if len(r.parts) == 0 || r.ctx.Err() != nil {
		r.running, r.changed = false, nil
		return nil, nil, false
	}
	add, again, gone := map[string]map[int32]kgo.Offset{}, map[string][]int32{}, map[string][]int32{}
	for at, p := range r.parts {
		if len(r.added) == 0 {
			break
		}
		// All anew: partitions that are merely added wait for the end of the fetch in
		// flight, which is a long one if the others have nothing to say.
		if known[at] {
			again[at.topic] = append(again[at.topic], at.part)
		}
		if add[at.topic] == nil {
			add[at.topic] = map[int32]kgo.Offset{}
		}
		add[at.topic][at.part] = kgo.NewOffset().At(p.position())
		known[at] = true
	}
	r.added = nil
	for at := range known {
		if r.parts[at] == nil {
			gone[at.topic] = append(gone[at.topic], at.part)
		}
	}
	// A pause leaves fetches in flight alone; removing does not.
	cl.PauseFetchPartitions(gone)
	if len(add) > 0 {
		cl.RemoveConsumePartitions(again)
		cl.ResumeFetchPartitions(again)
		cl.AddConsumePartitions(add)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	r.changed = cancel
	return ctx, cancel, true
}

// behind returns the partitions that have not reached their target.
func (r *reader) behind() (ps []*partReader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.parts {
		if p.behind() {
			ps = append(ps, p)
		}
	}
	return ps
}

// deliver hands the partitions their records. Tables that take them by themselves do so
// at once, all at a time. To goka they go in turns: a fetch brings long runs of one
// partition, and goka works on all of them at once.
func (r *reader) deliver(fs kgo.Fetches) (n int) {
	type run struct {
		p    *partReader
		recs []*kgo.Record
	}
	var runs []run
	fs.EachPartition(func(f kgo.FetchTopicPartition) {
		if f.Topic == "" { // our own context's end, or the client's
			return
		}
		r.mu.Lock()
		p := r.parts[tp{f.Topic, f.Partition}]
		r.mu.Unlock()
		if p == nil {
			return
		}
		if f.Err != nil {
			p.fail(f.Err)
			return
		}
		n += len(f.Records)
		if i := slices.IndexFunc(runs, func(u run) bool { return u.p == p }); i >= 0 { // it moved between brokers
			runs[i].recs = append(runs[i].recs, f.Records...)
			return
		}
		runs = append(runs, run{p, f.Records})
	})
	var replays sync.WaitGroup
	for i := range runs {
		if u := &runs[i]; u.p.table != nil {
			replays.Go(func() { u.recs = u.p.replay(u.recs) })
		}
	}
	replays.Wait()
	for len(runs) > 0 {
		left := runs[:0]
		for _, u := range runs {
			k := min(len(u.recs), readTurn)
			u.p.deliver(u.recs[:k])
			if u.recs = u.recs[k:]; len(u.recs) > 0 {
				left = append(left, u)
			}
		}
		runs = left
	}
	return n
}

func (r *reader) failAll(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = false
	for _, p := range r.parts {
		p.fail(err)
	}
}

// forget is called by a partition that was closed.
func (r *reader) forget(p *partReader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parts[p.tp] == p {
		delete(r.parts, p.tp)
	}
	if r.changed != nil {
		r.changed()
	}
}
