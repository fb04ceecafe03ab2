package serde

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nexusblueprint/nexus/ports"
)

// CheckLevels judges whether the registry lets only versions in that can read all earlier ones, as a log needs that is
// read for ever. It asks for the level of every subject of the program.
//
// Errors: [ErrNoLevel] if for some subject nothing is checked at all: do not start. [ErrWeakLevel] if the levels are
// set but too weak: warn. Both name the subjects. [ErrRegistry] if the registry could not be asked.
func (s *Serde) CheckLevels(ctx context.Context) error {
	entries, err := s.published()
	if err != nil {
		return err
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
		return err
	}
	var without, weak []string
	for i, e := range entries {
		switch levels[i] {
		case ports.LevelBackwardTransitive, ports.LevelFullTransitive:
		case ports.LevelNone:
			without = append(without, e.Name)
		default:
			weak = append(weak, fmt.Sprintf("%s (%s)", e.Name, levels[i]))
		}
	}
	return errors.Join(levelError(ErrNoLevel, without, len(entries)), levelError(ErrWeakLevel, weak, len(entries)))
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
