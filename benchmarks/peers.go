package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/processors"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/topology"
)

// running is a subject's goroutine.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

// runUntilStopped runs until stop, not until ctx ends: a subject drains first.
func runUntilStopped(ctx context.Context, run func(context.Context) error) running {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := running{cancel: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- run(ctx) }()
	return r
}

// failed is the error of an end that nobody asked for.
func (r running) failed() error {
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	default:
		return nil
	}
}

func (r running) stop() error {
	r.cancel()
	return <-r.ended
}

// engineSubject is the platform's own processors.
type engineSubject struct {
	running
	ps    *processors.Processors
	close []func()
}

func startEngine(ctx context.Context, cfg subjectConfig, t *topology.Topology, framer *serde.Serde) (subject, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Broker))
	if err != nil {
		return nil, err
	}
	local, err := localstore.Open(filepath.Join(cfg.Dir, "local"), localstore.Options{})
	if err != nil {
		return nil, err
	}
	store, err := engine.NewStore(local)
	if err != nil {
		return nil, err
	}
	instance, epoch := cfg.Instance, ""
	if instance == "" {
		instance, epoch = "bench", uuid.NewString()
	}
	ps, err := processors.New(processors.Config{
		Topology: t, Framer: framer, Brokers: []string{cfg.Broker}, Client: client, Store: store, InstanceID: instance,
		Epoch: epoch, Clock: clock.System{}, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, err
	}
	return &engineSubject{running: runUntilStopped(ctx, ps.Run), ps: ps, close: []func(){func() { _ = local.Close() }, client.Close}}, nil
}

func (s *engineSubject) ready(ctx context.Context) error {
	return poll(ctx, time.Millisecond, func() (bool, error) { return s.ps.Status()[0].Ready, s.failed() })
}

func (s *engineSubject) done() (int64, error) { return s.ps.Status()[0].Records, s.failed() }

func (s *engineSubject) stop() error {
	err := s.running.stop()
	for _, f := range s.close {
		f()
	}
	return err
}

// saramaSettings are what goka's and sarama's documentation advises for
// throughput; README.md lists them.
func saramaSettings() *sarama.Config {
	c := goka.DefaultConfig()
	c.Version = sarama.V2_8_0_0
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.ChannelBufferSize = 4096
	c.Consumer.Fetch.Default = 4 << 20
	c.Producer.Flush.Bytes = 1 << 20
	c.Producer.Flush.Frequency = 20 * time.Millisecond
	c.Producer.MaxMessageBytes = 8 << 20
	return c
}

func levelDBSettings() *opt.Options {
	return &opt.Options{WriteBuffer: 16 << 20, BlockCacheCapacity: 32 << 20, Filter: filter.NewBloomFilter(10)}
}

// saramaSubject is plain goka, at least once.
type saramaSubject struct {
	running
	p      *goka.Processor
	admin  *kadm.Client
	client *kgo.Client
	events string
}

func startSarama(ctx context.Context, cfg subjectConfig, t *topology.Topology, framer *serde.Serde) (subject, error) {
	goka.ReplaceGlobalConfig(saramaSettings())
	topics := goka.NewTopicManagerConfig()
	topics.Table.Replication, topics.Stream.Replication = 1, 1
	p, err := goka.NewProcessor([]string{cfg.Broker}, processors.PlainGraph(t, t.Aggregates[0], framer, prometheus.NewRegistry()),
		goka.WithLogger(silent{}), goka.WithHasher(engine.Hasher()), goka.WithNilHandling(goka.NilProcess),
		goka.WithPartitionChannelSize(1024),
		goka.WithTopicManagerBuilder(goka.TopicManagerBuilderWithTopicManagerConfig(topics)),
		goka.WithStorageBuilder(storage.BuilderWithOptions(filepath.Join(cfg.Dir, "tables"), levelDBSettings())),
	)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Broker))
	if err != nil {
		return nil, err
	}
	return &saramaSubject{running: runUntilStopped(ctx, p.Run), p: p, admin: kadm.NewClient(client), client: client, events: t.Events(t.Aggregates[0])}, nil
}

func (s *saramaSubject) ready(ctx context.Context) error {
	return poll(ctx, time.Millisecond, func() (bool, error) { return s.p.Recovered(), s.failed() })
}

// done counts the events on their topic: without transactions every record is
// one.
func (s *saramaSubject) done() (n int64, err error) {
	ends, err := s.admin.ListEndOffsets(context.Background(), s.events)
	if err != nil {
		return 0, err
	}
	ends.Each(func(end kadm.ListedOffset) { n += end.Offset })
	return n, s.failed()
}

func (s *saramaSubject) stop() error {
	err := s.running.stop()
	s.client.Close()
	return err
}

type silent struct{}

func (silent) Print(...any)          {}
func (silent) Println(...any)        {}
func (silent) Printf(string, ...any) {}
