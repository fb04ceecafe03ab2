package processors

import (
	"errors"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// Reasons of dead letters. They are contracts.
const (
	ReasonUndecodable    = "undecodable"
	ReasonWrongKey       = "wrong-key"
	ReasonWrongPartition = "wrong-partition"
	ReasonFailed         = "failed"
	ReasonPanicked       = "panicked"
)

// source is a record as it came from a topic.
type source struct {
	topic     string
	partition int32
	offset    int64
	key       string
	value     []byte
	headers   map[string][]byte
	timestamp avro.Millis
}

func (s *source) header(name string) []byte { return s.headers[name] }

// failure is why a record is set aside.
type failure struct {
	reason, detail, stack string
	cause                 error // nil where there is none beyond the detail
}

// passes says that the failure is of the surroundings, not of the record.
func (f *failure) passes() bool {
	return errors.Is(f.cause, serde.ErrRegistry) || errors.Is(f.cause, errHistoryLate)
}

// letter is the dead letter of a record: the original, byte for byte, and why.
func (s *source) letter(group string, f failure, now avro.Millis) *platform.DeadLetter {
	d := &platform.DeadLetter{
		Reason: f.reason, Detail: f.detail, Group: group,
		Topic: s.topic, Partition: s.partition, Offset: s.offset, Timestamp: s.timestamp,
		Key: []byte(s.key), Value: s.value, Attempts: 1, FirstAt: now, LastAt: now,
	}
	if f.stack != "" {
		d.Stack = &f.stack
	}
	for _, name := range avro.SortedKeys(s.headers) {
		d.Headers = append(d.Headers, platform.DeadLetterHeader{Name: name, Value: s.headers[name]})
	}
	return d
}
