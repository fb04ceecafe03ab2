// Package serde puts records into Confluent framing and takes them out again: a zero byte, the schema's id in the
// registry as four bytes, then Avro. It is the gate of publication: a record whose schema is not registered is not
// framed. It reads what other releases wrote by resolving their schema to the one compiled in, and events of older
// versions by the topology's upcasters.
//
// It does not decide what becomes of a record that cannot be read, and it knows no topics.
package serde

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

const lookupsAtATime = 8

// Serde frames the records of a topology. It is safe for concurrent use.
type Serde struct {
	registry  ports.SchemaRegistry
	sets      avro.Sets
	upcasters map[string]topology.Aggregate // by the older events that they make newer
	clock     clock.Clock
	patience  time.Duration // with the registry, for a schema that a value needs

	known       atomic.Pointer[known]
	writers     sync.Map // uint32 → *writer
	resolutions sync.Map // resolutionKey → *resolution
	asking      singleflight.Group
	absent      absentIDs
	learning    sync.Mutex // one Load or Register at a time
}

// known is what the registry said about the schemas of this program; it is never changed, only replaced.
type known struct {
	ids   map[string]uint32      // by record name
	types map[uint32]*avro.Entry // by id
}

// New returns a Serde for the schemas and events of a topology. It knows no ids yet: call Load or Register before
// anything is to be framed. Reading works at once.
func New(registry ports.SchemaRegistry, t *topology.Topology) *Serde {
	s := &Serde{registry: registry, sets: t.Schemas, upcasters: upcasters(t), clock: clock.System{}, patience: fetchTimeout}
	s.known.Store(&known{})
	return s
}

// Load looks up the ids of all schemas of the program under their subjects, the record names. It registers nothing.
//
// Errors: [ErrNotRegistered] naming every subject that lacks the program's version of its schema; what is
// registered can be framed nevertheless. [ErrWrongID] if an id means another schema; then nothing that was not known
// before can be framed. [ErrRegistry] if it could not be asked.
func (s *Serde) Load(ctx context.Context) error {
	missing, err := s.load(ctx)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	names := make([]string, len(missing))
	for i, e := range missing {
		names[i] = e.Name
	}
	return fmt.Errorf("loading schema ids: %w: %s", ErrNotRegistered, strings.Join(names, ", "))
}

// Register registers the schemas that Load would miss, in the order of their names, and loads all ids.
//
// Errors: [ErrRegistry] if it could not be asked; [ErrWrongID] as Load; an error that names the first subject the registry refused, with
// the registry's reason, for instance that the change is not compatible.
func (s *Serde) Register(ctx context.Context) error {
	missing, err := s.load(ctx)
	if err != nil {
		return err
	}
	for _, e := range missing {
		if _, err := s.registry.Register(ctx, ports.Schema{Subject: e.Name, Text: e.Text}); err != nil {
			return registryError(err)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return s.Load(ctx)
}

// load asks for all ids, keeps the answers and returns the entries that are not registered.
func (s *Serde) load(ctx context.Context) (missing []*avro.Entry, err error) {
	s.learning.Lock()
	defer s.learning.Unlock()
	entries, err := s.published()
	if err != nil {
		return nil, err
	}
	ids := make([]uint32, len(entries))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(lookupsAtATime)
	for i, e := range entries {
		group.Go(func() (err error) {
			ids[i], err = s.lookup(gctx, e)
			return registryError(err)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	k := &known{ids: map[string]uint32{}, types: map[uint32]*avro.Entry{}}
	for i, e := range entries {
		if ids[i] == 0 {
			missing = append(missing, e)
			continue
		}
		k.ids[e.Name], k.types[ids[i]] = ids[i], e
	}
	s.known.Store(k)
	return missing, nil
}

// lookup returns the id of a record's schema, 0 if it is not registered. It asks what the id means, too: whatever is
// framed with a wrong id can be read by nobody, for ever.
func (s *Serde) lookup(ctx context.Context, e *avro.Entry) (uint32, error) {
	id, err := s.registry.Lookup(ctx, ports.Schema{Subject: e.Name, Text: e.Text})
	if errors.Is(err, ports.ErrUnknownSchema) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	wrong, err := s.otherThan(ctx, e, id)
	if err != nil || wrong == "" {
		return id, err
	}
	return 0, fmt.Errorf("looking up schema %s: %w: it answers %d, and that is %s: nothing may be framed so; find out what stands between here and the registry, or mend the registry, and start again",
		e.Name, ErrWrongID, id, wrong)
}

// otherThan asks what an id means, and says so if that is not the schema of e.
func (s *Serde) otherThan(ctx context.Context, e *avro.Entry, id uint32) (string, error) {
	text, refersTo, err := s.registry.Text(ctx, id)
	if errors.Is(err, ports.ErrUnknownSchema) {
		return "the id of nothing", nil
	}
	if err != nil && !errors.Is(err, ports.ErrInvalidSchema) {
		return "", err
	}
	var schema *avro.Schema
	if err == nil {
		schema, err = parse(id, text, refersTo)
	}
	switch {
	case err != nil:
		return fmt.Sprintf("no schema (%s)", err), nil
	case schema.Name() != e.Name:
		return "the schema of " + schema.Name(), nil
	case schema.Canonical() != e.Schema().Canonical():
		return "another version of it", nil
	}
	return "", nil
}

// published are the records that have a subject, by name.
func (s *Serde) published() ([]*avro.Entry, error) {
	entries, err := s.sets.All()
	return slices.DeleteFunc(entries, func(e *avro.Entry) bool { return e.Part }), err
}

// Append appends rec, framed, to dst.
//
// Errors: [ErrNotRegistered]; then dst comes back as it was. It panics where rec's own AppendAvro does.
func (s *Serde) Append(dst []byte, rec avro.Record) ([]byte, error) {
	id, ok := s.known.Load().ids[rec.AvroName()]
	if !ok {
		return dst, notRegistered(rec.AvroName())
	}
	dst = append(dst, 0, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	return rec.AppendAvro(dst), nil
}

// ID returns the id of a record's schema, and whether it is registered.
func (s *Serde) ID(name string) (uint32, bool) {
	id, ok := s.known.Load().ids[name]
	return id, ok
}

func notRegistered(name string) error {
	return fmt.Errorf("publishing %s: %w under the subject %s: register it with `nexus schemas register` and start again",
		name, ErrNotRegistered, name)
}

// unframe returns the schema id of a framed value, and the rest.
func unframe(b []byte) (id uint32, payload []byte, err error) {
	switch {
	case len(b) < FrameBytes:
		return 0, nil, fmt.Errorf("reading a value of %d bytes: %w: want at least %d", len(b), ErrFrame, FrameBytes)
	case b[0] != 0:
		return 0, nil, fmt.Errorf("reading a value: %w: it begins with byte %#02x instead of 0", ErrFrame, b[0])
	}
	return binary.BigEndian.Uint32(b[1:]), b[FrameBytes:], nil
}

// registryError marks an error of the registry that may pass; nil stays nil. What the registry refused is no ErrRegistry.
func registryError(err error) error {
	if errors.Is(err, ports.ErrRegistryUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrRegistry, err)
	}
	return err
}
