package domain

import (
	"fmt"
	"strings"
)

// Change is what one event means for the document of one key.
type Change struct {
	Key    string
	Record Record
}

// Projection folds events into documents of one type. Make one with
// NewProjection. It is immutable and safe for concurrent use.
//
// Its fold must not depend on the order of events of different aggregates:
// where two may set a field, the greatest of a stated key wins. domaintest
// shuffles and compares.
type Projection struct {
	name    string
	version int
	doc     func() Record
	split   map[string]func(Event) []Change
	apply   map[string]applier
	faults  []string
}

type applier struct {
	new   func() Record
	apply func(doc, change Record)
}

// ProjectionPart is one piece of a projection's declaration: From or Apply.
type ProjectionPart[D any] func(*Projection)

// NewProjection declares a read model whose documents are the generated record
// D. Raise version when its fold changes meaning: the new version is built
// beside the old one.
func NewProjection[D any, P pointer[D]](name string, version int, parts ...ProjectionPart[D]) *Projection {
	p := &Projection{
		name: name, version: version, doc: func() Record { return P(new(D)) },
		split: map[string]func(Event) []Change{}, apply: map[string]applier{},
	}
	if name == "" || strings.ToLower(name) != name {
		p.faults = append(p.faults, fmt.Sprintf("projection %q: the name must be lower case and not empty", name))
	}
	if version < 1 {
		p.faults = append(p.faults, fmt.Sprintf("projection %s: version %d, must be at least 1", name, version))
	}
	for _, part := range parts {
		part(p)
	}
	if len(p.split) == 0 || len(p.apply) == 0 {
		p.faults = append(p.faults, fmt.Sprintf("projection %s: needs at least one From and one Apply", name))
	}
	return p
}

// From declares an event the projection reads and the changes it causes, at
// most one per key.
func From[D any, E any, PE pointer[E]](split func(PE) []Change) ProjectionPart[D] {
	return func(p *Projection) {
		name := PE(new(E)).AvroName()
		if _, twice := p.split[name]; twice {
			p.faults = append(p.faults, fmt.Sprintf("projection %s: event %s is read twice", p.name, name))
		}
		p.split[name] = func(e Event) []Change { return split(e.(PE)) }
	}
}

// Apply declares how a change of type C alters the document. The first change
// of a key finds the zero document.
func Apply[D any, C any, PD pointer[D], PC pointer[C]](apply func(doc *D, change *C)) ProjectionPart[D] {
	return func(p *Projection) {
		name := PC(new(C)).AvroName()
		if _, twice := p.apply[name]; twice {
			p.faults = append(p.faults, fmt.Sprintf("projection %s: change %s is applied twice", p.name, name))
		}
		p.apply[name] = applier{
			new:   func() Record { return PC(new(C)) },
			apply: func(doc, change Record) { apply((*D)(doc.(PD)), (*C)(change.(PC))) },
		}
	}
}

// Name is the read model's name, such as "sales-by-country".
func (p *Projection) Name() string { return p.name }

// Version of the fold, from 1.
func (p *Projection) Version() int { return p.version }

// Faults are the mistakes of the declaration.
func (p *Projection) Faults() []string { return p.faults }

// Reads are the full names of the events it reads, sorted.
func (p *Projection) Reads() []string { return sortedKeys(p.split) }

// Changes are the full names of the changes it applies, sorted.
func (p *Projection) Changes() []string { return sortedKeys(p.apply) }

// NewDocument is the document of a key without changes.
func (p *Projection) NewDocument() Record { return p.doc() }

// NewChange makes an empty change, nil if the projection does not apply it.
func (p *Projection) NewChange(name string) Record {
	if a, ok := p.apply[name]; ok {
		return a.new()
	}
	return nil
}

// Split returns the changes an event causes; none for an event it does not read.
// A change it cannot apply is a defect of the projection and panics.
func (p *Projection) Split(e Event) []Change {
	split, ok := p.split[e.AvroName()]
	if !ok {
		return nil
	}
	changes := split(e)
	for _, c := range changes {
		if _, ok := p.apply[c.Record.AvroName()]; !ok {
			panic(fmt.Sprintf("projection %s: %s is split into %s, which no Apply takes", p.name, e.AvroName(), c.Record.AvroName()))
		}
	}
	return changes
}

// Apply alters the document by the change, in place.
func (p *Projection) Apply(doc, change Record) { p.apply[change.AvroName()].apply(doc, change) }
