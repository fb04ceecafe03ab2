package views

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/topology"
)

// framer frames by the place of a schema among all of them, as a registry would by its ids.
type framer struct{ entries []*avro.Entry }

func newFramer(t testing.TB) *framer {
	t.Helper()
	entries, err := avro.Sets{platform.Schemas, retail.Schemas}.All()
	if err != nil {
		t.Fatal(err)
	}
	return &framer{entries}
}

func (f *framer) frame(rec avro.Record) []byte {
	for i, e := range f.entries {
		if e.Name == rec.AvroName() {
			return rec.AppendAvro(binary.BigEndian.AppendUint32([]byte{0}, uint32(i)))
		}
	}
	panic("no schema " + rec.AvroName())
}

func (f *framer) entry(framed []byte) (*avro.Entry, error) {
	if len(framed) < 5 || framed[0] != 0 {
		return nil, fmt.Errorf("not framed")
	}
	id := binary.BigEndian.Uint32(framed[1:])
	if int(id) >= len(f.entries) {
		return nil, fmt.Errorf("no schema %d", id)
	}
	return f.entries[id], nil
}

func (f *framer) Decode(framed []byte, into avro.Record) error {
	e, err := f.entry(framed)
	if err != nil {
		return err
	}
	if e.Name != into.AvroName() {
		return fmt.Errorf("it is a %s, not a %s", e.Name, into.AvroName())
	}
	return into.DecodeAvro(framed[5:])
}

func (f *framer) DecodeNew(framed []byte) (avro.Record, error) {
	e, err := f.entry(framed)
	if err != nil {
		return nil, err
	}
	rec := e.New()
	return rec, rec.DecodeAvro(framed[5:])
}

// testPartitions is small, so that every partition of a test has records.
var testPartitions int32 = 3

// testTopology is one aggregate, a read model of its keys and a re-keyed one.
func testTopology(name string) *topology.Topology {
	order := domain.NewAggregate("order", 1,
		func(s retail.Order, e domain.Event) retail.Order { return s },
		domain.Handle(func(c *retail.CancelOrder) string { return c.OrderID },
			func(*retail.CancelOrder) []domain.Fault { return nil },
			func(retail.Order, *retail.CancelOrder) ([]domain.Event, *domain.Rejection) { return nil, nil }),
		domain.Records[retail.Order, retail.OrderPlaced](),
	)
	byOrder := domain.NewProjection("orders", 1,
		domain.From[retail.OrderDocument](func(e *retail.OrderPlaced) []domain.Change { return nil }),
		domain.Apply(func(*retail.OrderDocument, *retail.OrderPlaced) {}))
	byCountry := domain.NewProjection("sales-by-country", 1,
		domain.From[retail.CountrySales](func(e *retail.OrderPlaced) []domain.Change { return nil }),
		domain.Apply(func(*retail.CountrySales, *retail.OrderPlaced) {}))
	return &topology.Topology{
		Context: name, Owner: "tests", Partitions: testPartitions, Schemas: avro.Sets{platform.Schemas, retail.Schemas},
		Aggregates: []topology.Aggregate{{Aggregate: order, Owner: "tests", Table: "shop.order.OrderTable"}},
		Projections: []topology.Projection{
			{Projection: byOrder, Owner: "tests", Table: "shop.sales.OrderDocumentTable"},
			{Projection: byCountry, Owner: "tests", Table: "shop.sales.CountrySalesTable", Rekeyed: true},
		},
	}
}

// rig is a broker with the topics of the test topology.
type rig struct {
	t      testing.TB
	broker *kafkatest.Broker
	topo   *topology.Topology
	framer *framer
	dir    string
	log    *logs
	now    atomic.Int64 // milliseconds; 0: the machine's clock
}

func newRig(t testing.TB, b *kafkatest.Broker) *rig {
	t.Helper()
	name := strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, b.Prefix))
	r := &rig{t: t, broker: b, topo: testTopology(name), framer: newFramer(t), dir: t.TempDir(), log: &logs{}}
	r.createTopics()
	return r
}

func (r *rig) createTopics() {
	r.t.Helper()
	var topics []kafkatest.Topic
	for _, topic := range r.topo.Topics() {
		topics = append(topics, kafkatest.Topic{Name: topic.Name, Partitions: int(topic.Partitions), Config: topic.Config})
	}
	r.broker.Create(r.t, topics...)
}

func (r *rig) order() topology.Aggregate { return r.topo.Aggregates[0] }

func (r *rig) openStore() *localstore.Store {
	r.t.Helper()
	s, err := localstore.Open(r.dir, localstore.Options{Logger: slog.New(r.log)})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (r *rig) config(s *localstore.Store) Config {
	return Config{
		Topology: r.topo, Store: s, Framer: r.framer, Client: []kgo.Opt{kgo.SeedBrokers(r.broker.Addrs...)}, Logger: slog.New(r.log),
		Clock: clock.Func(func() time.Time {
			if ms := r.now.Load(); ms != 0 {
				return time.UnixMilli(ms)
			}
			return time.Now()
		}),
	}
}

// runner is what every view is.
type runner interface{ Run(context.Context) error }

// start runs a view until stop is called or the test ends.
func (r *rig) start(v runner) (stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("the view ended with %v", err)
		}
	})
	r.t.Cleanup(stop)
	if f, ok := v.(interface{ Ready() bool }); ok {
		kafkatest.Eventually(r.t, 20*time.Second, "the view is ready", f.Ready)
	}
	return stop
}

// producer writes transactions.
type producer struct {
	rig *rig
	cl  *kgo.Client
}

func (r *rig) producer() *producer {
	r.t.Helper()
	return &producer{r, r.broker.Client(r.t,
		kgo.TransactionalID(r.topo.Context+"-"+fmt.Sprint(time.Now().UnixNano())),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))}
}

func (p *producer) begin() {
	p.rig.t.Helper()
	if err := p.cl.BeginTransaction(); err != nil {
		p.rig.t.Fatal(err)
	}
}

func (p *producer) end(commit kgo.TransactionEndTry) {
	p.rig.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.cl.Flush(ctx); err != nil {
		p.rig.t.Fatal(err)
	}
	if err := p.cl.EndTransaction(ctx, commit); err != nil {
		p.rig.t.Fatal(err)
	}
}

func (p *producer) commit() { p.rig.t.Helper(); p.end(kgo.TryCommit) }
func (p *producer) abort()  { p.rig.t.Helper(); p.end(kgo.TryAbort) }

// put produces within the transaction and returns when the broker has the record.
func (p *producer) put(rec *kgo.Record) *kgo.Record {
	p.rig.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
		p.rig.t.Fatal(err)
	}
	return rec
}

func (r *rig) partition(id string) int32 { return partitionOf(id, r.topo.PartitionCount()) }

func (r *rig) outcome(orderID string, out *platform.Outcome) *kgo.Record {
	out.AggregateType, out.AggregateID = "order", orderID
	return &kgo.Record{Topic: r.topo.Outcomes(r.order()), Partition: r.partition(orderID), Key: []byte(out.CommandID), Value: r.framer.frame(out)}
}

func (r *rig) event(orderID string, version int64, country string) *kgo.Record {
	meta := &platform.Metadata{AggregateType: "order", AggregateID: orderID, Version: version, CommandID: fmt.Sprintf("c-%s-%d", orderID, version)}
	return &kgo.Record{
		Topic: r.topo.Events(r.order()), Partition: r.partition(orderID), Key: []byte(orderID),
		Value:   r.framer.frame(&retail.OrderPlaced{OrderID: orderID, Country: country}),
		Headers: []kgo.RecordHeader{{Key: serde.MetaHeader, Value: r.framer.frame(meta)}},
	}
}

func (r *rig) table(orderID string, version int64, country string) *kgo.Record {
	rec := &avro.Joined{
		Name: r.order().Table, Head: &platform.Envelope{Version: version, At: avro.Millis(version * 1000)},
		Tail: &retail.Order{Status: retail.OrderStatusPlaced, Country: country},
	}
	return &kgo.Record{Topic: r.topo.Table(r.order()), Partition: r.partition(orderID), Key: []byte(orderID), Value: r.framer.frame(rec)}
}

// committed puts records down in one committed transaction.
func (p *producer) committed(records ...*kgo.Record) {
	p.rig.t.Helper()
	p.begin()
	for _, rec := range records {
		p.put(rec)
	}
	p.commit()
}

// commitGroup moves a group's offset, as a processor or sink would.
func (r *rig) commitGroup(group string, tp TopicPartition, offset int64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: tp.Topic, Partition: tp.Partition, At: offset, LeaderEpoch: -1})
	if err := kadm.NewClient(r.broker.Client(r.t)).CommitAllOffsets(ctx, group, os); err != nil {
		r.t.Fatalf("committing %s of %s: %v", tp, group, err)
	}
}

// deadline is a context for a wait that should succeed.
func deadline(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// logs gathers what was logged.
type logs struct {
	mu    sync.Mutex
	lines []string
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) Handle(_ context.Context, rec slog.Record) error {
	line := rec.Level.String() + " " + rec.Message
	rec.Attrs(func(a slog.Attr) bool { line += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	if os.Getenv("NEXUS_TEST_LOG") != "" {
		fmt.Println(line)
	}
	return nil
}

func (l *logs) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

func (l *logs) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
}

// partitionOf spreads keys; views take records from whatever partition they are on.
func partitionOf(key string, n int32) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int32(h.Sum32()>>1) % n
}
