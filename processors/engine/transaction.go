package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// A poll that brings fewer records is followed by a rest.
	restBelow        = 500
	restsPerInterval = 4
	// txnBytes of table values end the gathering of a transaction.
	txnBytes = 16 << 20
	// settledEvery is how often the broker is asked whether it is done with a transaction.
	settledEvery = 2 * time.Millisecond
)

// transaction gathers and delivers records for one commit interval and ends the
// transaction. It returns nil after a commit, when the session was revoked, and
// when polling ended with nothing gathered. What it leaves open teardown aborts.
func (s *session) transaction(polling context.Context) error {
	e := s.e
	s.out.begin()
	s.messages.reset()
	e.visited.Store(false)
	if err := s.gts.Begin(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	for _, t := range s.tables {
		t.begin()
	}
	e.gate.doOpen()
	if err := s.gather(polling); err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return nil
	}
	if err := s.await(); err != nil || s.ctx.Err() != nil {
		return err
	}
	s.worked = time.Since(s.opened)
	// Every callback has returned. No visit comes in until the next transaction.
	select {
	case <-e.gate.doClose():
	case <-s.ctx.Done():
		return nil
	}
	for _, t := range s.tables {
		t.seal()
	}
	if err := s.failure(); err != nil {
		return err
	}
	if err := s.commit(); err != nil {
		return err
	}
	e.counters.opened.Store(0)
	return nil
}

// gather waits for the first record (or a visit) as long as it takes, without a
// timer and without asking the broker more than a long fetch does. Then it
// delivers what comes within the interval.
func (s *session) gather(polling context.Context) error {
	e := s.e
	ctx, cancel := context.WithCancel(polling)
	e.idle.Store(&cancel)
	defer func() {
		e.idle.Store(nil)
		cancel()
	}()
	if e.visited.Load() { // came before the cancel function was there
		cancel()
	}
	if err := s.poll(ctx); err != nil || s.ctx.Err() != nil {
		return err
	}
	if s.records == 0 && !e.visited.Load() {
		return nil
	}
	now := time.Now()
	s.opened = now
	e.counters.opened.Store(now.UnixNano())
	interval := s.pace.interval(now)
	ctx, cancelGather := context.WithDeadline(polling, now.Add(interval))
	defer cancelGather()
	for ctx.Err() == nil && s.records < s.batch.n && s.dirtyBytes() < txnBytes {
		before := s.records
		if err := s.poll(ctx); err != nil || s.ctx.Err() != nil {
			return err
		}
		if s.records-before < restBelow && s.records < s.batch.n {
			rest(ctx, interval/restsPerInterval)
		}
	}
	return nil
}

// rest lets records gather at the broker: a fetch for each handful would cost more
// than their callbacks.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *session) dirtyBytes() (n int) {
	for _, t := range s.tables {
		_, b := t.dirty()
		n += b
	}
	return n
}

// poll delivers one poll's records to goka.
func (s *session) poll(ctx context.Context) error {
	fs := s.gts.PollRecords(ctx, s.batch.n-s.records)
	s.undelivered = s.undelivered[:0]
	for _, f := range fs {
		for ti := range f.Topics {
			t := &f.Topics[ti]
			for pi := range t.Partitions {
				p := &t.Partitions[pi]
				if err := p.Err; err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
					return fmt.Errorf("fetching %s/%d: %w", t.Topic, p.Partition, err)
				}
				if len(p.Records) == 0 {
					continue
				}
				c := s.claims[tp{t.Topic, p.Partition}]
				if c == nil {
					return fmt.Errorf("received records of %s/%d, which is not claimed", t.Topic, p.Partition)
				}
				s.undelivered = append(s.undelivered, delivery{c, p.Records})
			}
		}
	}
	return s.deliver(s.undelivered)
}

// delivery is what one poll brought of one partition.
type delivery struct {
	claim   *claim
	records []*kgo.Record
}

// turn is how many records of a partition are handed out before the next one's.
const turn = 64

// deliver hands the partitions' records out in turns. A poll brings long runs of one
// partition: one after the other they would keep one callback busy and the other
// partitions' waiting.
func (s *session) deliver(all []delivery) error {
	for i := range all {
		s.records += len(all[i].records)
		s.pending.Add(int64(len(all[i].records)))
	}
	for len(all) > 0 {
		moved, left := false, all[:0]
		for _, d := range all {
			n := 0
			for n < min(turn, len(d.records)) && d.claim.room() {
				d.claim.ch <- s.messages.of(d.records[n])
				n++
			}
			moved = moved || n > 0
			if d.records = d.records[n:]; len(d.records) > 0 {
				left = append(left, d)
			}
		}
		if all = left; moved || len(all) == 0 {
			continue
		}
		select { // all channels are full
		case all[0].claim.ch <- s.messages.of(all[0].records[0]):
			all[0].records = all[0].records[1:]
			if len(all[0].records) == 0 {
				all = all[1:]
			}
		case <-s.ctx.Done():
			return nil
		case <-s.failed:
			return errCallback
		}
	}
	return nil
}

// await returns when every delivered record is marked, that is when every callback
// has returned.
func (s *session) await() error {
	if s.pending.Load() == 0 {
		return nil
	}
	limit := time.NewTimer(s.e.cfg.TxnTimeout * 8 / 10)
	defer limit.Stop()
	for s.pending.Load() > 0 {
		select {
		case <-s.marked:
		case <-s.ctx.Done():
			return nil
		case <-s.failed:
			return errCallback
		case <-limit.C:
			return endError{fmt.Errorf("%d callbacks have not returned and the transaction timeout of %v is near: a callback is stuck, or a DeferCommit was never called", s.pending.Load(), s.e.cfg.TxnTimeout)}
		}
	}
	return nil
}

// commit ends the transaction and then changes the local store.
func (s *session) commit() error {
	e := s.e
	visited := e.visited.Load()
	if s.records == 0 && !visited {
		// Nothing was begun at the broker, and an abort asks it nothing. A commit of nothing
		// would make franz-go wait half a second before it lets a rebalance go on.
		_, err := s.gts.End(context.Background(), kgo.TryAbort)
		return err
	}
	started := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 2*e.cfg.TxnTimeout)
	defer cancel()
	keys, err := s.flush(ctx)
	if err != nil || s.ctx.Err() != nil {
		return err
	}
	if !s.out.offsets.any() {
		s.settled(ctx)
	}
	if s.records == 0 {
		ctx = s.withOffsets(ctx)
	}
	committed, err := s.gts.End(ctx, kgo.TryCommit)
	if err != nil {
		return fmt.Errorf("ending the transaction, outcome unknown: %w", err)
	}
	if !committed {
		return s.notCommitted()
	}
	if err := s.commitLocally(); err != nil {
		return endError{err}
	}
	s.adapt()
	c := &e.counters
	c.records.Add(int64(s.records))
	c.tableRecords.Add(int64(keys))
	c.commits.Add(1)
	c.lastCommit.Store(int64(time.Since(started)))
	s.records = 0
	return nil
}

// flush writes the tables' records and waits until the broker has everything.
// franz-go would commit whatever succeeded, so a failed produce is looked for here.
func (s *session) flush(ctx context.Context) (keys int, err error) {
	s.tabled = s.dirtyBytes()
	for _, t := range s.tables {
		keys += t.flush(s.e.table, func(r *kgo.Record) { s.out.cl.Produce(ctx, r, s.out.produced) })
	}
	if err := s.out.cl.Flush(ctx); err != nil {
		return keys, fmt.Errorf("flushing: %w", err)
	}
	if p := s.out.err.Load(); p != nil {
		return keys, *p
	}
	return keys, nil
}

// settled returns when the broker has written the markers of our last transaction. A busy one takes a while; it makes
// records of the next transaction wait for that, but refuses offsets that come alone (CONCURRENT_TRANSACTIONS), and
// franz-go then aborts. What the broker does not tell here it says to the commit.
func (s *session) settled(ctx context.Context) {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{s.e.cfg.TransactionalID}
	for ctx.Err() == nil && s.ctx.Err() == nil {
		resp, err := req.RequestWith(ctx, s.out.cl)
		if err != nil || len(resp.TransactionStates) != 1 || !strings.HasPrefix(resp.TransactionStates[0].State, "Prepare") {
			return
		}
		rest(ctx, settledEvery)
	}
}

// withOffsets makes a transaction of visits alone carry our present offsets.
// Without any the group's generation would not fence it, and a zombie that lost
// its partitions could still commit.
func (s *session) withOffsets(ctx context.Context) context.Context {
	committed := s.gts.Client().CommittedOffsets() // not inside: franz-go holds a lock there
	return kgo.PreTxnCommitFnContext(ctx, func(req *kmsg.TxnOffsetCommitRequest) error {
		byTopic := map[string]*kmsg.TxnOffsetCommitRequestTopic{}
		for at, c := range s.claims {
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = at.part, c.initial, -1
			if o, ok := committed[at.topic][at.part]; ok {
				p.Offset, p.LeaderEpoch = o.Offset, o.Epoch
			}
			t := byTopic[at.topic]
			if t == nil {
				nt := kmsg.NewTxnOffsetCommitRequestTopic()
				nt.Topic = at.topic
				t = &nt
				byTopic[at.topic] = t
			}
			t.Partitions = append(t.Partitions, p)
		}
		for _, t := range byTopic {
			req.Topics = append(req.Topics, *t)
		}
		return nil
	})
}

// notCommitted: either a rebalance came first, which the session's context tells
// now or in a moment, or something is wrong that only a new session clears up.
// franz-go answers "not committed" even where the broker's answer to the commit
// was lost in an unknown error, so going on from its memory could do committed
// records again. A new session asks the broker instead.
func (s *session) notCommitted() error {
	select {
	case <-s.ctx.Done():
		return nil
	case <-time.After(500 * time.Millisecond):
		return errors.New("the transaction was aborted, its records will be redone")
	}
}

// commitLocally makes what the transaction changed the committed state: of the tables
// in memory, of the local states in the store. If the process dies before or in it,
// recovery replays the rest from the changelog.
func (s *session) commitLocally() error {
	e := s.e
	for _, t := range s.tables {
		keys, _ := t.dirty()
		if keys == 0 {
			continue
		}
		off := s.out.offsets.get(e.table, t.part)
		if off < 0 {
			return fmt.Errorf("the broker took %d records of %s/%d and did not say at which offset", keys, e.table, t.part)
		}
		t.committed(off)
	}
	b := e.store.batch()
	defer e.store.reuse(b)
	for _, l := range s.locals {
		lb := localBatch{b: b, sp: l.sp, produced: func(topic string) int64 { return s.out.offsets.get(topic, l.part) }}
		if err := e.cfg.Local.Commit(l.part, lb); err != nil {
			return fmt.Errorf("local state of partition %d: %w", l.part, err)
		}
	}
	if err := e.store.apply(b); err != nil {
		return err
	}
	return s.saveOne()
}

// adapt tells the pace and the batch what came.
func (s *session) adapt() {
	s.pace.add(s.records)
	s.e.counters.interval.Store(int64(s.pace.last))
	s.batch.add(s.records, s.tabled, s.worked)
}
