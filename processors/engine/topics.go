package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	adminTimeout = 30 * time.Second
	// delete.retention.ms: how long a compacted topic keeps tombstones if it does not say.
	defaultTombstones = 24 * time.Hour
	// max.message.bytes if the broker does not say.
	defaultMessageBytes = 1 << 20
)

// topics implements goka.TopicManager on kadm. It creates nothing: topics come
// from the topology, with settings that goka knows nothing of.
type topics struct{ e *Engine }

func (topics) Close() error { return nil }

func (t topics) EnsureTableExists(topic string, npar int) error {
	if err := t.EnsureTopicExists(topic, npar, -1, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	c, err := t.e.topic.settings(ctx, topic)
	if err != nil {
		return err
	}
	if c.cleanup != "compact" {
		return fmt.Errorf("table topic %s has cleanup.policy=%s, which forgets keys that are not written for a while: set it to compact", topic, c.cleanup)
	}
	return nil
}

func (t topics) EnsureStreamExists(topic string, npar int) error {
	return t.EnsureTopicExists(topic, npar, -1, nil)
}

// EnsureTopicExists verifies that the topic is there with npar partitions.
func (t topics) EnsureTopicExists(topic string, npar, _ int, _ map[string]string) error {
	ps, err := t.Partitions(topic)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("topic %s does not exist: create the topology's topics first (it needs %d partitions): %w", topic, npar, err)
	case err != nil:
		return err
	case len(ps) != npar:
		return fmt.Errorf("topic %s has %d partitions and must have %d, like the other topics of group %s: their keys would fall apart; create it anew with %d", topic, len(ps), npar, t.e.cfg.Group, npar)
	}
	return nil
}

// Partitions asks the broker once per topic and processor: goka asks again at each
// rebalance, and could not clean up if it got an error there.
func (t topics) Partitions(topic string) ([]int32, error) {
	if ps := t.e.topic.partitions(topic); ps != nil {
		return ps, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	d, err := t.describe(ctx, topic)
	if err != nil {
		return nil, err
	}
	ps := slices.Sorted(maps.Keys(d.leaders))
	t.e.topic.setPartitions(topic, ps)
	return ps, nil
}

// described is what the broker knows of a topic now.
type described struct {
	id      [16]byte
	leaders map[int32]int32 // by partition
}

// describe asks the broker, and not kadm, which answers from memory for up to 5 s: a
// topic that was just created would seem to be missing.
func (t topics) describe(ctx context.Context, topic string) (described, error) {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, t.e.cl)
	if err == nil && len(resp.Topics) != 1 {
		err = errors.New("the broker's answer is empty")
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		return described{}, fmt.Errorf("describing topic %s: %w", topic, err)
	}
	d := described{id: resp.Topics[0].TopicID, leaders: map[int32]int32{}}
	for _, p := range resp.Topics[0].Partitions {
		d.leaders[p.Partition] = p.Leader
	}
	return d, nil
}

// GetOffset answers sarama's OffsetOldest and OffsetNewest. Newest is the high
// watermark, not the last stable offset: recovery has to wait for every
// transaction that was open on the partition when it began, see reader.go.
func (t topics) GetOffset(topic string, partition int32, at int64) (int64, error) {
	kind := offsetHigh
	if at == sarama.OffsetOldest {
		kind = offsetStart
	}
	if o, ok := t.e.topic.snapshot(tp{topic, partition}, kind); ok {
		return o, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	return t.offset(ctx, topic, partition, kind)
}

type offsetKind struct {
	timestamp int64
	isolation int8
	name      string
}

var (
	offsetStart  = offsetKind{-2, 0, "start"}
	offsetHigh   = offsetKind{-1, 0, "high watermark"}
	offsetStable = offsetKind{-1, 1, "last stable offset"}
)

func (t topics) offset(ctx context.Context, topic string, partition int32, kind offsetKind) (int64, error) {
	at := tp{topic, partition}
	m, err := t.offsets(ctx, []tp{at}, kind)
	return m[at], err
}

// offsets asks for one offset of each partition.
func (t topics) offsets(ctx context.Context, parts []tp, kind offsetKind) (map[tp]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = kind.isolation
	byTopic := map[string]int{}
	for _, at := range parts {
		i, ok := byTopic[at.topic]
		if !ok {
			i = len(req.Topics)
			byTopic[at.topic] = i
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = at.topic
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = at.part, kind.timestamp
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	resp, err := req.RequestWith(ctx, t.e.cl)
	if err != nil {
		return nil, fmt.Errorf("asking for the %s of %d partitions: %w", kind.name, len(parts), err)
	}
	m := map[tp]int64{}
	for _, rt := range resp.Topics {
		for _, rp := range rt.Partitions {
			if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
				return nil, fmt.Errorf("asking for the %s of %s/%d: %w", kind.name, rt.Topic, rp.Partition, err)
			}
			m[tp{rt.Topic, rp.Partition}] = rp.Offset
		}
	}
	if len(m) != len(parts) {
		return nil, fmt.Errorf("asking for the %s of %d partitions: the broker answered for %d", kind.name, len(parts), len(m))
	}
	return m, nil
}

// settings of a topic that the engine depends on.
type settings struct {
	cleanup      string        // cleanup.policy
	messageBytes int           // max.message.bytes
	tombstones   time.Duration // delete.retention.ms
}

type topicCache struct {
	e     *Engine
	mu    sync.Mutex
	m     map[string]settings
	parts map[string][]int32
	// Only while a session restores its tables:
	snaps map[offsetKind]map[tp]int64
	ids   map[string][16]byte
}

func (c *topicCache) snapshot(at tp, kind offsetKind) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.snaps[kind][at]
	return o, ok
}

// snap asks once for the offsets of all partitions of the tables that goka is about
// to restore, which it would ask for one by one and several times.
func (c *topicCache) snap(ctx context.Context, tables []string, parts []int32) error {
	all := across(tables, parts)
	if len(all) == 0 {
		return nil
	}
	snaps := map[offsetKind]map[tp]int64{}
	for _, kind := range []offsetKind{offsetStart, offsetHigh} {
		m, err := topics{c.e}.offsets(ctx, all, kind)
		if err != nil {
			return err
		}
		snaps[kind] = m
	}
	ids := map[string][16]byte{}
	for _, t := range tables {
		d, err := topics{c.e}.describe(ctx, t)
		if err != nil {
			return err
		}
		ids[t] = d.id
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.snaps, c.ids = snaps, ids
	return nil
}

func (c *topicCache) dropSnap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.snaps, c.ids = nil, nil
}

// unsnap is told when a partition is restored: what goka asks then is about now.
func (c *topicCache) unsnap(at tp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.snaps {
		delete(m, at)
	}
}

// id of a topic, as the broker knows it now.
func (c *topicCache) id(ctx context.Context, topic string) ([16]byte, error) {
	c.mu.Lock()
	id, ok := c.ids[topic]
	c.mu.Unlock()
	if ok {
		return id, nil
	}
	d, err := topics{c.e}.describe(ctx, topic)
	return d.id, err
}

func (c *topicCache) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m, c.parts = map[string]settings{}, map[string][]int32{}
}

func (c *topicCache) partitions(topic string) []int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parts[topic]
}

func (c *topicCache) setPartitions(topic string, ps []int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts[topic] = ps
}

// settings asks the broker once per topic.
func (c *topicCache) settings(ctx context.Context, topic string) (settings, error) {
	c.mu.Lock()
	s, ok := c.m[topic]
	c.mu.Unlock()
	if ok {
		return s, nil
	}
	if err := c.load(ctx, topic); err != nil {
		return settings{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[topic], nil
}

func (c *topicCache) load(ctx context.Context, topics ...string) error {
	rs, err := c.e.adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return fmt.Errorf("reading the settings of %s: %w", strings.Join(topics, ", "), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range rs {
		if r.Err != nil {
			return fmt.Errorf("reading the settings of topic %s: %w", r.Name, r.Err)
		}
		s := settings{messageBytes: defaultMessageBytes, tombstones: defaultTombstones}
		for _, kv := range r.Configs {
			v := kv.MaybeValue()
			switch kv.Key {
			case "cleanup.policy":
				s.cleanup = v
			case "max.message.bytes":
				if n, err := strconv.Atoi(v); err == nil {
					s.messageBytes = n
				}
			case "delete.retention.ms":
				if n, err := strconv.ParseInt(v, 10, 64); err == nil {
					s.tombstones = time.Duration(n) * time.Millisecond
				}
			}
		}
		c.m[r.Name] = s
	}
	return nil
}

// messageBytes is what one produce batch to a topic may weigh.
func (c *topicCache) messageBytes(topic string) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.m[topic]; ok {
		return int32(min(s.messageBytes, 64<<20))
	}
	return defaultMessageBytes
}

// loadOutputs learns the limits of all topics the processor writes to.
func (c *topicCache) loadOutputs(ctx context.Context, g *goka.GroupGraph) error {
	var names []string
	for _, o := range g.OutputStreams() {
		names = append(names, o.Topic())
	}
	if l := g.LoopStream(); l != nil {
		names = append(names, l.Topic())
	}
	if t := g.GroupTable(); t != nil {
		names = append(names, t.Topic())
	}
	if len(names) == 0 {
		return nil
	}
	return c.load(ctx, names...)
}
