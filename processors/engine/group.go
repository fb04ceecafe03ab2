package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// group implements sarama.ConsumerGroup on a kgo.GroupTransactSession.
//
// Order of events, all in the goroutine of Consume:
//
//	fence ─▶ join ─▶ offsets fetched with RequireStable ─▶ handler.Setup (goka restores the table)
//	      ─▶ [ begin ─▶ poll, deliver … ─▶ all marked ─▶ flush ─▶ end ─▶ local commit or rollback ]*
//	      ─▶ on a rebalance: handler.Cleanup ─▶ abort ─▶ wait for the next assignment
//
// Consume returns only when the processor shall end: goka sleeps 5 s whenever it
// returns, so rebalances and lost sessions are handled inside.
type group struct {
	sarama.ConsumerGroup // nil: goka calls neither Pause nor Resume

	e        *Engine
	errs     chan error // stays empty: errors end Consume
	memberID string     // of the last member
}

func (e *Engine) groupBuilder([]string, string, string) (sarama.ConsumerGroup, error) {
	return &group{e: e, errs: make(chan error)}, nil
}

func (g *group) Errors() <-chan error { return g.errs }
func (g *group) Close() error         { return nil }

// Consume runs group members one after the other until the context ends (nil) or
// an error says that another member would fare no better.
func (g *group) Consume(ctx context.Context, topics []string, handler sarama.ConsumerGroupHandler) error {
	e := g.e
	e.fail.Store(nil)
	for backoff := restartMin; ; backoff = min(2*backoff, restartMax) {
		started := time.Now()
		err := g.member(ctx, topics, handler)
		if err == nil {
			return nil
		}
		if err, end := ending(err); end && !g.outlived(ctx, err) {
			if errors.Is(err, ErrFenced) {
				e.counters.fenced.Add(1)
			}
			e.fail.Store(&err)
			return err
		}
		if ctx.Err() != nil {
			e.log.Warn("while stopping; what was open is aborted and will be redone", "err", err)
			return nil
		}
		if time.Since(started) > restartMax {
			backoff = restartMin
		}
		e.log.Warn("group session lost, starting over", "err", err, "in", backoff)
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return nil
		}
	}
}

const restartMin, restartMax = 100 * time.Millisecond, 10 * time.Second

// takeoverPause is how long a process that took over a transactional id may need to
// join its group.
const takeoverPause = 3 * time.Second

// outlived says that it was the broker that ended our transaction, because a failover
// or a sleep took longer than its timeout, and not a twin: a twin joins the group under
// our name, and then the group knows us no more.
func (g *group) outlived(ctx context.Context, err error) bool {
	if !g.e.cfg.StaticMember || !slices.ContainsFunc(epochErrors, func(ke error) bool { return errors.Is(err, ke) }) {
		return false
	}
	select {
	case <-time.After(takeoverPause):
	case <-ctx.Done():
		return true // stopping anyway, whoever it was
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	described, derr := g.e.adm.DescribeGroups(ctx, g.e.cfg.Group)
	if derr != nil {
		g.e.log.Warn("cannot ask who is in the group, taking it for fenced", "err", derr)
		return false
	}
	for _, m := range described[g.e.cfg.Group].Members {
		if m.InstanceID != nil && *m.InstanceID == g.e.cfg.InstanceID {
			return m.MemberID == g.memberID
		}
	}
	return false
}

// manageErrors forwards errors that end the client's group management.
type manageErrors chan error

func (m manageErrors) OnGroupManageError(err error) {
	select {
	case m <- err:
	default:
	}
}

// member is one life of a group member, with one client and one producer id.
func (g *group) member(ctx context.Context, topics []string, handler sarama.ConsumerGroupHandler) error {
	e := g.e
	if err := g.prepare(ctx); err != nil {
		return err
	}
	as, manage := &assignments{e: e, next: make(chan *assignment, 1)}, make(manageErrors, 1)
	gts, err := kgo.NewGroupTransactSession(g.memberOpts(topics, as, manage)...)
	if err != nil {
		return endError{fmt.Errorf("opening the group's client: %w", err)}
	}
	defer func() {
		g.memberID, _ = gts.Client().GroupMetadata()
		gts.Close()
	}()
	out := newOutput(e, gts.Client())
	e.out.Store(out)
	defer e.out.Store(nil)
	for {
		select {
		case a := <-as.next:
			if a.ctx.Err() != nil {
				continue // outdated already
			}
			if err := newSession(e, gts, out, a, handler).run(ctx); err != nil || ctx.Err() != nil {
				return err
			}
		case err := <-manage:
			return fmt.Errorf("group membership: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
}

// prepare shuts out a predecessor and learns the limits of the output topics.
func (g *group) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*adminTimeout)
	defer cancel()
	if graph := g.e.graph.Load(); graph != nil {
		if err := g.e.topic.loadOutputs(ctx, graph); err != nil {
			return err
		}
	}
	return g.e.fence(ctx)
}

func (g *group) memberOpts(topics []string, as *assignments, manage manageErrors) []kgo.Opt {
	c := &g.e.cfg
	opts := g.e.opts(
		kgo.WithHooks(manage),
		kgo.RecordPartitioner(enginePartitioner{}),
		kgo.TransactionalID(c.TransactionalID),
		kgo.TransactionTimeout(c.TxnTimeout),
		kgo.ConcurrentTransactionsBackoff(2*time.Millisecond),
		kgo.ProducerBatchMaxBytesFn(g.e.topic.messageBytes),
		// Emits gather until the flush, which does not wait for this. Long transactions
		// send in between, so that the flush has less to do.
		kgo.ProducerLinger(10*time.Millisecond),
		kgo.MaxBufferedRecords(50_000),
		kgo.MaxBufferedBytes(64<<20),
		kgo.UnknownTopicRetries(3),

		kgo.ConsumerGroup(c.Group),
		kgo.ConsumeTopics(topics...),
		kgo.Balancers(kgo.RangeBalancer()), // eager, as goka is, and co-partitioning
		kgo.SessionTimeout(c.SessionTimeout),
		kgo.HeartbeatInterval(c.SessionTimeout/5),
		// A revoke waits for nothing, and on some brokers members that were killed while
		// joining hold the others up for this long.
		kgo.RebalanceTimeout(min(c.TxnTimeout, 10*time.Second)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchBytes/8),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // unused: see assignments.take
		kgo.AdjustFetchOffsetsFn(as.take),
		// Called at the end of every rebalance; take is not, where nothing was given.
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, given map[string][]int32) {
			g.e.counters.spare.Store(len(given) == 0)
		}),
	)
	if c.StaticMember {
		opts = append(opts, kgo.InstanceID(c.InstanceID))
	}
	return opts
}

// fetchBytes bounds one fetch, compressed: unpacked and as records it is easily ten
// times as much, and a client holds two of them. A larger record comes all the same.
const fetchBytes = 2 << 20

// fence raises the epoch of our transactional id: it aborts the transaction that a
// dead predecessor left open and shuts out one that only seemed dead. It comes
// before the group is joined, so before offsets and table are read.
func (e *Engine) fence(ctx context.Context) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &e.cfg.TransactionalID
	req.TransactionTimeoutMillis = int32(e.cfg.TxnTimeout.Milliseconds())
	req.ProducerID, req.ProducerEpoch = -1, -1
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		resp, err := req.RequestWith(ctx, e.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) { // that one: the predecessor's is being aborted
			return fmt.Errorf("taking over transactional id %s: %w", e.cfg.TransactionalID, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("taking over transactional id %s: %w", e.cfg.TransactionalID, err)
		}
	}
}
