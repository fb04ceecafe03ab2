package serde

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nexusblueprint/nexus/ports"
)

// Levels asks for the compatibility level of every subject of the program.
//
// Errors: [ErrRegistry] if the registry could not be asked.
func (s *Serde) Levels(ctx context.Context) (map[string]ports.Level, error) {
	entries, err := s.published()
	if err != nil {
		return nil, err
	}
	levels := make([]ports.Level, len(entries))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(lookupsAtATime)
	for i, e := range entries {
		group.Go(func() (err error) {
			levels[i], err = s.registry.Level(gctx, e.Name)
			return registryError(err)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := map[string]ports.Level{}
	for i, e := range entries {
		all[e.Name] = levels[i]
	}
	return all, nil
}

// CheckLevels judges whether the registry lets only versions in that can read all earlier ones, as a log needs that is
// read for ever.
//
// Errors: [ErrNoLevel] if for some subject nothing is checked at all. [ErrWeakLevel] if the levels are set but too
// weak. Both name the subjects. [ErrRegistry] if the registry could not be asked.
func (s *Serde) CheckLevels(ctx context.Context) error {
	levels, err := s.Levels(ctx)
	if err != nil {
		return err
	}
	var without, weak []string
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		switch level := levels[name]; level {
		case ports.LevelBackwardTransitive, ports.LevelFullTransitive:
		case ports.LevelNone:
			without = append(without, name)
		default:
			weak = append(weak, fmt.Sprintf("%s (%s)", name, level))
		}
	}
	return errors.Join(levelError(ErrNoLevel, without, len(levels)), levelError(ErrWeakLevel, weak, len(levels)))
}

func levelError(kind error, subjects []string, all int) error {
	switch len(subjects) {
	case 0:
		return nil
	case all:
		return fmt.Errorf("%w, for any subject of this program", kind)
	}
	return fmt.Errorf("%w, for %s", kind, strings.Join(subjects, ", "))
}
