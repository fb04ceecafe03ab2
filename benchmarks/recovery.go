package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// recoverySeconds are those of one run: into a cold store and, with the store
// as kill -9 left it, by the same name.
type recoverySeconds struct{ cold, coldAll, warm float64 }

// benchRecovery measures starts that find a long table.
func benchRecovery(ctx context.Context, r *runner) (report, error) {
	records, keys := pick(r, 1_000_000, 3_000), pick(r, 100_000, 300)
	cold, coldAll, warm := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	kinds := []string{kindEngine, kindExactly}
	err := alternate(kinds, pick(r, r.pairs, 1), func(kind string, pair int) error {
		r.begin("pair %d, %s", pair+1, kind)
		took, err := r.recoverOnce(ctx, kind, records, keys)
		if err != nil {
			return err
		}
		r.say("  cold %.2f s (%.2f s from the start of its process), after kill -9 %.2f s from the start of its process", took.cold, took.coldAll, took.warm)
		cold[kind], coldAll[kind], warm[kind] = append(cold[kind], took.cold), append(coldAll[kind], took.coldAll), append(warm[kind], took.warm)
		return nil
	})
	if err != nil {
		return report{}, err
	}
	return report{
		claims: []claim{
			atMost("engine against Kafka Streams, cold store", "%.2f ×", 0.2, median(ratios(cold[kindEngine], cold[kindExactly]))),
			atMost("engine, warm store, after `kill -9`, same name, from the start of its process", "%.2f s", 1, median(warm[kindEngine])),
			figure("cold store: engine / Kafka Streams", "%.2f s / %.2f s", median(cold[kindEngine]), median(cold[kindExactly])),
			figure("the same from the start of the process", "%.2f s / %.2f s", median(coldAll[kindEngine]), median(coldAll[kindExactly])),
			figure("Kafka Streams after `kill -9`, static member (it restores all: exactly once has no store that survives)", "%.2f s", median(warm[kindExactly])),
		},
		notes: []string{fmt.Sprintf("A table of %d records, %d keys, in 8 partitions of a fresh Kafka; rows hold their last commands and grow to %d references. Cold: no local store; from the start of the processor (of KafkaStreams, of the engine) "+
			"until it handles records; the broker has had a group and a transaction before, whose topics it creates at their first use. Then `kill -9` and a start by the same name on the same folder. Medians of %d alternating runs. Verified: the next command of every key (of at most %d) continues at the row's version and hash.",
			records, keys, records/keys, len(cold[kindEngine]), probesMax)},
	}, nil
}

// recoveryBatches are Kafka Streams' documented settings for a restore: larger
// fetches and polls of the restoring consumer.
var recoveryBatches = map[string]string{
	"restore.consumer.max.poll.records": "10000", "restore.consumer.fetch.max.bytes": "67108864",
	"restore.consumer.max.partition.fetch.bytes": "8388608", "restore.consumer.receive.buffer.bytes": "1048576",
	"group.instance.id": "bench",
}

func (r *runner) recoverOnce(ctx context.Context, kind string, records, keys int) (took recoverySeconds, err error) {
	s, err := r.openStack(ctx, "kafka", benchTopology(false), nil)
	if err != nil {
		return took, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.firstUse(ctx); err != nil {
		return took, err
	}
	if err := s.fillTable(ctx, kind, records, keys); err != nil {
		return took, err
	}
	dir, err := r.temp("contender")
	if err != nil {
		return took, err
	}
	start := func() (*contender, float64, error) {
		began := time.Now()
		c, err := r.startContender(ctx, s, kind, "bench", dir, recoveryBatches)
		return c, time.Since(began).Seconds(), err
	}
	c, all, err := start()
	if err != nil {
		return took, err
	}
	took.cold, took.coldAll = c.recovered.Seconds, all
	probes := min(keys, probesMax)
	if err := s.probe(ctx, c, 0, probes); err != nil {
		return took, err
	}
	c.kill()
	if c, took.warm, err = start(); err != nil {
		return took, err
	}
	if err := s.probe(ctx, c, probes, probes); err != nil {
		return took, err
	}
	if err := c.stop(); err != nil {
		return took, err
	}
	return took, s.verifyProbes(ctx, probes, int64(records/keys))
}

// probesMax bounds the commands that show that a table is there.
const probesMax = 1000

// probe sends commands to the first keys, from a number on, and waits for them.
func (s *stack) probe(ctx context.Context, c *contender, first, n int) error {
	err := s.produce(ctx, commands{first: first, n: n, key: roundRobin("sku", n)})
	if err == nil {
		_, err = c.reach(ctx, first+n)
	}
	if err != nil {
		c.kill()
	}
	return err
}

// verifyProbes checks that two events of each probed key continue its row.
func (s *stack) verifyProbes(ctx context.Context, probes int, version int64) error {
	next, hashes := map[string]int64{}, map[string]platform.Sha256{}
	for i := range probes {
		key := roundRobin("sku", probes)(i)
		next[key], hashes[key] = version, rowHash(key, version)
	}
	var meta platform.Metadata
	err := s.each(ctx, s.topology.Events(s.topology.Aggregates[0]), func(r *kgo.Record) error { //nolint:contextcheck // decoding asks for a schema at most once
		header, key := serde.Metadata(r), string(r.Key)
		if err := s.serde.Decode(header, &meta); err != nil {
			return err
		}
		if next[key]++; meta.Version != next[key] || meta.PreviousHash != hashes[key] {
			return fmt.Errorf("version %d of %s does not continue the row that was restored", meta.Version, key)
		}
		hashes[key] = chainOf(header, r.Value)
		return nil
	})
	for key, at := range next {
		if err == nil && at != version+2 {
			err = fmt.Errorf("%s stands at version %d, not at %d", key, at, version+2)
		}
	}
	return err
}

// firstUse makes a fresh broker create its own topics of groups and transactions, which
// takes it about a second, once in its life: that is no part of a recovery.
func (s *stack) firstUse(ctx context.Context) error {
	var offset kadm.Offsets
	offset.AddOffset(s.topology.Commands(s.topology.Aggregates[0]), 0, 0, -1)
	if err := kadm.NewClient(s.client).CommitAllOffsets(ctx, "first-use", offset); err != nil {
		return fmt.Errorf("first use of the broker's groups: %w", err)
	}
	cl, err := kgo.NewClient(s.opts(kgo.TransactionalID("first-use"))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, _, err = cl.ProducerID(ctx); err != nil {
		return fmt.Errorf("first use of the broker's transactions: %w", err)
	}
	return nil
}

// fillTable writes records/keys versions of each row.
func (s *stack) fillTable(ctx context.Context, kind string, records, keys int) error {
	topic := s.tableOf(kind)
	if topic != s.tableOf(kindEngine) { // Kafka Streams takes a topic that is there
		like := map[string]*string{"cleanup.policy": kadm.StringPtr("compact"), "retention.ms": kadm.StringPtr("-1")}
		if _, err := kadm.NewClient(s.client).CreateTopic(ctx, s.topology.PartitionCount(), 1, like, topic); err != nil {
			return err
		}
	}
	cl, err := kgo.NewClient(s.opts(kgo.RecordPartitioner(engine.Partitioner()), kgo.MaxBufferedRecords(100_000))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	key := roundRobin("sku", keys)
	for i := 0; i < records && ctx.Err() == nil; i++ {
		value, err := s.serde.Append(nil, rowOf(key(i), int64(i/keys)+1))
		if err != nil {
			return err
		}
		cl.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(key(i)), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("filling %s: %w", topic, err))
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return context.Cause(ctx)
	}
	return context.Cause(ctx)
}

// rowHash is the hash that a row of a version holds.
func rowHash(key string, version int64) platform.Sha256 {
	return sha256.Sum256(fmt.Appendf(nil, "%s/%d", key, version))
}

// rowOf is a row as the processor would have left it after some commands.
func rowOf(key string, version int64) *retail.StockTable {
	const remembered = 8
	minted := time.Now().Add(-time.Hour)
	row := &retail.StockTable{Envelope: platform.Envelope{
		Version: version, At: avro.MillisOf(minted), Fold: 1,
		EventsSinceSnapshot: version, BytesSinceSnapshot: version * (eventBytes - serde.FrameBytes), Hash: rowHash(key, version),
	}}
	for v := int64(1); v <= version; v++ {
		row.State.OnHand += v
		row.State.References = append(row.State.References, fmt.Sprintf("p%09d", v))
		if v > version-remembered {
			hash := rowHash(key, v)
			row.Envelope.Recent = append(row.Envelope.Recent, platform.Remembered{
				CommandID: commandID(minted, int(v)), CommandType: "shop.stock.AdjustStock", BodyHash: platform.BodyHash(hash[:16]),
				Kind: platform.OutcomeKindAccepted, Version: v, EventTypes: []string{"shop.stock.StockAdjusted"},
			})
		}
	}
	return row
}
