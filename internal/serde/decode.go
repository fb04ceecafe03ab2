package serde

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
)

const (
	fetchTimeout = 10 * time.Second
	absentFor    = 10 * time.Second // how long an id that the registry does not have is not asked for again
	absentMax    = 1024
)

// writer is a schema that records were written with.
type writer struct {
	id        uint32
	schema    *avro.Schema
	canonical string
	entry     *avro.Entry // the program's type of that name, or nil
}

// Decode replaces into by the framed value. A value of another schema is resolved to that of into: fields that
// into does not have are dropped, fields that the writer did not have get their defaults.
//
// Errors: [ErrFrame], [ErrUnknownSchema], [ErrDecode]: the value will never be readable as into. [ErrRegistry]: its
// schema is not in memory and the registry could not be asked.
func (s *Serde) Decode(framed []byte, into avro.Record) error {
	id, payload, err := unframe(framed)
	if err != nil {
		return err
	}
	if e := s.known.Load().types[id]; e != nil && e.Name == into.AvroName() {
		return fits(into.DecodeAvro(payload))
	}
	w, err := s.writer(id)
	if err != nil {
		return err
	}
	return s.decodeOther(w, payload, into)
}

// DecodeNew returns the framed value as a new record of the program's type for the schema it was written with; an event
// of an older version as the event that the aggregate's upcasters make of it. It is how every stored event is read for
// today's code.
//
// Errors: as Decode; [ErrUnknownSchema] also if the program has no type of that name; [ErrDecode] also where an upcaster
// panics.
func (s *Serde) DecodeNew(framed []byte) (avro.Record, error) {
	rec, err := s.decodeStored(framed)
	if err != nil || len(s.upcasters) == 0 {
		return rec, err
	}
	return s.upcast(rec)
}

// decodeStored is DecodeNew for the version that was written.
func (s *Serde) decodeStored(framed []byte) (avro.Record, error) {
	id, payload, err := unframe(framed)
	if err != nil {
		return nil, err
	}
	if e := s.known.Load().types[id]; e != nil {
		rec := e.New()
		return rec, fits(rec.DecodeAvro(payload))
	}
	w, err := s.writer(id)
	if err != nil {
		return nil, err
	}
	if w.entry == nil {
		return nil, fmt.Errorf("reading a %s (schema %d): %w: this program has no type of that name; a newer release may",
			w.schema.Name(), id, ErrUnknownSchema)
	}
	rec := w.entry.New()
	return rec, s.decodeOther(w, payload, rec)
}

// Schema returns the schema of an id.
//
// Errors: [ErrUnknownSchema], [ErrRegistry].
func (s *Serde) Schema(id uint32) (*avro.Schema, error) {
	w, err := s.writer(id)
	if err != nil {
		return nil, err
	}
	return w.schema, nil
}

// JSON returns any framed value as JSON by the schema it was written with, whether the program has a type for it or
// not.
//
// Errors: as Decode.
func (s *Serde) JSON(framed []byte) ([]byte, error) {
	id, payload, err := unframe(framed)
	if err != nil {
		return nil, err
	}
	w, err := s.writer(id)
	if err != nil {
		return nil, err
	}
	out, err := avro.AppendJSON(nil, w.schema, payload)
	return out, fits(err)
}

// fits marks an error of decoding.
func fits(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrDecode, err)
}

// writer returns the schema of an id: from memory, of the program itself, or from the registry, once.
func (s *Serde) writer(id uint32) (*writer, error) {
	if w, ok := s.writers.Load(id); ok {
		return w.(*writer), nil
	}
	if e := s.known.Load().types[id]; e != nil {
		return s.remember(id, e.Schema()), nil
	}
	if s.absent.has(id, s.clock.Now()) {
		return nil, unknownID(id)
	}
	w, err, _ := s.asking.Do(strconv.FormatUint(uint64(id), 10), func() (any, error) { return s.fetch(id) })
	if err != nil {
		return nil, err
	}
	return w.(*writer), nil
}

func (s *Serde) remember(id uint32, schema *avro.Schema) *writer {
	w, _ := s.writers.LoadOrStore(id, &writer{
		id: id, schema: schema, canonical: schema.Canonical(), entry: s.sets.Find(schema.Name()),
	})
	return w.(*writer)
}

func unknownID(id uint32) error {
	return fmt.Errorf("reading a value of schema %d: %w: the registry has no such id", id, ErrUnknownSchema)
}

// fetch asks the registry for a schema and those it refers to.
func (s *Serde) fetch(id uint32) (*writer, error) {
	if w, ok := s.writers.Load(id); ok { // another goroutine fetched it since this one looked
		return w.(*writer), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	text, refersTo, err := s.registry.Text(ctx, id)
	switch {
	case errors.Is(err, ports.ErrUnknownSchema):
		s.absent.add(id, s.clock.Now().Add(absentFor))
		return nil, unknownID(id)
	case errors.Is(err, ports.ErrInvalidSchema):
		return nil, fmt.Errorf("reading a value of schema %d: %w: %w", id, ErrUnknownSchema, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrRegistry, err)
	}
	schema, err := parse(id, text, refersTo)
	if err != nil {
		return nil, fmt.Errorf("reading a value of schema %d: %w: %w", id, ErrUnknownSchema, err)
	}
	return s.remember(id, schema), nil
}

// parse reads a registry's answer about an id.
func parse(id uint32, text string, refersTo []string) (*avro.Schema, error) {
	sources := []avro.Source{{File: fmt.Sprintf("schema %d", id), Text: text}}
	for i, other := range refersTo {
		sources = append(sources, avro.Source{File: fmt.Sprintf("schema %d, reference %d", id, i+1), Text: other})
	}
	all, err := avro.ParseAll(sources)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// absentIDs remembers for a while which ids the registry does not have, so that a flood of foreign records is not a
// flood of requests.
type absentIDs struct {
	mu    sync.Mutex
	until map[uint32]time.Time
}

func (a *absentIDs) has(id uint32, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.until[id])
}

func (a *absentIDs) add(id uint32, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until == nil || len(a.until) >= absentMax {
		a.until = map[uint32]time.Time{}
	}
	a.until[id] = until
}
