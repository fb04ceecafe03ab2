// Package sink mirrors projection tables into the search store: bulk requests,
// many updates of one document coalesced into one write, the document's version
// as external version. What the store refuses for ever becomes a dead letter.
//
// The store is never a source of truth: lost, it is refilled from the table. A
// sink commits its offsets only after the store has refreshed, so a committed
// offset means: every search that starts from now on sees it. It decides
// nothing about documents; that is the projection's work.
package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/readmodel"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// Framer reads table records and frames dead letters by registered schemas.
// Implementations are safe for concurrent use.
type Framer interface {
	Append(dst []byte, rec avro.Record) ([]byte, error)
	// Current returns framed bytes of the named record as this program's own schema
	// has them: the bytes themselves, or transcoded ones.
	Current(name string, framed []byte) ([]byte, error)
}

// Config of the sinks of one process. Every field is required, unless it says
// otherwise.
type Config struct {
	Topology   *topology.Topology
	Framer     Framer
	Store      ports.SearchWriter
	Brokers    []string
	ClientOpts []kgo.Opt // TLS, SASL; may be empty
	Client     *kgo.Client
	InstanceID string
	// Static makes InstanceID the group.instance.id as well: a restart within the
	// session timeout keeps its partitions. Leave gives them away when Run ends.
	Static, Leave bool
	Clock         clock.Clock
	Logger        *slog.Logger
	Registry      prometheus.Registerer
}

// Sinks mirror every projection of a topology. Make them with New, then Run
// them once.
type Sinks struct {
	cfg     Config
	mirrors []*mirror
	dead    *deadLetters
}

// New makes the sinks; nothing is started.
func New(cfg Config) *Sinks {
	m := newMetrics(cfg.Registry)
	s := &Sinks{cfg: cfg, dead: &deadLetters{cfg: &cfg}}
	s.dead.cfg = &s.cfg
	for _, p := range cfg.Topology.Projections {
		s.mirrors = append(s.mirrors, &mirror{
			cfg: &s.cfg, projection: p, model: readmodel.Of(cfg.Topology, p), metrics: m, dead: s.dead,
			logger: cfg.Logger.With("projection", p.Name()),
		})
	}
	return s
}

// ErrFenced ends the sinks: another process with this instance's name took their
// place in the group. Starting again would shut that one out in turn, and so on.
var ErrFenced = errors.New("fenced: another process has this instance's name")

// Run mirrors until ctx ends. It returns early with [ErrFenced].
func (s *Sinks) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(s.mirrors))
	var wg sync.WaitGroup
	for i, m := range s.mirrors {
		wg.Go(func() {
			if errs[i] = m.supervise(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || !s.cfg.Static || !s.cfg.Leave {
		return err
	}
	return s.leave()
}

// leavePatience bounds the leaving of all groups: without it their partitions
// move a session timeout later.
const leavePatience = 10 * time.Second

// leave gives the partitions of a static member away.
func (s *Sinks) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	admin := kadm.NewClient(s.cfg.Client)
	for _, m := range s.mirrors {
		group := s.cfg.Topology.SinkGroup(m.projection)
		left, err := admin.LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs(s.cfg.InstanceID).Reason("scaled down"))
		if err == nil {
			err = left.Error()
		}
		if err != nil {
			return fmt.Errorf("leaving group %s as %s: %w", group, s.cfg.InstanceID, err)
		}
	}
	return nil
}

// Status of one mirror, for readiness.
type Status struct {
	Projection string
	Ready      bool // it has joined its group and reached the store
}

// Status of all mirrors, in the order of the topology.
func (s *Sinks) Status() []Status {
	all := make([]Status, 0, len(s.mirrors))
	for _, m := range s.mirrors {
		all = append(all, Status{Projection: m.projection.Name(), Ready: m.ready.Load()})
	}
	return all
}

// mirror carries one projection's table into its index.
type mirror struct {
	cfg        *Config
	projection topology.Projection
	model      *readmodel.Model
	metrics    *metrics
	dead       *deadLetters
	logger     *slog.Logger
	ready      atomic.Bool
}

const (
	pauseMin = 500 * time.Millisecond
	pauseMax = 30 * time.Second
)

func (m *mirror) supervise(ctx context.Context) error {
	for pause := pauseMin; ctx.Err() == nil; pause = min(2*pause, pauseMax) {
		began := m.cfg.Clock.Now()
		err := m.run(ctx)
		m.ready.Store(false)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, kerr.FencedInstanceID):
			return fmt.Errorf("sink of %s: %w: %w", m.projection.Name(), ErrFenced, err)
		}
		if m.cfg.Clock.Now().Sub(began) > pauseMax {
			pause = pauseMin
		}
		m.logger.Error("sink ended, starting it again", "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return nil
}

// sessionTimeout (session.timeout.ms) is how long the partitions of a sink that
// died wait for it; the same as the processors'.
const sessionTimeout = 9 * time.Second

// run is one life of the mirror as a member of its group.
func (m *mirror) run(ctx context.Context) error {
	empty, err := m.cfg.Store.EnsureIndex(ctx, m.model.Spec)
	if err != nil {
		return fmt.Errorf("preparing index %s: %w", m.model.Index, err)
	}
	if empty {
		if err := m.rewind(ctx); err != nil {
			return err
		}
	}
	opts := append([]kgo.Opt{
		kgo.SeedBrokers(m.cfg.Brokers...), kgo.ClientID("nexus-" + m.cfg.InstanceID),
		kgo.ConsumerGroup(m.cfg.Topology.SinkGroup(m.projection)),
		kgo.ConsumeTopics(m.cfg.Topology.ProjectionTable(m.projection)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(sessionTimeout / 5),
		kgo.BlockRebalanceOnPoll(), // what was polled is written and committed before a partition goes
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { m.ready.Store(true) }),
	}, m.cfg.ClientOpts...)
	if m.cfg.Static {
		opts = append(opts, kgo.InstanceID(m.cfg.InstanceID))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		if err := m.round(ctx, cl); err != nil {
			return err
		}
	}
	return nil
}

// rewind sets the group back to the start of the table, durably, before the
// first write to an index that is empty: see ports.SearchWriter.EnsureIndex.
func (m *mirror) rewind(ctx context.Context) error {
	admin := kadm.NewClient(m.cfg.Client)
	group, table := m.cfg.Topology.SinkGroup(m.projection), m.cfg.Topology.ProjectionTable(m.projection)
	committed, err := admin.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil // it has never committed anything
	}
	if err != nil {
		return fmt.Errorf("reading offsets of %s: %w", group, err)
	}
	back := kadm.Offsets{}
	for _, at := range committed.Offsets()[table] {
		if at.At > 0 {
			back.AddOffset(table, at.Partition, 0, -1)
		}
	}
	if len(back) == 0 {
		return nil
	}
	m.logger.Warn("index is empty, refilling it from the table", "index", m.model.Index)
	if err := admin.CommitAllOffsets(ctx, group, back); err != nil {
		return fmt.Errorf("rewinding %s: %w", group, err)
	}
	return nil
}

// Under load a round waits for more records before it writes: that trades lag for
// fewer writes of documents that change all the time. A quiet table is mirrored
// at once, because a client may be waiting to read what it wrote.
const (
	gather      = 100 * time.Millisecond
	loadRecords = 256 // in one poll
)

// roundRecords bounds the records of one round, and so the memory it takes. A store
// that falls behind gets longer rounds, in which more records are of the same key:
// what it has to write grows with the documents that change, not with the changes.
const roundRecords = 50_000

// round polls, coalesces, writes, refreshes and commits once.
func (m *mirror) round(ctx context.Context, cl *kgo.Client) error {
	defer cl.AllowRebalance()
	records, err := poll(ctx, cl)
	if err != nil || len(records) == 0 {
		return err
	}
	docs, latest, err := m.documents(ctx, records)
	if err != nil {
		return err
	}
	if err := m.write(ctx, docs); err != nil {
		return err
	}
	if err := m.cfg.Store.Refresh(ctx, m.model.Index); err != nil {
		return fmt.Errorf("refreshing %s: %w", m.model.Index, err)
	}
	if err := cl.CommitRecords(ctx, latest...); err != nil {
		return fmt.Errorf("committing offsets: %w", err)
	}
	m.metrics.mirrored(m.projection.Name(), len(records), len(docs))
	return nil
}

// poll waits for records, then a little longer for more.
func poll(ctx context.Context, cl *kgo.Client) ([]*kgo.Record, error) {
	fetches := cl.PollRecords(ctx, roundRecords)
	if err := fetchError(ctx, fetches); err != nil {
		return nil, err
	}
	records := fetches.Records()
	if len(records) < loadRecords {
		return records, nil
	}
	deadline, cancel := context.WithTimeout(ctx, gather)
	defer cancel()
	for len(records) < roundRecords && deadline.Err() == nil {
		more := cl.PollRecords(deadline, roundRecords-len(records))
		if err := fetchError(ctx, more); err != nil {
			return nil, err
		}
		records = append(records, more.Records()...)
	}
	return records, ctx.Err()
}

func fetchError(ctx context.Context, fetches kgo.Fetches) error {
	for _, fe := range fetches.Errors() {
		if errors.Is(fe.Err, context.DeadlineExceeded) || errors.Is(fe.Err, context.Canceled) {
			continue
		}
		return fmt.Errorf("reading %s/%d: %w", fe.Topic, fe.Partition, fe.Err)
	}
	return ctx.Err()
}

// documents keeps the last record of each key and of each partition. It fails
// where a record cannot be read now, through no fault of its own.
func (m *mirror) documents(ctx context.Context, records []*kgo.Record) (docs []pending, latest []*kgo.Record, err error) {
	last := make(map[string]*kgo.Record, len(records))
	ends := map[int32]*kgo.Record{}
	for _, r := range records {
		last[string(r.Key)] = r
		ends[r.Partition] = r
	}
	docs = make([]pending, 0, len(last))
	for _, r := range records {
		if last[string(r.Key)] != r {
			continue
		}
		doc, err := m.document(r)
		if errors.Is(err, serde.ErrRegistry) {
			return nil, nil, fmt.Errorf("reading %s/%d/%d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		if err != nil {
			m.dead.set(ctx, m, r, "undecodable", err)
			continue
		}
		docs = append(docs, pending{record: r, doc: doc})
	}
	for _, r := range ends {
		latest = append(latest, r)
	}
	return docs, latest, nil
}

// pending is a document on its way, with the record it comes from.
type pending struct {
	record *kgo.Record
	doc    ports.Document
}

func (m *mirror) document(r *kgo.Record) (ports.Document, error) {
	framed, err := m.cfg.Framer.Current(m.projection.Table, r.Value)
	if err != nil {
		return ports.Document{}, err
	}
	return m.model.Read(string(r.Key), framed)
}

// bulkDocuments bounds one request to the store.
const bulkDocuments = 1_000

// write brings all documents into the store, those it refuses for ever among
// the dead letters, and everything else again until it is there.
func (m *mirror) write(ctx context.Context, docs []pending) error {
	for len(docs) > 0 {
		n := min(bulkDocuments, len(docs))
		if err := m.writeBulk(ctx, docs[:n]); err != nil {
			return err
		}
		docs = docs[n:]
	}
	return nil
}

func (m *mirror) writeBulk(ctx context.Context, docs []pending) error {
	for pause := pauseMin; len(docs) > 0; pause = min(2*pause, pauseMax) {
		batch := make([]ports.Document, len(docs))
		for i := range docs {
			batch[i] = docs[i].doc
		}
		results, err := m.cfg.Store.Bulk(ctx, m.model.Index, batch)
		if err == nil {
			docs, err = m.settle(ctx, docs, results)
		}
		if err == nil && len(docs) == 0 {
			return nil
		}
		if errors.Is(err, ports.ErrNoIndex) {
			return fmt.Errorf("writing %s: %w", m.model.Index, err) // prepare it anew
		}
		m.logger.Warn("documents not written, trying again", "index", m.model.Index, "documents", len(docs), "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// settle sets refused documents aside and returns those to send again, with
// one of their errors.
func (m *mirror) settle(ctx context.Context, docs []pending, results []ports.ItemResult) (again []pending, err error) {
	for i, res := range results {
		switch {
		case res.Err == nil:
		case errors.Is(res.Err, ports.ErrRejected):
			m.dead.set(ctx, m, docs[i].record, "refused-by-store", res.Err)
		default:
			again, err = append(again, docs[i]), res.Err
		}
	}
	return again, err
}
