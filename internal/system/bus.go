package system

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/embedded/broker"
	"github.com/nexusblueprint/nexus/adapters/kafka"
	"github.com/nexusblueprint/nexus/internal/kafkalog"
	"github.com/nexusblueprint/nexus/processors"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/topology"
)

const (
	closePatience = 30 * time.Second
	// reachPatience bounds the first answer of a provider.
	reachPatience = 20 * time.Second
)

// bus is the broker as the rooms reach it.
type bus struct {
	brokers     []string
	opts        []kgo.Opt // seeds, TLS, SASL: of every client
	client      *kgo.Client
	admin       *kadm.Client
	replication int16
	refusal     func() error // why it takes no writes; nil: it says so itself
}

func (b *bus) address() string { return strings.Join(b.brokers, ",") }

func (s *System) openBus(ctx context.Context) error {
	if s.settings.Bus.Embedded() {
		return s.openEmbeddedBus(ctx)
	}
	return s.openKafka(ctx)
}

func (s *System) openEmbeddedBus(ctx context.Context) error {
	// The port first: a port in use must not cost a look at the whole log.
	b, err := broker.Open(ctx, broker.Config{
		Dir: s.dir.Path("broker"), Listen: s.settings.Bus.Listen, Sync: s.sync, Logger: s.logger,
		OwnGroups: []string{s.topology.Context + "."},
	})
	if err != nil {
		return err
	}
	s.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		return b.Close(ctx)
	})
	s.bus = &bus{brokers: []string{b.Addr()}, opts: b.ClientOpts(), replication: 1, refusal: b.Refusal}
	return s.connectBus()
}

// notWritable adds to what stopped a start that the embedded broker takes no writes: then that is why.
func (s *System) notWritable(err error) error {
	if s.bus == nil || s.bus.refusal == nil {
		return err
	}
	if why := s.bus.refusal(); why != nil {
		return fmt.Errorf("%w\nso the start failed: %w", why, err)
	}
	return err
}

func (s *System) connectBus() (err error) {
	if s.bus.client, err = kgo.NewClient(s.bus.opts...); err != nil {
		return fmt.Errorf("setting up the broker's client: %w", err)
	}
	s.bus.admin = kadm.NewClient(s.bus.client)
	s.onStop(func() error { s.bus.client.Close(); return nil })
	return nil
}

func (s *System) openKafka(ctx context.Context) error {
	opts, err := kafka.Options(s.settings.Bus)
	if err != nil {
		return err
	}
	opts = append(opts, kgo.ClientID("nexus-"+s.settings.Instance), kafkalog.To(s.logger), kgo.DisableClientMetrics())
	s.bus = &bus{brokers: s.settings.Bus.Brokers(), opts: opts}
	if err := s.connectBus(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	if err := s.bus.client.Ping(ctx); err != nil {
		return fmt.Errorf("no broker answers at %s: %w: is it running, is the port right, does it want TLS or another user?", s.bus.address(), err)
	}
	faults, warnings, cluster, err := JudgeCluster(ctx, nil, s.bus.client, s.settings.Bus.AllowTransactionV1)
	if errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return s.denied(ctx, err)
	}
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return &FaultsError{Gate: "the broker at " + s.bus.address(), Faults: faults}
	}
	for _, text := range warnings {
		s.logger.Warn("the broker's settings weaken a guarantee", "why", text)
	}
	s.bus.replication = replicas(s.settings.Replication, cluster.Brokers)
	return nil
}

// replicas of the topics that are created.
func replicas(chosen, brokers int) int16 {
	const usual = 3
	if chosen > 0 {
		return int16(chosen)
	}
	return int16(max(1, min(usual, brokers)))
}

// JudgeCluster says what keeps the platform from running on a cluster, and what
// weakens it there. With a topology it looks at the topics that are there, too.
func JudgeCluster(ctx context.Context, t *topology.Topology, client *kgo.Client, allowV1 bool) (faults, warnings []string, cluster *kafka.Cluster, err error) {
	version, err := engine.TransactionVersion(ctx, client)
	if err != nil {
		return nil, nil, nil, err
	}
	if version < transactionVersion {
		const what = "transaction.version is %d and exactly-once needs %d: a produce request that arrives late may join a transaction it does not belong to"
		if allowV1 {
			warnings = append(warnings, fmt.Sprintf(what+"; bus.allowTransactionV1 accepts that", version, transactionVersion))
		} else {
			faults = append(faults, fmt.Sprintf(what+": use Kafka 4.0 or newer and raise the feature (kafka-features.sh upgrade --feature transaction.version=%[2]d), or accept it with bus.allowTransactionV1", version, transactionVersion))
		}
	}
	var topics []string
	if t != nil {
		topics = topicNames(t)
	}
	if cluster, err = kafka.Look(ctx, kadm.NewClient(client), topics...); err != nil {
		return nil, nil, nil, err
	}
	session, transaction := processors.Timeouts()
	faults = append(faults, cluster.Faults(kafka.Needs{Session: session, Transaction: transaction, RecordBytes: largestRecord})...)
	return faults, append(warnings, cluster.Warnings()...), cluster, nil
}

const (
	// transactionVersion is KIP-890's, of Kafka 4.0 and newer.
	transactionVersion = 2
	// largestRecord is a table's, with Kafka's framing.
	largestRecord = 8<<20 + 64<<10
)

func (s *System) openTopics(ctx context.Context) error {
	if !s.settings.Bus.Embedded() {
		unfinished, err := Unfinished(ctx, s.bus.admin, s.topology)
		if err != nil {
			return err
		}
		if unfinished != "" {
			return &FaultsError{Gate: "topics", Faults: []string{unfinished}}
		}
	}
	err := provisionTopics(ctx, s.bus.client, s.topology, s.bus.replication, s.governed)
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return s.denied(ctx, err)
	}
	if err != nil || s.settings.Bus.Embedded() {
		return err
	}
	if err := s.judgeRights(ctx); err != nil {
		return err
	}
	cluster, err := kafka.Look(ctx, s.bus.admin, topicNames(s.topology)...)
	if err != nil {
		return err
	}
	cluster.Settings = nil // judged before the topics were there
	for _, text := range cluster.Warnings() {
		s.logger.Warn("the topics' settings weaken a guarantee", "why", text)
	}
	return nil
}
