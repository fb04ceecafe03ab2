package registry

import (
	"context"

	"github.com/nexusblueprint/nexus/internal/compat"
)

// Levels and modes hold for a subject or, with subject "", for all that have
// none of their own.

func (r *Registry) setLevel(ctx context.Context, subject string, level compat.Level) error {
	return r.change(ctx, func() ([]change, error) {
		if err := r.checkWritable(subject); err != nil {
			return nil, err
		}
		return []change{putConfig(subject, string(level))}, nil
	})
}

// resetLevel removes a scope's own level and returns what it was.
func (r *Registry) resetLevel(ctx context.Context, subject string) (compat.Level, error) {
	var old compat.Level
	err := r.change(ctx, func() ([]change, error) {
		if err := r.checkWritable(subject); err != nil {
			return nil, err
		}
		var ok bool
		if old, ok = r.state.levels[subject]; ok {
			return []change{removeConfig(subject)}, nil
		}
		old = defaultLevel
		if subject != "" {
			return nil, subjectNotFound(subject)
		}
		return nil, nil
	})
	return old, err
}

// setMode changes a scope's mode. IMPORT lets clients choose ids, so it needs
// an empty scope unless force is set.
func (r *Registry) setMode(ctx context.Context, subject, mode string, force bool) error {
	return r.change(ctx, func() ([]change, error) {
		if mode == modeImport && !force && r.state.mode(subject) != modeImport && r.occupied(subject) {
			return nil, problem(codeNotPermitted, "Cannot import since found existing subjects")
		}
		return []change{putMode(subject, mode)}, nil
	})
}

func (r *Registry) occupied(subject string) bool {
	if subject == "" {
		return len(r.state.subjects) > 0
	}
	return len(r.state.subjects[subject]) > 0
}

// resetMode removes a scope's own mode and returns what it was.
func (r *Registry) resetMode(ctx context.Context, subject string) (string, error) {
	var old string
	err := r.change(ctx, func() ([]change, error) {
		var ok bool
		if old, ok = r.state.modes[subject]; ok {
			return []change{removeMode(subject)}, nil
		}
		old = modeReadWrite
		if subject != "" {
			return nil, subjectNotFound(subject)
		}
		return nil, nil
	})
	return old, err
}
