package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// session runs goka on one assignment. It implements sarama.ConsumerGroupSession.
type session struct {
	sarama.ConsumerGroupSession // nil: goka calls neither Commit nor ResetOffset

	e       *Engine
	gts     *kgo.GroupTransactSession
	out     *output
	handler sarama.ConsumerGroupHandler

	ctx     context.Context // ends with the assignment, or when the session fails
	cancel  context.CancelFunc
	claims  map[tp]*claim
	refused error    // why the assignment cannot be worked on
	parts   []int32  // claimed partitions, ascending
	tables  []*table // of parts, in their order; empty without a group table
	locals  []local  // likewise

	undelivered []delivery // scratch of poll

	messages messages
	records  int          // delivered in the open transaction
	pending  atomic.Int64 // of these, not yet marked
	marked   chan struct{}
	failed   chan struct{} // closed when goka stops consuming by itself
	failOnce sync.Once
	stop     context.CancelFunc // ends polling

	pace   pace
	batch  batch
	opened time.Time     // when the open transaction's first record came
	worked time.Duration // from there to the end of its callbacks
	tabled int           // bytes of table values in the transaction that is being committed
}

type local struct {
	part int32
	sp   *space
	own  bool // sp is not the table's
}

type claim struct {
	tp
	initial int64
	ch      chan *sarama.ConsumerMessage
}

// room says that a record can be sent without waiting: the session alone sends.
func (c *claim) room() bool { return len(c.ch) < cap(c.ch) }

func (c *claim) Topic() string                            { return c.topic }
func (c *claim) Partition() int32                         { return c.part }
func (c *claim) InitialOffset() int64                     { return c.initial }
func (c *claim) HighWaterMarkOffset() int64               { return 0 } // statistics only
func (c *claim) Messages() <-chan *sarama.ConsumerMessage { return c.ch }

func newSession(e *Engine, gts *kgo.GroupTransactSession, out *output, a *assignment, h sarama.ConsumerGroupHandler) *session {
	s := &session{
		refused: a.err,
		e:       e, gts: gts, out: out, handler: h, claims: map[tp]*claim{},
		marked: make(chan struct{}, 1), failed: make(chan struct{}),
		pace: newPace(&e.cfg), batch: newBatch(&e.cfg),
	}
	e.visitFailed.Store(false)
	s.ctx, s.cancel = context.WithCancel(a.ctx)
	for at, offset := range a.claims {
		s.claims[at] = &claim{tp: at, initial: offset, ch: make(chan *sarama.ConsumerMessage, channelSize)}
		if !slices.Contains(s.parts, at.part) {
			s.parts = append(s.parts, at.part)
		}
	}
	slices.Sort(s.parts)
	return s
}

// run ends with nil when the assignment is revoked or, after a last commit, when
// the processor is stopped.
func (s *session) run(ctx context.Context) (err error) {
	e := s.e
	defer s.cancel()
	e.counters.sessions.Add(1)
	e.counters.restored.Store(0)
	e.counters.restoreTotal.Store(0)
	e.assign(s.parts)
	defer e.assign([]int32{})

	// Stopping the processor cancels a recovery, too.
	unhook := context.AfterFunc(ctx, s.cancel)
	started := time.Now()
	err = s.setup()
	unhook()
	if err != nil && s.ctx.Err() == nil {
		// No Cleanup: goka's panics on partitions that it never started.
		s.cancel()
		e.closeTables()
		return endError{err}
	}
	var wg sync.WaitGroup
	defer func() { err = s.teardown(&wg, err) }()
	if s.ctx.Err() != nil {
		return nil // revoked or stopped while restoring
	}
	if err := s.activate(); err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return nil
	}
	_, generation := s.gts.Client().GroupMetadata()
	e.log.Info("running", "generation", generation, "partitions", len(s.parts), "restored_in", time.Since(started).Round(time.Millisecond),
		"restored", e.counters.restored.Load())
	polling, stop := context.WithCancel(s.ctx)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	s.stop = stop
	e.live.doOpen()
	for _, c := range s.claims {
		wg.Go(func() { s.consume(c) })
	}
	for polling.Err() == nil {
		if err := s.transaction(polling); err != nil {
			return err
		}
	}
	return s.failure()
}

// setup lets goka restore the tables.
func (s *session) setup() error {
	ctx, cancel := context.WithTimeout(s.ctx, adminTimeout)
	defer cancel()
	if err := s.verify(); err != nil {
		return err
	}
	var tables []string
	if g := s.e.graph.Load(); g != nil {
		if g.GroupTable() != nil {
			tables = append(tables, s.e.table)
		}
		for _, j := range g.JointTables() {
			tables = append(tables, j.Topic())
		}
	}
	if err := s.e.topic.snap(ctx, tables, s.parts); err != nil {
		return err
	}
	defer s.e.topic.dropSnap()
	return s.handler.Setup(s)
}

// verify refuses an assignment on which goka would fail before it has started its
// partitions; it could not be cleaned up then.
func (s *session) verify() error {
	perTopic := map[string]int{}
	for at := range s.claims {
		perTopic[at.topic]++
	}
	for topic, n := range perTopic {
		if n != len(s.parts) {
			return fmt.Errorf("topic %s gives %d partitions and others %d: the input topics of a group must have the same number of partitions", topic, n, len(s.parts))
		}
	}
	return s.refused
}

// activate switches the tables from replay to transactions and opens the local states.
func (s *session) activate() error {
	e := s.e
	byPart := e.tablesOf(s.parts)
	if len(byPart) > 0 {
		ps, err := topics{e}.Partitions(e.table)
		if err != nil {
			return err
		}
		for _, p := range s.parts {
			t := byPart[p]
			if t == nil {
				return endError{fmt.Errorf("partition %d of %s has no table", p, e.table)}
			}
			if err := t.activate(int32(len(ps))); err != nil {
				return endError{err}
			}
			s.tables = append(s.tables, t)
		}
	}
	if e.cfg.Local == nil {
		return nil
	}
	for _, p := range s.parts {
		l := local{part: p}
		if t := byPart[p]; t != nil {
			l.sp = t.sp
		} else {
			sp, err := e.store.space("local "+e.cfg.Group, p)
			if err != nil {
				return endError{err}
			}
			l.sp, l.own = sp, true
		}
		s.locals = append(s.locals, l)
	}
	return s.openLocals()
}

func (s *session) openLocals() error {
	errs := make([]error, len(s.locals))
	var wg sync.WaitGroup
	for i, l := range s.locals {
		wg.Go(func() {
			if err := s.e.cfg.Local.Open(s.ctx, l.part, localKV{l.sp}); err != nil {
				errs[i] = fmt.Errorf("opening the local state of partition %d: %w", l.part, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil && s.ctx.Err() == nil {
		return endError{err}
	}
	return nil
}

// consume lets goka read one claim until the session ends or a callback fails.
func (s *session) consume(c *claim) {
	err := s.handler.ConsumeClaim(s, c)
	if s.ctx.Err() == nil {
		s.e.log.Debug("goka stopped consuming", "topic", c.topic, "partition", c.part, "err", err)
		s.failOnce.Do(func() {
			close(s.failed)
			s.stop()
		})
	}
}

// failure returns errCallback if a callback has failed, also one of a visit, which
// has left the gate before goka knows of it.
func (s *session) failure() error {
	select {
	case <-s.failed:
		return errCallback
	default:
	}
	if s.e.visitFailed.Load() {
		return errCallback
	}
	return nil
}

// teardown stops goka, drops what was not committed and aborts it.
func (s *session) teardown(wg *sync.WaitGroup, err error) error {
	e := s.e
	s.cancel()
	e.gate.doClose() // visits that wait get the session context's end
	wg.Wait()
	// goka's partitions have heard of the end, so visits in progress return.
	<-e.live.doClose()
	// Cleanup stops goka's partition processors and closes the tables, which drops
	// the writes of the transaction. It returns what the callbacks failed with.
	if cerr := s.handler.Cleanup(s); cerr != nil {
		if errors.Is(err, errCallback) {
			err = endError{cerr}
		} else {
			e.log.Warn("stopping the partitions", "err", cerr)
		}
	}
	for _, l := range s.locals {
		if s.records > 0 {
			e.cfg.Local.Rollback(l.part)
		}
		e.cfg.Local.Close(l.part)
		if l.own {
			l.sp.close()
		}
	}
	if s.records > 0 {
		e.counters.aborts.Add(1)
		s.records = 0
	}
	e.counters.opened.Store(0)
	// Nothing produces any more: abort what is open. If nothing is, this only clears
	// the client's memory of the rebalance, which would otherwise abort the first
	// transaction of the next generation.
	_ = s.gts.Begin() // fails if one is open, which End then aborts
	ctx, cancel := context.WithTimeout(context.Background(), e.cfg.TxnTimeout)
	defer cancel()
	if _, aerr := s.gts.End(ctx, kgo.TryAbort); aerr != nil && err == nil {
		err = fmt.Errorf("aborting: %w", aerr)
	}
	return err
}

// MarkOffset says that the callback of one record is done. Offsets are committed
// by the transaction: all that was polled.
func (s *session) MarkOffset(string, int32, int64, string) {
	if s.pending.Add(-1) == 0 {
		select {
		case s.marked <- struct{}{}:
		default:
		}
	}
}

func (s *session) MarkMessage(m *sarama.ConsumerMessage, meta string) {
	s.MarkOffset(m.Topic, m.Partition, m.Offset+1, meta)
}

func (s *session) Claims() map[string][]int32 {
	m := map[string][]int32{}
	for at := range s.claims {
		m[at.topic] = append(m[at.topic], at.part)
	}
	return m
}

func (s *session) MemberID() string {
	id, _ := s.gts.Client().GroupMetadata()
	return id
}

func (s *session) GenerationID() int32 {
	_, generation := s.gts.Client().GroupMetadata()
	return generation
}

func (s *session) Context() context.Context { return s.ctx }
