package views

import (
	"encoding/binary"
)

// Layout of keys in the local store, big endian:
//
//	'v' view 0 'f'                                        format of the view's data
//	'v' view 0 'p' topic 0 partition                      mark: how far the partition was read
//	'v' 'o' 1 hour id 0 aggregate 0 partition offset      framed outcome
//	'v' 's' 1 aggregate 0 id                              partition and offset of the table record
//	'v' 'h' 1 aggregate 0 length-of-id id version         length-of-metadata metadata event, both framed
//
// Aggregate names contain no zero byte (topology's rule), so what follows them cannot run into them.
type space byte

const (
	outcomeSpace space = 'o'
	stateSpace   space = 's'
	historySpace space = 'h'
)

// format is raised when the layout changes: a view that finds another number reads its topics anew.
const format = 1

const (
	kindSystem byte = 0
	kindData   byte = 1
	kindEnd    byte = 2
)

func (s space) key(kind byte) []byte { return append(make([]byte, 0, 96), 'v', byte(s), kind) }

func (s space) formatKey() []byte { return append(s.key(kindSystem), 'f') }

func (s space) markKey(dst []byte, tp TopicPartition) []byte {
	dst = append(dst[:0], 'v', byte(s), kindSystem, 'p')
	dst = append(append(dst, tp.Topic...), 0)
	return binary.BigEndian.AppendUint32(dst, uint32(tp.Partition))
}

// mark says how far a partition was read.
type mark struct {
	topicID [16]byte // tells a topic from another one that took its name
	next    int64    // offset to go on from
}

func (m mark) append(dst []byte) []byte {
	dst = append(dst[:0], m.topicID[:]...)
	return binary.BigEndian.AppendUint64(dst, uint64(m.next))
}

func parseMark(b []byte) (m mark, ok bool) {
	if len(b) != 24 {
		return m, false
	}
	copy(m.topicID[:], b)
	m.next = int64(binary.BigEndian.Uint64(b[16:]))
	return m, m.next >= 0
}
