package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/adapters/embedded/broker"
	"github.com/nexusblueprint/nexus/emitters"
	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/linktest"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/ports/portstest"
	"github.com/nexusblueprint/nexus/processors"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/topology"
	"github.com/nexusblueprint/nexus/views"
)

// TestEventPorts takes the bus and the store that a gateway has to each kind of broker, with the processors between them.
func TestEventPorts(t *testing.T) {
	framer := newFramer(t)
	for _, c := range []struct {
		name string
		open func(t *testing.T) *brokers
	}{{"kfake", kfake}, {"embedded", embedded}, {"kafka", one}, {"kafka-3", three}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting: for brokers to start, and to be given up
			log := newWorld(t, c.open(t), framer).log()
			t.Run("EventBus", func(t *testing.T) { portstest.EventBus(t, log) })
			t.Run("EventStore", func(t *testing.T) { portstest.EventStore(t, log) })
		})
	}
}

// brokers are where the log is.
type brokers struct {
	addrs    []string
	opts     []kgo.Opt // of clients
	linked   []kgo.Opt // of clients whose way there can be cut
	link     interface{ Cut() }
	heal     func(t testing.TB)
	embedded bool
	cluster  *kafkatest.Cluster // nil for one broker
}

func kfake(t *testing.T) *brokers {
	t.Helper()
	b := kafkatest.Kfake(t)
	return inProcess(t, b.Addrs[0], []kgo.Opt{kgo.SeedBrokers(b.Addrs...)})
}

func embedded(t *testing.T) *brokers {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	bs := inProcess(t, b.Addr(), b.ClientOpts())
	bs.embedded = true
	return bs
}

// inProcess is one broker that tells its clients no other address than its own: they go by the link all the same.
func inProcess(t *testing.T, addr string, opts []kgo.Opt) *brokers {
	t.Helper()
	link := linktest.Open(t, "127.0.0.1:0", addr)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, link.Addr)
	}
	return &brokers{addrs: []string{addr}, opts: opts, linked: append([]kgo.Opt{kgo.Dialer(dial)}, opts...), link: link, heal: link.Heal}
}

func one(t *testing.T) *brokers {
	t.Helper()
	return linked(t, kafkatest.Kafka(t))
}

func three(t *testing.T) *brokers {
	t.Helper()
	c := kafkatest.Three(t)
	bs := linked(t, c.Broker)
	bs.cluster = c
	return bs
}

func linked(t *testing.T, b *kafkatest.Broker) *brokers {
	t.Helper()
	link := b.Link(t)
	return &brokers{
		addrs: b.Addrs, opts: []kgo.Opt{kgo.SeedBrokers(b.Addrs...)}, linked: []kgo.Opt{kgo.SeedBrokers(link.Addrs...)}, link: link, heal: link.Heal,
	}
}

// newFramer frames by a registry of its own.
func newFramer(t *testing.T) *serde.Serde {
	t.Helper()
	client, err := confluent.New(config.Registry{URL: registrytest.Embedded(t, kafkatest.Kfake(t).Addrs...)})
	if err != nil {
		t.Fatal(err)
	}
	s := serde.New(client, &topology.Topology{Schemas: avro.Sets{platform.Schemas, retail.Schemas}})
	if err := s.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// world is a log whose commands are decided.
type world struct {
	*brokers
	topology *topology.Topology
	stock    topology.Aggregate // that of the suites
	framer   *serde.Serde
	client   *kgo.Client
}

func newWorld(t *testing.T, bs *brokers, framer *serde.Serde) *world {
	t.Helper()
	a := topology.Aggregate{Aggregate: portstest.Aggregate(), Owner: "tests", Table: "shop.stock.StockTable"}
	w := &world{brokers: bs, framer: framer, stock: a, topology: &topology.Topology{
		Context: fmt.Sprint("ports", rand.Uint32()), Owner: "tests", Partitions: 2, // few, so that aggregates share them
		Schemas: avro.Sets{platform.Schemas, retail.Schemas}, Aggregates: []topology.Aggregate{a},
	}}
	if faults := w.topology.Faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	w.client = w.connect(t)
	w.createTopics(t)
	tables, err := engine.NewStore(w.local(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg := processors.Config{
		Topology: w.topology, Framer: w.framer, Brokers: w.addrs, ClientOpts: w.opts, Client: w.client, Store: tables,
		InstanceID: "one", Static: !w.embedded, History: views.NewHistory(w.views(t)),
		Clock: clock.System{}, Logger: logger(t), Registry: prometheus.NewRegistry(),
	}
	if w.embedded {
		cfg.Epoch = "first"
	}
	ps, err := processors.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, ps.Run)
	return w
}

func (w *world) log() portstest.EventLog {
	log := portstest.EventLog{
		Bus: w.bus, Store: w.store, Uncommitted: w.uncommitted,
		Cut:   func(testing.TB) { w.link.Cut() },
		Heal:  w.heal,
		Lacks: []portstest.Feature{portstest.Replicas},
	}
	if w.cluster != nil {
		log.Lacks, log.Withhold = nil, w.withhold
	}
	return log
}

func logger(t testing.TB) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func (w *world) connect(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, w.opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func (w *world) createTopics(t *testing.T) {
	t.Helper()
	admin, replicas := kadm.NewClient(w.client), int16(1)
	if w.cluster != nil {
		replicas = -1
	}
	var names []string
	for _, topic := range w.topology.Topics() {
		settings := map[string]*string{}
		for name, value := range topic.Config {
			settings[name] = &value
		}
		if _, err := admin.CreateTopic(t.Context(), topic.Partitions, replicas, settings, topic.Name); err != nil {
			t.Fatalf("creating %s: %v", topic.Name, err)
		}
		names = append(names, topic.Name)
	}
	kafkatest.Eventually(t, time.Minute, "the topics have leaders", func() bool {
		listed, err := admin.ListTopics(kadm.WithAuthorizedOps(t.Context()), names...) // not from its memory
		if err != nil || listed.Error() != nil {
			return false
		}
		led := 0
		listed.EachPartition(func(p kadm.PartitionDetail) {
			if p.Err == nil && p.Leader >= 0 {
				led++
			}
		})
		return led == len(names)*int(w.topology.PartitionCount())
	})
}

// local is the disk of a process.
func (w *world) local(t testing.TB) *localstore.Store {
	t.Helper()
	s, err := localstore.Open(t.TempDir(), localstore.Options{MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// run runs a role until the test ends.
func run(t testing.TB, role func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := role(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("a role ended: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (w *world) views(t testing.TB) views.Config {
	t.Helper()
	return views.Config{Topology: w.topology, Store: w.local(t), Framer: w.framer, Client: w.linked, Logger: logger(t)}
}

func (w *world) bus(t testing.TB) (bus ports.EventBus, closeBus func() error) {
	t.Helper()
	commands, err := emitters.NewCommands(emitters.Config{Topology: w.topology, Framer: w.framer, Client: w.linked, Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := commands.Close(); err != nil {
			t.Error(err)
		}
	})
	outcomes := views.NewOutcomes(w.views(t))
	run(t, outcomes.Run)
	return emitters.Bus{Commands: commands, Outcomes: outcomes}, commands.Close
}

func (w *world) store(t testing.TB) ports.EventStore {
	t.Helper()
	h := views.NewHistory(w.views(t))
	run(t, h.Run)
	return h
}

// uncommitted writes an event as a processor does, and stops short of the commit.
func (w *world) uncommitted(t testing.TB, event *retail.StockReceived, meta *platform.Metadata) (abort func()) {
	t.Helper()
	value, err := w.framer.Append(nil, event)
	if err != nil {
		t.Fatal(err)
	}
	header, err := w.framer.Append(nil, meta)
	if err != nil {
		t.Fatal(err)
	}
	cl := w.connect(t, kgo.TransactionalID(w.topology.Context+".other"), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{
		Topic: w.topology.Events(w.stock), Key: []byte(meta.AggregateID), Value: value, Headers: []kgo.RecordHeader{{Key: serde.MetaHeader, Value: header}},
	}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := cl.EndTransaction(context.Background(), kgo.TryAbort); err != nil {
			t.Error(err)
		}
	}
}

// withhold freezes a broker that does not lead the partition of the aggregate's commands.
func (w *world) withhold(t testing.TB, id string) (release func()) {
	t.Helper()
	topic := w.topology.Commands(w.stock)
	listed, err := kadm.NewClient(w.client).ListTopics(kadm.WithAuthorizedOps(t.Context()), topic)
	if err != nil {
		t.Fatal(err)
	}
	p := listed[topic].Partitions[engine.PartitionOf(id, w.topology.PartitionCount())]
	if len(p.ISR) != len(w.addrs) {
		t.Fatalf("the copies in sync are on brokers %v", p.ISR)
	}
	return w.cluster.Freeze(t, int(p.Leader%int32(len(w.addrs)))+1) // brokers count from 1
}
