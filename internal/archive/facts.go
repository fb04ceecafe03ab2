package archive

import (
	"fmt"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// fact is what the archive itself needs of an event's metadata.
type fact struct {
	eventID       avro.UUID
	aggregateType string
	aggregateID   string
	version       int64
	commandID     string
	at            avro.Millis
	previousHash  platform.Sha256
}

// facts read them by a schema of any release: by name, wherever they stand.
type facts struct{ schema *avro.Schema }

func factsOf(s *avro.Schema) (*facts, error) {
	for name, want := range map[string]func(*avro.Schema) bool{
		"eventId":       func(s *avro.Schema) bool { return s.Kind() == avro.KindFixed && s.Size() == len(avro.UUID{}) },
		"aggregateType": func(s *avro.Schema) bool { return s.Kind() == avro.KindString },
		"aggregateId":   func(s *avro.Schema) bool { return s.Kind() == avro.KindString },
		"commandId":     func(s *avro.Schema) bool { return s.Kind() == avro.KindString },
		"version":       func(s *avro.Schema) bool { return s.Kind() == avro.KindLong },
		"at":            func(s *avro.Schema) bool { return s.Kind() == avro.KindLong },
		"previousHash":  func(s *avro.Schema) bool { return s.Kind() == avro.KindFixed && s.Size() == len(platform.Sha256{}) },
	} {
		if f := s.Field(name); f == nil || !want(f.Schema) {
			return nil, fmt.Errorf("%s has no field %s, or one of another type", s.Name(), name)
		}
	}
	return &facts{schema: s}, nil
}

// read takes bytes that skip has found valid.
func (f *facts) read(metadata []byte) (m fact) {
	r := avro.NewReader(metadata)
	for i := range f.schema.Fields() {
		switch field := &f.schema.Fields()[i]; field.Name {
		case "eventId":
			r.Fixed(m.eventID[:])
		case "aggregateType":
			m.aggregateType = r.String()
		case "aggregateId":
			m.aggregateID = r.String()
		case "version":
			m.version = r.Long()
		case "commandId":
			m.commandID = r.String()
		case "at":
			m.at = avro.Millis(r.Long())
		case "previousHash":
			r.Fixed(m.previousHash[:])
		default:
			skip(&r, field.Schema, 0)
		}
	}
	return m
}
