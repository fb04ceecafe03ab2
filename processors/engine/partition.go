package engine

import (
	"context"
	"encoding/binary"
	"hash"

	"github.com/twmb/franz-go/pkg/kgo"
)

// PartitionOf returns the partition of a key among n: Kafka's murmur2 with the
// sign bit masked, what producers of every language use by default.
func PartitionOf[K string | []byte](key K, n int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % n
}

// Partitioner gives franz-go producers the same partitions as [PartitionOf]
// (records without a key go round). Every producer of an input topic must use it
// or Kafka's own default.
func Partitioner() kgo.Partitioner { return kgo.StickyKeyPartitioner(nil) }

// Hasher gives goka's emitters, views and lookups the same partitions as
// [PartitionOf], through goka.WithHasher. goka negates a negative hash where
// Kafka masks its sign bit; masking here leaves goka nothing to negate.
func Hasher() func() hash.Hash32 {
	return func() hash.Hash32 { return new(murmurHash) }
}

// murmurHash implements hash.Hash32. murmur2 starts from the length of the whole
// key, so Write gathers and Sum32 hashes.
type murmurHash struct{ key []byte }

func (h *murmurHash) Write(p []byte) (int, error) { h.key = append(h.key, p...); return len(p), nil }
func (h *murmurHash) Sum32() uint32               { return murmur2(h.key) & 0x7fffffff }
func (h *murmurHash) Sum(b []byte) []byte         { return binary.BigEndian.AppendUint32(b, h.Sum32()) }
func (h *murmurHash) Reset()                      { h.key = h.key[:0] }
func (h *murmurHash) Size() int                   { return 4 }
func (h *murmurHash) BlockSize() int              { return 4 }

// murmur2 as in org.apache.kafka.common.utils.Utils.
func murmur2[K string | []byte](b K) uint32 {
	const (
		seed uint32 = 0x9747b28c
		m    uint32 = 0x5bd1e995
		r           = 24
	)
	h := seed ^ uint32(len(b))
	for len(b) >= 4 {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		b = b[4:]
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}

type forcedKey struct{}

// forced marks a record whose Partition field stands. It travels in the record's
// context, because franz-go looks at no other field of a record's that is free.
var forced = context.WithValue(context.Background(), forcedKey{}, true)

// enginePartitioner is [Partitioner], except for records marked as forced.
type enginePartitioner struct{}

func (enginePartitioner) ForTopic(t string) kgo.TopicPartitioner {
	return topicPartitioner{Partitioner().ForTopic(t)}
}

type topicPartitioner struct{ kgo.TopicPartitioner }

func (t topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Context == forced || t.TopicPartitioner.RequiresConsistency(r)
}

// Partition of a forced record may be out of range: franz-go then fails the record.
func (t topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Context == forced {
		return int(r.Partition)
	}
	return t.TopicPartitioner.Partition(r, n)
}
