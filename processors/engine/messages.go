package engine

import (
	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

// messages makes sarama's messages of franz-go's records for one transaction. goka
// is done with a message when its record is marked, so at the end of a transaction
// all of them go round.
type messages struct {
	msgs    slab[sarama.ConsumerMessage]
	headers slab[sarama.RecordHeader]
	ptrs    slab[*sarama.RecordHeader]

	name  string // of the last header, and its bytes
	bytes []byte
}

func (m *messages) reset() {
	m.msgs.reset()
	m.headers.reset()
	m.ptrs.reset()
}

// of shares key and value with the record.
func (m *messages) of(r *kgo.Record) *sarama.ConsumerMessage {
	msg := &m.msgs.take(1)[0]
	*msg = sarama.ConsumerMessage{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Key: r.Key, Value: r.Value, Timestamp: r.Timestamp,
	}
	if n := len(r.Headers); n > 0 {
		hs, ptrs := m.headers.take(n), m.ptrs.take(n)
		for i, h := range r.Headers {
			if h.Key != m.name || m.bytes == nil { // nearly all records have the same one
				m.name, m.bytes = h.Key, []byte(h.Key)
			}
			hs[i] = sarama.RecordHeader{Key: m.bytes, Value: h.Value}
			ptrs[i] = &hs[i]
		}
		msg.Headers = ptrs
	}
	return msg
}

// slab hands out slices that stay where they are until reset.
type slab[T any] struct {
	chunks [][]T
	at, n  int // chunk in use, and how much of it
}

const (
	chunkSize  = 1024
	keepChunks = 8
)

func (s *slab[T]) take(n int) []T {
	if n > chunkSize {
		return make([]T, n)
	}
	if len(s.chunks) > 0 && s.n+n > chunkSize {
		s.at, s.n = s.at+1, 0
	}
	if s.at >= len(s.chunks) {
		s.chunks = append(s.chunks, make([]T, chunkSize))
	}
	t := s.chunks[s.at][s.n : s.n+n : s.n+n]
	s.n += n
	return t
}

// reset forgets what the slices refer to, so that fetched records can be collected.
func (s *slab[T]) reset() {
	for i := range s.chunks {
		if i < s.at {
			clear(s.chunks[i])
		} else if i == s.at {
			clear(s.chunks[i][:s.n])
		}
	}
	if len(s.chunks) > keepChunks {
		s.chunks = s.chunks[:keepChunks:keepChunks]
	}
	s.at, s.n = 0, 0
}
