package registry

import (
	"context"
	"slices"
)

// deleteSubject deletes all versions of a subject and returns their numbers.
// Softly, they leave the lists but still answer by id; permanently, which
// needs a soft deletion first, they are gone.
func (r *Registry) deleteSubject(ctx context.Context, subject string, permanent bool) ([]int, error) {
	var numbers []int
	err := r.change(ctx, func() ([]change, error) {
		if err := r.checkDeletable(subject); err != nil {
			return nil, err
		}
		alive, every := r.state.versions(subject, live), r.state.versions(subject, all)
		switch {
		case len(every) == 0:
			return nil, subjectNotFound(subject)
		case permanent && len(alive) > 0:
			return nil, problem(codeSubjectNotSoftDeleted, "Subject '%s' was not deleted first before being permanently deleted", subject)
		case !permanent && len(alive) == 0:
			return nil, problem(codeSubjectSoftDeleted, "Subject '%s' was soft deleted. Set permanent=true to delete permanently", subject)
		}
		doomed := alive
		if permanent {
			doomed = every
		}
		numbers = numbersOf(doomed)
		if err := r.checkUnreferenced(subject, numbers); err != nil {
			return nil, err
		}
		if permanent {
			return r.planRemoval(subject, numbers), nil
		}
		// The mark covers the versions that were deleted before, too: it takes
		// the place of the mark that deleted them.
		last := every[len(every)-1].number
		return append(r.planResetSubject(subject), putDeleteSubject(subject, last)), nil
	})
	if permanent && err == nil {
		r.forget()
	}
	return numbers, err
}

// deleteVersion deletes one version, the latest if number is 0, and returns
// its number.
func (r *Registry) deleteVersion(ctx context.Context, subject string, number int, permanent bool) (int, error) {
	var deleted int
	err := r.change(ctx, func() ([]change, error) {
		if err := r.checkDeletable(subject); err != nil {
			return nil, err
		}
		show := live
		if number != 0 || permanent {
			show = all
		}
		v, err := r.state.version(subject, number, show)
		if err != nil {
			return nil, err
		}
		deleted = v.number
		switch {
		case permanent && !v.deleted:
			return nil, problem(codeVersionNotSoftDeleted, "Subject '%s' Version %d was not deleted first before being permanently deleted", subject, v.number)
		case !permanent && v.deleted:
			return nil, problem(codeVersionSoftDeleted, "Subject '%s' Version %d was soft deleted. Set permanent=true to delete permanently", subject, v.number)
		}
		if err := r.checkUnreferenced(subject, []int{v.number}); err != nil {
			return nil, err
		}
		if permanent {
			return r.planRemoval(subject, []int{v.number}), nil
		}
		return r.planSoftDelete(subject, v), nil
	})
	if permanent && err == nil {
		r.forget()
	}
	return deleted, err
}

func (r *Registry) planSoftDelete(subject string, v *version) []change {
	s := r.state.schemas[v.id]
	out := []change{putSchema(schemaValue{
		Subject: subject, Version: v.number, ID: s.id, SchemaType: s.kind,
		References: s.references, Schema: s.text, Deleted: true,
	})}
	if len(r.state.versions(subject, live)) == 1 {
		out = append(out, r.planResetSubject(subject)...)
	}
	return out
}

// planResetSubject drops a subject's own level and mode: they go with it.
func (r *Registry) planResetSubject(subject string) []change {
	var out []change
	if _, ok := r.state.levels[subject]; ok {
		out = append(out, removeConfig(subject))
	}
	if _, ok := r.state.modes[subject]; ok {
		out = append(out, removeMode(subject))
	}
	return out
}

// planRemoval writes the highest id down before the records that may hold it go.
func (r *Registry) planRemoval(subject string, numbers []int) []change {
	out := []change{putNoop(r.state.maxID)}
	for _, n := range numbers {
		out = append(out, removeSchema(subject, n))
	}
	return out
}

func (r *Registry) checkWritable(subject string) error {
	if r.state.mode(subject) == modeReadOnly {
		return problem(codeNotPermitted, "Subject %s is in read-only mode", subject)
	}
	return nil
}

// checkDeletable answers for a subject in use as Confluent's registry does for a
// read-only one.
func (r *Registry) checkDeletable(subject string) error {
	if slices.Contains(r.keep, subject) {
		return problem(codeNotPermitted, "Subject %s is in use: the running system reads its log with it, and it cannot be deleted", subject)
	}
	return r.checkWritable(subject)
}

func (r *Registry) checkUnreferenced(subject string, numbers []int) error {
	for _, n := range numbers {
		if ids := r.state.referrers(subject, n, live); len(ids) > 0 {
			return problem(codeReferenceExists, "One or more references exist to version %d of subject %s, from the schemas with ids %v", n, subject, ids)
		}
	}
	return nil
}

func numbersOf(list []*version) []int {
	out := []int{}
	for _, v := range list {
		out = append(out, v.number)
	}
	return out
}

// forget frees what was parsed of schemas that are gone.
func (r *Registry) forget() {
	r.mu.RLock()
	defer r.mu.RUnlock()
	r.parser.forget(r.state)
}
