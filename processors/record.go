package processors

import (
	"fmt"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// member is a generated record that can be read as a part of another one.
type member interface {
	domain.Record
	ReadAvro(*avro.Reader)
}

// tableRecord is a group table's record: what the platform keeps, then the
// state or document. Avro concatenates a record's fields, so the two are
// encoded one after the other, whatever the state's type; the topology has made
// sure that the schema called name is exactly that.
type tableRecord[E any, PE interface {
	*E
	member
}] struct {
	name     string
	envelope E
	value    domain.Record
}

type (
	stateRecord    = tableRecord[platform.Envelope, *platform.Envelope]
	documentRecord = tableRecord[platform.DocumentEnvelope, *platform.DocumentEnvelope]
)

func (t *tableRecord[E, PE]) AvroName() string { return t.name }

func (t *tableRecord[E, PE]) AppendAvro(dst []byte) []byte {
	return t.value.AppendAvro(PE(&t.envelope).AppendAvro(dst))
}

func (t *tableRecord[E, PE]) DecodeAvro(src []byte) error {
	value, ok := t.value.(member)
	if !ok {
		return fmt.Errorf("%s is no generated record; run go generate", t.value.AvroName())
	}
	r := avro.NewReader(src)
	PE(&t.envelope).ReadAvro(&r)
	value.ReadAvro(&r)
	return r.Close(t.name)
}
