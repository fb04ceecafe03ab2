package serde

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nexusblueprint/nexus/ports"
)

// CheckLevels judges whether the registry lets only versions in that can read all earlier ones, as a log needs that is
// read for ever. It asks for the level of every subject of the program; they need not be registered.
//
// Errors: [ErrWeakLevel] naming the subjects whose level is another, NONE for one where nothing is checked: do not
// start. [ErrRegistry] if the registry could not be asked.
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
	weak := map[ports.Level][]string{}
	for i, e := range entries {
		if levels[i] != ports.LevelBackwardTransitive && levels[i] != ports.LevelFullTransitive {
			weak[levels[i]] = append(weak[levels[i]], e.Name)
		}
	}
	if len(weak) == 0 {
		return nil
	}
	var all []string
	for _, level := range slices.Sorted(maps.Keys(weak)) {
		subjects := strings.Join(weak[level], ", ")
		if len(weak[level]) == len(entries) {
			subjects = "every subject of this program"
		}
		all = append(all, fmt.Sprintf("%s for %s", level, subjects))
	}
	return fmt.Errorf("%w: the level is %s", ErrWeakLevel, strings.Join(all, ", "))
}
