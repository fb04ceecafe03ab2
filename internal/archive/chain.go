package archive

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/nexusblueprint/nexus/internal/compat"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// chains judge the events of all files of an archive: each aggregate has the
// versions 1..n, each event names the hash of the one before it, and no event
// id stands twice.
type chains struct {
	topology *topology.Topology
	ids      map[avro.UUID]struct{}
	files    map[string]string // by aggregate type: the file with its events
}

func newChains(t *topology.Topology) *chains {
	return &chains{topology: t, ids: map[avro.UUID]struct{}{}, files: map[string]string{}}
}

// chain is the events of one file.
type chain struct {
	*chains
	file      string
	aggregate topology.Aggregate
	parsed    schemas
	metadata  []*facts
	heads     map[string]head // by aggregate id
	events    int64
}

// head is where an aggregate stands.
type head struct {
	version int64
	hash    platform.Sha256
}

// begin judges a file's header.
func (c *chains) begin(file string, h Header) (*chain, error) {
	foreign := func(field, format string, args ...any) error {
		return &FaultError{File: file, Field: field, Reason: fmt.Sprintf(format, args...), Kind: ErrForeign}
	}
	if h.Context != c.topology.Context {
		return nil, foreign(keyContext, "it holds events of the context %q, this program runs %q", h.Context, c.topology.Context)
	}
	a, known := c.topology.Aggregate(h.Aggregate)
	if !known {
		return nil, foreign(keyAggregate, "this program has no aggregate %q", h.Aggregate)
	}
	if other, twice := c.files[h.Aggregate]; twice {
		return nil, foreign(keyAggregate, "the events of %s are in %s already", h.Aggregate, other)
	}
	c.files[h.Aggregate] = file
	parsed, err := h.parse()
	if err != nil {
		return nil, foreign("", "%v", err)
	}
	for i, s := range parsed.events {
		if !a.RecordsEvent(s.Name()) {
			return nil, foreign(keyEvents, "%s is no event of %s in this program", s.Name(), a.Name())
		}
		if err := c.readable(s.Name(), h.Events[i]); err != nil {
			return nil, foreign(keyEvents, "%v", err)
		}
	}
	ch := &chain{chains: c, file: file, aggregate: a, parsed: parsed, heads: map[string]head{}}
	for i, s := range parsed.metadata {
		if err := c.readable(topology.MetadataSchema, h.Metadata[i]); err != nil {
			return nil, foreign(keyMetadata, "%v", err)
		}
		facts, err := factsOf(s)
		if err != nil {
			return nil, foreign(keyMetadata, "%v", err)
		}
		ch.metadata = append(ch.metadata, facts)
	}
	return ch, nil
}

// readable says why this program could not read what a schema wrote.
func (c *chains) readable(name, writer string) error {
	entry := c.topology.Schemas.Find(name)
	if entry == nil {
		return fmt.Errorf("this program has no schema %s", name)
	}
	why, err := compat.Check(entry.Text, writer)
	if err != nil {
		return err
	}
	if len(why) == 0 {
		return nil
	}
	reasons := make([]string, len(why))
	for i, w := range why {
		reasons[i] = w.String()
	}
	return fmt.Errorf("this program cannot read events of that schema of %s: %s", name, strings.Join(reasons, "; "))
}

// add judges the next event and says of which aggregate it is.
func (c *chain) add(e Event) (fact, error) {
	fault := func(field, format string, args ...any) error {
		return &FaultError{File: c.file, Record: e.Number, Field: field, Reason: fmt.Sprintf(format, args...), Kind: ErrDamaged}
	}
	m := c.metadata[e.MetadataSchema].read(e.Metadata)
	if m.aggregateType != c.aggregate.Name() {
		return m, fault("metadata.aggregateType", "%q stands in a file of %q", m.aggregateType, c.aggregate.Name())
	}
	before := c.heads[m.aggregateID]
	switch _, twice := c.ids[m.eventID]; {
	case twice:
		return m, fault("metadata.eventId", "%s stands a second time", m.eventID)
	case m.version != before.version+1:
		return m, fault("metadata.version", "%s %s has version %d after %d", m.aggregateType, m.aggregateID, m.version, before.version)
	case m.previousHash != before.hash:
		return m, fault("metadata.previousHash", "version %d of %s %s does not follow from the event before it: one of the two was altered", m.version, m.aggregateType, m.aggregateID)
	}
	c.ids[m.eventID] = struct{}{}
	c.heads[m.aggregateID] = head{m.version, hashOf(e)}
	c.events++
	return m, nil
}

// judge is add for bytes that come from elsewhere than a Reader, which has found
// them to be values of their schemas, and for an event under a key.
func (c *chain) judge(e Event, key string) error {
	fault := func(field, reason string) error {
		return &FaultError{File: c.file, Record: e.Number, Field: field, Reason: reason, Kind: ErrDamaged}
	}
	for _, p := range []struct {
		field  string
		schema *avro.Schema
		value  []byte
	}{
		{"metadata", c.parsed.metadata[e.MetadataSchema], e.Metadata},
		{"event", c.parsed.events[e.PayloadSchema], e.Payload},
	} {
		r := avro.NewReader(p.value)
		skip(&r, p.schema, 0)
		if err := r.Close(p.schema.Name()); err != nil {
			return fault(p.field, err.Error())
		}
	}
	m, err := c.add(e)
	if err == nil && m.aggregateID != key {
		return fault("metadata.aggregateId", fmt.Sprintf("%q stands under the key %q", m.aggregateID, key))
	}
	return err
}

func hashOf(e Event) (sum platform.Sha256) {
	h := sha256.New()
	h.Write(e.Metadata)
	h.Write(e.Payload)
	h.Sum(sum[:0])
	return sum
}
