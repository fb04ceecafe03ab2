package registry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nexusblueprint/nexus/internal/compat"
)

// posted is a schema as a client sends it, checked for form.
type posted struct {
	kind        string // "" for Avro
	text        string // compact JSON
	references  []Reference
	id, version int // asked for in mode IMPORT; 0: not given
}

// register stores a schema as a new version of a subject, unless it is there
// already, and returns its id. The id is returned only after the broker has
// acknowledged the record.
func (r *Registry) register(ctx context.Context, subject string, in posted) (int, error) {
	r.mu.RLock()
	known := r.sameText(subject, in, live)
	r.mu.RUnlock()
	if known != nil && in.sameAs(known) {
		return known.id, nil
	}
	var v schemaValue
	err := r.change(ctx, func() ([]change, error) {
		var stored bool
		var err error
		v, stored, err = r.planVersion(subject, in)
		if err != nil || stored {
			return nil, err
		}
		return []change{putSchema(v)}, nil
	})
	if err != nil {
		return 0, err
	}
	return v.ID, nil
}

// sameText answers the common case, a schema that a subject has to the letter,
// without parsing anything.
func (r *Registry) sameText(subject string, in posted, show visibility) *version {
	for _, v := range slices.Backward(r.state.versions(subject, show)) {
		s := r.state.schemas[v.id]
		if s.kind == in.kind && s.text == in.text && slices.Equal(s.references, in.references) {
			return v
		}
	}
	return nil
}

// planVersion decides id and version of a schema; stored is true if the
// subject has it already. The caller holds the slot.
func (r *Registry) planVersion(subject string, in posted) (v schemaValue, stored bool, err error) {
	if in.references, err = r.pinReferences(in.references); err != nil {
		return v, false, err
	}
	parsed, err := r.parser.posted(r.state, in)
	if err != nil {
		return v, false, err
	}
	want := identityOf(parsed.Fingerprint(), in.references)
	if old := r.find(subject, want, live); old != nil && in.sameAs(old) {
		return schemaValue{Subject: subject, Version: old.number, ID: old.id}, true, nil
	}
	if err := r.checkMode(subject, in); err != nil {
		return v, false, err
	}
	if r.state.mode(subject) != modeImport {
		if err := r.judge(subject, parsed, r.state.versions(subject, live)); err != nil {
			return v, false, incompatible(subject, err)
		}
	}
	v = schemaValue{Subject: subject, References: in.references, Schema: in.text}
	if v.Version, err = r.planNumber(subject, in); err != nil {
		return v, false, err
	}
	err = r.planID(&v, want, in.id)
	return v, false, err
}

// sameAs reports whether storing the schema of a version again would change
// nothing: an import may be repeated.
func (in posted) sameAs(old *version) bool {
	return (in.id == 0 || in.id == old.id) && (in.version == 0 || in.version == old.number)
}

// checkMode says whether the subject takes this registration now.
func (r *Registry) checkMode(subject string, in posted) error {
	mode := r.state.mode(subject)
	switch {
	case mode == modeReadOnly:
		return problem(codeNotPermitted, "Subject %s is in read-only mode", subject)
	case in.id != 0 && mode != modeImport:
		return problem(codeNotPermitted, "Subject %s is not in import mode", subject)
	case in.id == 0 && mode != modeReadWrite:
		return problem(codeNotPermitted, "Subject %s is not in read-write mode", subject)
	}
	return nil
}

func (r *Registry) planNumber(subject string, in posted) (int, error) {
	last := 0
	if list := r.state.subjects[subject]; len(list) > 0 {
		last = list[len(list)-1].number
	}
	switch {
	case in.version == 0 && last >= math.MaxInt32:
		return 0, problem(codeNotPermitted, "Subject %s has no version number left", subject)
	case in.version == 0 || in.version == last+1:
		return last + 1, nil
	case in.id == 0:
		return 0, problem(codeInvalidSchema, "Version %d is not one more than the previous version of subject %s, %d: another can be chosen only together with an id, in import mode",
			in.version, subject, last)
	}
	if old, err := r.state.version(subject, in.version, all); err == nil && old.id != in.id {
		return 0, problem(codeNotPermitted, "Version %d of subject %s exists with id %d", in.version, subject, old.id)
	}
	return in.version, nil
}

// planID gives the schema its id, and the text that goes with the id: one id
// has one text in all subjects, as readers of the topic demand.
func (r *Registry) planID(v *schemaValue, want identity, asked int) error {
	same := r.findID(want)
	if asked == 0 {
		if same != nil {
			v.ID, v.Schema, v.References = same.id, same.text, same.references
			return nil
		}
		if r.state.maxID >= math.MaxInt32 {
			return problem(codeNotPermitted, "There is no schema id left")
		}
		v.ID = r.state.maxID + 1
		return nil
	}
	v.ID = asked
	if old := r.state.schemas[asked]; old != nil {
		if r.parser.identify(r.state, old) != want {
			return problem(codeNotPermitted, "Overwrite new schema with id %d is not permitted: it belongs to another schema", asked)
		}
		v.Schema, v.References = old.text, old.references
	}
	return nil
}

// find returns the newest version of a subject that says what want stands for.
func (r *Registry) find(subject string, want identity, show visibility) *version {
	list := r.state.versions(subject, show)
	for _, v := range slices.Backward(list) {
		if r.parser.identify(r.state, r.state.schemas[v.id]) == want {
			return v
		}
	}
	return nil
}

// findID returns the schema of any subject that says what want stands for; the
// lowest id if an import has made several.
func (r *Registry) findID(want identity) *schema {
	var found *schema
	for _, s := range r.state.schemas {
		if (found == nil || s.id < found.id) && r.parser.identify(r.state, s) == want {
			found = s
		}
	}
	return found
}

// pinReferences replaces "latest", -1, by the version that is the latest now,
// and makes sure that every reference leads somewhere.
func (r *Registry) pinReferences(references []Reference) ([]Reference, error) {
	out := slices.Clone(references)
	for i, ref := range out {
		v, err := r.state.version(ref.Subject, max(ref.Version, 0), live)
		if err != nil {
			return nil, problem(codeInvalidSchema, "No schema reference found for subject \"%s\" and version %d", ref.Subject, ref.Version)
		}
		out[i].Version = v.number
	}
	return out, nil
}

// judge checks a schema against earlier versions at the subject's level. The
// error is a *judgement if the schema breaks the level.
func (r *Registry) judge(subject string, next *compat.Schema, versions []*version) error {
	level := r.state.level(subject)
	if level == compat.None {
		return nil
	}
	if !level.Transitive() && len(versions) > 1 {
		versions = versions[len(versions)-1:]
	}
	earlier := make([]*compat.Schema, len(versions))
	for i, v := range versions {
		var err error
		if earlier[i], err = r.parser.stored(r.state, r.state.schemas[v.id]); err != nil {
			return problem(codeInvalidSchema, "Version %d of subject %s cannot be compared with: %s", v.number, subject, err)
		}
	}
	found := compat.Evolve(level, next, earlier)
	if len(found) == 0 {
		return nil
	}
	j := &judgement{}
	for _, f := range found {
		j.messages = append(j.messages, explain(f, versions[f.Earlier].number))
	}
	j.messages = append(j.messages, "{compatibility: '"+string(level)+"'}")
	return j
}

// judgement is the verdict that a schema breaks its subject's level.
type judgement struct{ messages []string }

func (j *judgement) Error() string { return strings.Join(j.messages, ", ") }

// explain puts a violation into the form of Confluent's messages.
func explain(v compat.Violation, number int) string {
	side := "the new schema cannot read version " + strconv.Itoa(number)
	if !v.NewReads {
		side = "version " + strconv.Itoa(number) + " cannot read the new schema"
	}
	return fmt.Sprintf("{errorType:'%s', description:'%s: at \"%s\", %s', additionalInfo:'%s', oldSchemaVersion:%d}",
		v.Type, side, v.Location, v.Message, v.Location, number)
}

func incompatible(subject string, err error) error {
	var j *judgement
	if !errors.As(err, &j) {
		return err
	}
	return problem(codeIncompatible, "Schema being registered is incompatible with an earlier schema for subject \"%s\", details: [%s]", subject, err)
}
