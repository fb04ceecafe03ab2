package views

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// TopicPartition names one partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns topic/partition.
func (tp TopicPartition) String() string { return tp.Topic + "/" + strconv.Itoa(int(tp.Partition)) }

func (tp TopicPartition) compare(o TopicPartition) int {
	if c := strings.Compare(tp.Topic, o.Topic); c != 0 {
		return c
	}
	return int(tp.Partition) - int(o.Partition)
}

// Position is how far a reader or writer has come: for each partition the offset of the last record it includes, from
// 0. A partition that is not in it includes nothing.
type Position map[TopicPartition]int64

// Bounds of a position as text.
const (
	positionBytesMax   = 64 << 10
	positionEntriesMax = 2_000
	topicBytesMax      = 249 // Kafka's bound
)

// ParsePosition reads what [Position.String] writes: topic/partition/offset, comma-separated in any order, where the
// greatest offset of a partition counts. The empty text is the empty position.
//
// Errors: [ErrPosition], with a sentence for the client.
func ParsePosition(text string) (Position, error) {
	if len(text) > positionBytesMax {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrPosition, positionBytesMax)
	}
	pos := Position{}
	if text == "" {
		return pos, nil
	}
	for entry := range strings.SplitSeq(text, ",") {
		tp, offset, err := parseEntry(entry)
		if err != nil {
			return nil, err
		}
		pos.Include(tp, offset)
		if len(pos) > positionEntriesMax {
			return nil, fmt.Errorf("%w: more than %d partitions", ErrPosition, positionEntriesMax)
		}
	}
	return pos, nil
}

func parseEntry(entry string) (TopicPartition, int64, error) {
	bad := func(what string) (TopicPartition, int64, error) {
		return TopicPartition{}, 0, fmt.Errorf("%w: %s in %q; want topic/partition/offset, such as shop.order.events/3/18422, comma-separated", ErrPosition, what, clip(entry))
	}
	topic, rest, ok := strings.Cut(entry, "/")
	partition, offset, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return bad("too few parts")
	}
	if !validTopic(topic) {
		return bad("no topic name")
	}
	p, ok := parseNumber(partition, 31)
	if !ok {
		return bad("no partition number")
	}
	o, ok := parseNumber(offset, 63)
	if !ok {
		return bad("no offset")
	}
	return TopicPartition{Topic: topic, Partition: int32(p)}, int64(o), nil
}

// validTopic follows Kafka's rule for topic names.
func validTopic(name string) bool {
	if name == "" || len(name) > topicBytesMax || name == "." || name == ".." {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// parseNumber reads digits without sign or leading zeros.
func parseNumber(s string, bits int) (uint64, bool) {
	if s == "" || len(s) > 1 && s[0] == '0' || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, bits)
	return n, err == nil
}

func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// String returns topic/partition/offset, comma-separated, sorted by topic and partition.
func (p Position) String() string {
	tps := make([]TopicPartition, 0, len(p))
	for tp := range p {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, TopicPartition.compare)
	var b []byte
	for i, tp := range tps {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, tp.Topic...), '/')
		b = append(strconv.AppendInt(b, int64(tp.Partition), 10), '/')
		b = strconv.AppendInt(b, p[tp], 10)
	}
	return string(b)
}

// Include raises the position so that it includes the offset.
func (p Position) Include(tp TopicPartition, offset int64) {
	if have, ok := p[tp]; !ok || offset > have {
		p[tp] = offset
	}
}
