package topology

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// Faults judges the declaration: all that is wrong with it at once, each with
// its place. None means that it can be started.
func (t *Topology) Faults() []string {
	v := &validation{t: t, seen: map[string]string{}}
	v.context()
	for i, a := range t.Aggregates {
		v.aggregate(fmt.Sprintf("aggregates[%d]", i), a)
	}
	for i, p := range t.Projections {
		v.projection(fmt.Sprintf("projections[%d]", i), p)
	}
	return v.faults
}

type validation struct {
	t      *Topology
	seen   map[string]string // what may stand only once, and where it stands
	faults []string
}

func (v *validation) fault(place, format string, args ...any) {
	v.faults = append(v.faults, place+": "+fmt.Sprintf(format, args...))
}

func (v *validation) once(place, what string) {
	if first, twice := v.seen[what]; twice {
		v.fault(place, "%s stands in %s already", what, first)
		return
	}
	v.seen[what] = place
}

func (v *validation) context() {
	t := v.t
	if !namePattern.MatchString(t.Context) {
		v.fault("context", "%q is no name: lower-case letters, digits and single hyphens, beginning with a letter", t.Context)
	}
	if t.Owner == "" {
		v.fault("context", "has no owner; name the team that answers for it")
	}
	if t.Partitions < 0 || t.Partitions > 1000 {
		v.fault("context", "%d partitions; 1 to 1000 are possible, 0 means %d", t.Partitions, PartitionsDefault)
	}
	if len(t.Aggregates) == 0 {
		v.fault("context", "has no aggregate")
	}
	if _, err := t.Schemas.All(); err != nil {
		v.fault("schemas", "%v", err)
	}
	for _, platform := range []string{MetadataSchema, CommandMetadataSchema, ChangeMetadataSchema, OutcomeSchema, DeadLetterSchema} {
		v.schema("schemas", platform)
	}
}

func (v *validation) aggregate(place string, a Aggregate) {
	if a.Aggregate == nil {
		v.fault(place, "has no definition; make one with domain.NewAggregate")
		return
	}
	place += " " + a.Name()
	v.faults = append(v.faults, a.Faults()...)
	if !namePattern.MatchString(a.Name()) {
		v.fault(place, "%q is no name: lower-case letters, digits and single hyphens", a.Name())
	}
	if a.Owner == "" {
		v.fault(place, "has no owner")
	}
	v.once(place, "name "+a.Name())
	for _, c := range a.Commands() {
		v.schema(place, c)
		v.once(place, "command "+ShortName(c))
	}
	for _, e := range a.Events() {
		v.schema(place, e)
		v.once(place, "event "+e)
	}
	for _, r := range a.Resilient {
		if !a.RecordsEvent(r) {
			v.fault(place, "resilient event %s is none of its events (%s)", r, strings.Join(a.Events(), ", "))
		}
	}
	v.schema(place, a.NewState().AvroName())
	v.table(place, a.Table, "state", a.NewState().AvroName())
}

func (v *validation) projection(place string, p Projection) {
	if p.Projection == nil {
		v.fault(place, "has no definition; make one with domain.NewProjection")
		return
	}
	place += " " + p.Name()
	v.faults = append(v.faults, p.Faults()...)
	if !namePattern.MatchString(p.Name()) {
		v.fault(place, "%q is no name: lower-case letters, digits and single hyphens", p.Name())
	}
	if p.Owner == "" {
		v.fault(place, "has no owner")
	}
	v.once(place, "name "+p.Name())
	for _, e := range p.Reads() {
		a, ok := v.t.AggregateOfEvent(e)
		switch {
		case !ok:
			v.fault(place, "reads %s, which no aggregate of the topology records", e)
		case a.ReadAs(e) != e:
			v.fault(place, "reads %s, which aggregate %s upcasts: it would never see one; read %s", e, a.Name(), a.ReadAs(e))
		}
	}
	for _, c := range p.Changes() {
		v.schema(place, c)
	}
	v.table(place, p.Table, "document", p.NewDocument().AvroName())
}

// schema demands a schema that the topology has.
func (v *validation) schema(place, name string) bool {
	if v.t.Schemas.Find(name) == nil {
		v.fault(place, "there is no schema %s among the topology's schemas; write its .avsc and run go generate", name)
		return false
	}
	return true
}

// table demands a table record of an envelope and then the state or document:
// processors encode the two one after the other.
func (v *validation) table(place, name, field, of string) {
	if name == "" {
		v.fault(place, "names no schema for its table record")
		return
	}
	if !v.schema(place, name) {
		return
	}
	fields := v.t.Schemas.Find(name).Schema().Fields()
	if len(fields) != 2 || fields[0].Name != "envelope" || fields[1].Name != field || fields[1].Schema.Name() != of {
		v.fault(place, "table record %s must have two fields: envelope, and %s of type %s", name, field, of)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
