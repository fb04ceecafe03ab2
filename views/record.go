package views

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// member is a generated record that can be read as a part of another one.
type member interface {
	avro.Record
	ReadAvro(*avro.Reader)
}

// tableRecord is a record of an aggregate's group table: envelope, then state. Avro writes a record's fields one after
// the other, so it reads both whatever the state's type; the topology has made sure that the schema is exactly that.
type tableRecord struct {
	name     string
	envelope platform.Envelope
	state    avro.Record
}

func (t *tableRecord) AvroName() string { return t.name }

func (t *tableRecord) AppendAvro(dst []byte) []byte {
	return t.state.AppendAvro(t.envelope.AppendAvro(dst))
}

func (t *tableRecord) DecodeAvro(src []byte) error {
	state, ok := t.state.(member)
	if !ok {
		return fmt.Errorf("%s is no generated record; run go generate", t.state.AvroName())
	}
	r := avro.NewReader(src)
	t.envelope.ReadAvro(&r)
	state.ReadAvro(&r)
	return r.Close(t.name)
}

// header returns the value of the metadata header, nil if the record has none.
func header(r *kgo.Record) []byte {
	for _, h := range r.Headers {
		if h.Key == MetaHeader {
			return h.Value
		}
	}
	return nil
}

// unreadable tells of a record that a view cannot use. It goes on: one record must not take all others away.
func (f *follower) unreadable(r *kgo.Record, err error) {
	f.logger.Error("record cannot be read by the view and is left out", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "err", err)
}
