package views

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/ports"
)

const (
	// idleWait is how long the broker may hold a fetch while nothing comes: what an idle view costs.
	idleWait = 5 * time.Second
	// Bounds of the records in memory: one poll is being put down, haulsMax wait for it, the client holds one fetch.
	fetchBytesMax     = 1 << 20
	partitionBytesMax = 256 << 10
	pollMax           = 5_000
	haulsMax          = 1

	// readersWait is the pause of views that nobody waits for: it is what they are behind when all is well.
	readersWait = 10 * time.Millisecond

	backoffMin = 50 * time.Millisecond
	backoffMax = 5 * time.Second
)

// follower reads topics into the local store, committed records only, each partition in order, and goes on after a
// restart where the store stands. One goroutine polls, one writes; a view sees every record in both.
type follower struct {
	cfg    Config
	space  space
	name   string // of the view, for messages
	topics []string
	view   view
	pause  time.Duration // between two polls that bring little
	logger *slog.Logger

	mu     sync.Mutex
	next   map[TopicPartition]int64 // what the store includes
	begun  map[TopicPartition]int64 // where this start began
	target map[TopicPartition]int64 // stable ends when it began; a partition is removed when reached
	total  int64
	ready  bool
	halted error // why Run ended
	polled uint64
	stored uint64
	moved  chan struct{} // closed and replaced when stored rises or halted is set, if anyone holds it
}

// view is what differs between the views. The methods are not called concurrently with themselves.
type view interface {
	// arrived is told of a record as soon as it is read. It must not block.
	arrived(r *kgo.Record)
	// store adds a record's changes to the batch. An error means: not now, read it again.
	store(b *localstore.Batch, r *kgo.Record) error
	// sealed is called at the end of each batch, before it is applied.
	sealed(b *localstore.Batch)
	// applied is told of the records of a batch when the store has them.
	applied(records []*kgo.Record)
	// since is the log time in milliseconds before which records need not be read; 0: all are needed.
	since() int64
}

func newFollower(cfg Config, s space, name string, topics []string, pause time.Duration, v view) *follower {
	return &follower{
		cfg: cfg, space: s, name: name, topics: topics, view: v, pause: pause, logger: cfg.Logger.With("view", name),
		next: map[TopicPartition]int64{}, begun: map[TopicPartition]int64{}, target: map[TopicPartition]int64{},
	}
}

// run follows until ctx ends or the store fails.
func (f *follower) run(ctx context.Context) error {
	wait := backoffMin
	for {
		began := f.cfg.Clock.Now()
		err := f.session(ctx)
		if ended(ctx, err) {
			f.halt(ports.ErrCatchingUp)
			return nil
		}
		var broken *storeError
		if errors.As(err, &broken) {
			f.halt(err)
			return fmt.Errorf("following %s: %w", f.name, err)
		}
		if f.cfg.Clock.Now().Sub(began) > backoffMax {
			wait = backoffMin
		}
		f.logger.Warn("view lost its topics and begins again", "err", err, "after", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, backoffMax)
	}
}

// storeError is a failure of the local store: reading on would not help.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

func (f *follower) halt(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.halted = why
	f.announce()
}

// session follows the topics with one client, until something is wrong with them.
func (f *follower) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b, err := newBroker(f.cfg)
	if err != nil {
		return err
	}
	defer b.close()
	marks, err := f.begin(ctx, b)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(clientOpts(f.cfg),
		kgo.ConsumePartitions(startsOf(marks)), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// What was read must not be passed over in silence: out of range is an error, and begin decides.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(idleWait), kgo.FetchMaxBytes(fetchBytesMax), kgo.FetchMaxPartitionBytes(partitionBytesMax),
	)...)
	if err != nil {
		return fmt.Errorf("setting up the view's client: %w", err)
	}
	defer cl.Close()

	hauls := make(chan kgo.Fetches, haulsMax)
	written := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(written)
		if err := f.write(hauls, marks); err != nil {
			cancel(err)
		}
	})
	wg.Go(func() {
		if err := f.awaitReady(ctx, b); err != nil {
			cancel(err)
		}
	})
	cancel(f.poll(ctx, cl, hauls, written))
	wg.Wait()
	return context.Cause(ctx)
}

// poll reads and passes on until ctx ends or the writer has.
func (f *follower) poll(ctx context.Context, cl *kgo.Client, hauls chan<- kgo.Fetches, written <-chan struct{}) error {
	defer close(hauls)
	for {
		fetches := cl.PollRecords(ctx, pollMax)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := f.fatal(fetches); err != nil {
			return err
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		f.mu.Lock()
		f.polled++
		f.mu.Unlock()
		fetches.EachRecord(f.view.arrived)
		select {
		case hauls <- fetches:
		case <-written:
			return context.Cause(ctx)
		}
		if fetches.NumRecords() < restBelow {
			f.rest(ctx)
		}
	}
}

// restBelow is how many records a poll brings at least where there is much to read.
const restBelow = 500

// rest lets records gather at the broker, if the view's readers can wait: a fetch for each handful of records costs
// more than what is done with them.
func (f *follower) rest(ctx context.Context) {
	if f.pause == 0 {
		return
	}
	t := time.NewTimer(f.pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// fatal picks the errors after which the topics have to be looked at anew. The client retries all others.
func (f *follower) fatal(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		var lost *kgo.ErrDataLoss
		switch {
		case errors.Is(e.Err, kerr.OffsetOutOfRange), errors.Is(e.Err, kerr.UnknownTopicID),
			errors.Is(e.Err, kerr.InconsistentTopicID), errors.Is(e.Err, kerr.UnknownTopicOrPartition),
			errors.As(e.Err, &lost), !kerr.IsRetriable(e.Err):
			return fmt.Errorf("reading %s/%d: %w", e.Topic, e.Partition, e.Err)
		}
	}
	return nil
}

// write puts records down, with the offsets they end at in the same batch. It ends when everything polled is down:
// what has arrived somewhere must be found in the store.
func (f *follower) write(hauls <-chan kgo.Fetches, marks map[TopicPartition]mark) error {
	batch := f.cfg.Store.NewBatch()
	var key, value []byte
	for fetches := range hauls {
		var touched []TopicPartition
		var failed error
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) == 0 {
				return
			}
			for _, r := range p.Records {
				if err := f.view.store(batch, r); err != nil && failed == nil {
					failed = fmt.Errorf("reading %s/%d at offset %d: %w", r.Topic, r.Partition, r.Offset, err)
				}
			}
			tp := TopicPartition{p.Topic, p.Partition}
			m := marks[tp]
			m.next = p.Records[len(p.Records)-1].Offset + 1
			marks[tp] = m
			key, value = f.space.markKey(key, tp), m.append(value)
			batch.Set(key, value)
			touched = append(touched, tp)
		})
		if failed != nil {
			return failed
		}
		f.view.sealed(batch)
		if err := f.cfg.Store.Apply(batch); err != nil {
			return &storeError{err}
		}
		f.mu.Lock()
		for _, tp := range touched {
			f.next[tp] = marks[tp].next
		}
		f.stored++
		f.announce()
		f.mu.Unlock()
		fetches.EachPartition(func(p kgo.FetchTopicPartition) { f.view.applied(p.Records) })
	}
	return nil
}

// announce wakes those who wait for the store. The caller holds mu.
func (f *follower) announce() {
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
}

// settle returns when the store has everything that arrived before the call.
func (f *follower) settle(ctx context.Context) error {
	f.mu.Lock()
	upTo := f.polled
	for f.stored < upTo {
		if f.halted != nil {
			defer f.mu.Unlock()
			return f.halted
		}
		if f.moved == nil {
			f.moved = make(chan struct{})
		}
		moved := f.moved
		f.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
		f.mu.Lock()
	}
	f.mu.Unlock()
	return nil
}

func (f *follower) isReady() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ready
}

// check refuses to answer from a store that has not been brought up to date.
func (f *follower) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.halted != nil && !errors.Is(f.halted, ports.ErrCatchingUp):
		return fmt.Errorf("the view %s has ended: %w", f.name, f.halted)
	case !f.ready:
		return fmt.Errorf("%s: %w", f.name, ports.ErrCatchingUp)
	}
	return nil
}

func (f *follower) progress() Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := int64(0)
	for tp, target := range f.target {
		left += max(0, target-max(f.next[tp], f.begun[tp]))
	}
	return Progress{Done: f.total - left, Total: f.total}
}
