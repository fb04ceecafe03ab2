package serde

import (
	"fmt"
	"slices"

	lib "github.com/twmb/avro"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// resolutionKey names a pair of writer's and reader's schema.
type resolutionKey struct {
	id   uint32
	name string
}

// resolution turns bytes of a writer's schema into bytes of the reader's.
type resolution struct {
	same     bool // both schemas encode alike: nothing to turn
	resolved *lib.Schema
	reader   *lib.Schema
	err      error
}

// decodeOther decodes a payload that was written with another schema than the program's own.
func (s *Serde) decodeOther(w *writer, payload []byte, into avro.Record) error {
	key := resolutionKey{w.id, into.AvroName()}
	found, ok := s.resolutions.Load(key)
	if !ok {
		found, _ = s.resolutions.LoadOrStore(key, s.resolve(w, into.AvroName()))
	}
	r := found.(*resolution)
	if r.err != nil {
		return r.err
	}
	if r.same {
		return fits(into.DecodeAvro(payload))
	}
	turned, err := r.turn(payload)
	if err != nil {
		return fmt.Errorf("reading a %s (schema %d): %w", w.schema.Name(), w.id, fits(err))
	}
	return fits(into.DecodeAvro(turned))
}

// resolve pairs a writer's schema with the program's schema of a name.
func (s *Serde) resolve(w *writer, name string) *resolution {
	e := s.sets.Find(name)
	if e == nil {
		return &resolution{err: fmt.Errorf("reading a %s: %w: no schema of that name in this program", name, ErrUnknownSchema)}
	}
	reader := e.Schema()
	if w.schema.Name() != name && !slices.Contains(reader.Aliases(), w.schema.Name()) {
		return &resolution{err: fmt.Errorf("reading a %s: %w: the value is a %s (schema %d)", name, ErrDecode, w.schema.Name(), w.id)}
	}
	if w.canonical == reader.Canonical() {
		return &resolution{same: true}
	}
	r, err := pair(w.schema, reader)
	if err != nil {
		err = fmt.Errorf("reading a %s: %w: schema %d cannot be resolved: %w", name, ErrDecode, w.id, err)
	}
	r.err = err
	return &r
}

// pair compiles the resolution of two schemas.
func pair(writer, reader *avro.Schema) (r resolution, err error) {
	// A custom type that matches everything and converts nothing: values stay as Avro has them, so that no logical
	// type is checked, rounded or refused on the way.
	plain := lib.CustomType{}
	w, err := lib.Parse(writer.Text(), plain)
	if err != nil {
		return r, err
	}
	if r.reader, err = lib.Parse(reader.Text(), plain); err != nil {
		return r, err
	}
	r.resolved, err = lib.Resolve(w, r.reader)
	return r, err
}

// turn returns the bytes of the reader's schema for bytes of the writer's.
func (r *resolution) turn(payload []byte) ([]byte, error) {
	var v any
	rest, err := r.resolved.Decode(payload, &v)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes left over", len(rest))
	}
	return r.reader.AppendEncode(nil, v)
}
