package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkalog"
	"github.com/nexusblueprint/nexus/internal/localstore"
)

// Config of one engine. Zero values mean the defaults named here.
type Config struct {
	Brokers    []string
	ClientOpts []kgo.Opt // TLS, SASL, dialer: applied to every client of the engine
	// Client is a plain client (no group, no transactional id) that the engines of
	// one process share for metadata and offsets. Without one the engine opens its own.
	Client *kgo.Client

	Group string // goka group; its table is Group+"-table"
	// InstanceID names this instance among those of the group, for ever (for
	// instance the pod's name in a stateful set).
	InstanceID string
	// TransactionalID (default Group.InstanceID) shuts out whoever else uses it: the
	// next process with it aborts what its predecessor left open, and fences it if it
	// still lives. Where broker and processor die together, a fresh one per start is
	// better, see DESIGN.md.
	TransactionalID string
	// StaticMember uses InstanceID as group.instance.id as well: a restarted process
	// takes its partitions back without a rebalance. It does not leave the group when
	// it stops; to scale down call LeaveGroup.
	StaticMember bool

	// A transaction begins with its first record and lasts CommitMin (default 5 ms)
	// when little comes, up to CommitMax (default 50 ms) when FullLoad records come in
	// a second (default 10,000).
	CommitMin, CommitMax time.Duration
	FullLoad             int
	// TxnTimeout (transaction.timeout.ms, default 20 s): the broker aborts what an
	// instance that dies for good left open. A callback must return within 80 % of it.
	TxnTimeout time.Duration
	// SessionTimeout (session.timeout.ms, default 15 s) of the group membership.
	SessionTimeout time.Duration

	TxnRecords int // of a transaction at most (default 16,384, about a whole fetch)

	// Store holds the tables of this process. Without one the engine keeps its own
	// in memory: every start then restores the whole table.
	Store *Store
	Local Local // optional state beside the table

	Logger *slog.Logger // default: none
}

// Engine owns what is beneath one goka processor, or any number of goka views.
// Its lifecycle: New, NewProcessor with Options, Run until it ends, Close. An
// Engine serves one Run at a time.
type Engine struct {
	cfg   Config
	log   *slog.Logger
	table string // group table's topic
	store *Store
	local *localstore.Store // in memory, nil with a Store from outside
	cl    *kgo.Client       // plain client
	owns  bool              // cl
	adm   *kadm.Client
	graph atomic.Pointer[goka.GroupGraph]
	topic topicCache

	counters counters
	fail     atomic.Pointer[error] // what ended the last Run

	out  atomic.Pointer[output] // of the live group member, nil if there is none
	kept [64]*goka.Promise      // see EmitWithHeaders
	gate gate                   // lets visited keys into an open transaction
	live gate                   // lets VisitAll into a running session

	visited     atomic.Bool                        // a visit was made in the open transaction
	visitFailed atomic.Bool                        // and did not return
	idle        atomic.Pointer[context.CancelFunc] // ends the wait for the first record

	mu       sync.RWMutex
	tables   map[int32]*table   // open tables of the group
	assigned map[int32]struct{} // nil: no assignment yet
}

// New connects nothing yet. Close the engine after the processor or the views ended.
func New(cfg Config) (*Engine, error) {
	if err := cfg.fill(); err != nil {
		return nil, fmt.Errorf("engine of group %q: %w", cfg.Group, err)
	}
	e := &Engine{
		cfg: cfg, log: cfg.Logger.With("group", cfg.Group), table: string(goka.GroupTable(goka.Group(cfg.Group))),
		store: cfg.Store, cl: cfg.Client, tables: map[int32]*table{},
	}
	e.gate.init()
	e.live.init()
	e.topic.e = e
	e.topic.reset()
	for i := range e.kept {
		_, finish := goka.NewPromiseWithFinisher()
		e.kept[i] = finish(nil, nil)
	}
	var err error
	if e.cl == nil {
		if e.cl, err = kgo.NewClient(e.opts()...); err != nil {
			return nil, fmt.Errorf("engine of group %s: %w", cfg.Group, err)
		}
		e.owns = true
	}
	e.adm = kadm.NewClient(e.cl)
	if e.store == nil {
		if err := e.openMemory(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *Engine) openMemory() (err error) {
	if e.local, err = localstore.Open("", localstore.Options{Logger: e.log}); err == nil {
		e.store, err = NewStore(e.local)
	}
	return err
}

func (c *Config) fill() error {
	def(&c.CommitMin, 5*time.Millisecond)
	def(&c.CommitMax, max(50*time.Millisecond, c.CommitMin))
	def(&c.FullLoad, 10_000)
	def(&c.TxnTimeout, 20*time.Second)
	def(&c.SessionTimeout, 15*time.Second)
	def(&c.TxnRecords, 16_384)
	def(&c.TransactionalID, c.Group+"."+c.InstanceID)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var faults []error
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(c.Group == "", "Group is missing")
	fault(c.InstanceID == "", "InstanceID is missing")
	fault(len(c.Brokers) == 0, "Brokers is empty")
	fault(c.CommitMin < 0 || c.CommitMax < c.CommitMin, "CommitMax must be at least CommitMin")
	fault(c.FullLoad < 0, "FullLoad is negative")
	fault(c.TxnTimeout < 4*c.CommitMax, "TxnTimeout must be at least four times CommitMax, or slow commits are aborted by the broker")
	return errors.Join(faults...)
}

const (
	channelSize   = 1024          // of goka's channel per partition, and of the claims'
	maxStateBytes = 8<<20 - 4<<10 // of key and value of a table record: the topic's limit less Kafka's framing
)

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

const metadataAge = 50 * time.Millisecond

// opts of every client of the engine.
func (e *Engine) opts(more ...kgo.Opt) []kgo.Opt {
	o := []kgo.Opt{
		kgo.SeedBrokers(e.cfg.Brokers...), kgo.ClientID("nexus-" + e.cfg.InstanceID), kafkalog.To(e.log), kgo.DisableClientMetrics(),
		// franz-go tries again what the broker refused for now once it has asked for metadata,
		// and that it does at most every 5 s by default: a broker that is late with the markers
		// of the last transaction refuses the first records of the next one.
		kgo.MetadataMinAge(metadataAge),
	}
	return append(append(o, e.cfg.ClientOpts...), more...)
}

// Close releases what the engine opened itself. Call it after Run has returned.
func (e *Engine) Close() {
	if e.owns {
		e.cl.Close()
	}
	if e.local != nil {
		if err := e.local.Close(); err != nil {
			e.log.Warn("closing the local store in memory", "err", err)
		}
	}
}

// Options are all processor options goka needs; put them last. An update callback
// (goka.WithUpdateCallback) is called for joined and looked-up tables, not for the
// group's own: the engine restores that one.
func (e *Engine) Options() []goka.ProcessorOption {
	return []goka.ProcessorOption{
		goka.WithLogger(gokaLogger{e.log}),
		goka.WithGroupGraphHook(e.useGraph),
		goka.WithPartitionChannelSize(channelSize),
		goka.WithHasher(Hasher()),
		goka.WithProducerBuilder(e.producerBuilder),
		goka.WithConsumerGroupBuilder(e.groupBuilder),
		goka.WithConsumerSaramaBuilder(e.readerBuilder(e.openTable)),
		goka.WithTopicManagerBuilder(e.topicsBuilder),
		goka.WithStorageBuilder(e.storageBuilder),
	}
}

// ViewOptions let a goka.View read tables that transactions write, into this
// process's store (apart from the tables themselves: a view may stand beside the
// processor whose table it reads).
func (e *Engine) ViewOptions() []goka.ViewOption {
	return []goka.ViewOption{
		goka.WithViewLogger(gokaLogger{e.log}),
		goka.WithViewHasher(Hasher()),
		goka.WithViewConsumerSaramaBuilder(e.readerBuilder(noTable)),
		goka.WithViewTopicManagerBuilder(e.topicsBuilder),
		goka.WithViewStorageBuilder(e.copyBuilder),
	}
}

func (e *Engine) readerBuilder(tableOf func(tp) *table) goka.SaramaConsumerBuilder {
	return func([]string, string) (sarama.Consumer, error) { return newReader(e, tableOf), nil }
}

func (e *Engine) topicsBuilder([]string) (goka.TopicManager, error) { return topics{e}, nil }

// Visitor wraps a visit callback (goka.Visitor). No record drives a visit, so
// without this gate its table write and its emits could fall into different
// transactions, or outside of any, which the engine refuses with an error that
// ends the processor. Ordinary callbacks do not need it.
func (e *Engine) Visitor(cb goka.ProcessCallback) goka.ProcessCallback {
	return func(ctx goka.Context, m any) {
		if e.gate.enter(ctx.Context()) != nil {
			return // the session ends; VisitAll reports ErrVisitAborted
		}
		returned := false
		defer func() {
			if !returned { // goka fails by panic
				e.visitFailed.Store(true)
			}
			e.visited.Store(true)
			e.gate.leave()
			if cancel := e.idle.Load(); cancel != nil {
				(*cancel)()
			}
		}()
		cb(ctx, m)
		returned = true
	}
}

// VisitAll is goka's Processor.VisitAllWithStats: it calls the visit callback name for
// every key of the partitions that this instance holds and returns for how many.
// It waits for the processor to run; nil says that all callbacks have returned, and
// what they did commits with the open transaction. Errors: goka.ErrVisitAborted
// (rebalance, end or a failed callback: some keys may have been visited), ctx.Err().
//
// Do not call goka's own: it panics (send on closed channel) when it meets the end of
// a session, which this keeps waiting.
func (e *Engine) VisitAll(ctx context.Context, p *goka.Processor, name string, meta any) (int64, error) {
	if err := e.live.enter(ctx); err != nil {
		return 0, err
	}
	defer e.live.leave()
	n, err := p.VisitAllWithStats(ctx, name, meta)
	if err == nil && e.visitFailed.Load() { // goka counts a callback that failed as a visit
		err = goka.ErrVisitAborted
	}
	return n, err
}

// Committed returns the committed value of a key of the group table, nil if there
// is none, without what the open transaction wrote (goka's Processor.Get returns
// that, too). It is never older than an answer given before.
// Errors: ErrNotHere, ErrCatchingUp, ErrStoreClosed.
func (e *Engine) Committed(partition int32, key string) ([]byte, error) {
	e.mu.RLock()
	t := e.tables[partition]
	_, ours := e.assigned[partition]
	none := e.assigned == nil
	e.mu.RUnlock()
	switch {
	case none || ours && (t == nil || !t.active()):
		return nil, fmt.Errorf("%s/%d: %w", e.table, partition, ErrCatchingUp)
	case !ours:
		return nil, fmt.Errorf("%s/%d: %w", e.table, partition, ErrNotHere)
	}
	return t.committedValue(key)
}

// CheckState returns a *TooLargeError if a table value of this many bytes would not
// fit, else nil. Ask before the first emit of a callback: what is emitted cannot
// be taken back.
func (e *Engine) CheckState(key string, valueBytes int) error {
	if n := len(key) + valueBytes; n > maxStateBytes {
		return &TooLargeError{Topic: e.table, Key: key, Bytes: n, LimitBytes: maxStateBytes}
	}
	return nil
}

// Err returns what ended the last Run of the processor beneath goka's own
// wrapping, nil if nothing did.
func (e *Engine) Err() error {
	if p := e.fail.Load(); p != nil {
		return *p
	}
	return nil
}

// LeaveGroup removes this instance's static membership, so that its partitions go
// to others at once. Call it after Run, when the instance will not come back.
func (e *Engine) LeaveGroup(ctx context.Context) error {
	if !e.cfg.StaticMember {
		return nil // dynamic members leave when Run ends
	}
	b := kadm.LeaveGroup(e.cfg.Group).InstanceIDs(e.cfg.InstanceID).Reason("scaled down")
	rs, err := e.adm.LeaveGroup(ctx, b)
	if err == nil {
		err = rs.Error()
	}
	if err != nil {
		return fmt.Errorf("leaving group %s as %s: %w", e.cfg.Group, e.cfg.InstanceID, err)
	}
	return nil
}
