package system

import (
	"context"
	"errors"
	"fmt"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/adapters/embedded/registry"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/serde"
)

func (s *System) openRegistry(ctx context.Context) error {
	if s.settings.Registry.Embedded() {
		return s.openEmbeddedRegistry(ctx)
	}
	return s.openSharedRegistry(ctx)
}

// openEmbeddedRegistry registers what is missing: nobody else can do so before.
func (s *System) openEmbeddedRegistry(ctx context.Context) error {
	r, err := registry.Open(ctx, registry.Config{
		Listen: s.settings.Registry.Listen, ClientOpts: s.bus.opts, Logger: s.logger, Keep: s.topology.Subjects(),
	})
	if err != nil {
		return err
	}
	s.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		return r.Close(ctx)
	})
	s.endpoint = r.URL()
	if s.registry, err = confluent.New(config.Registry{URL: s.endpoint}); err != nil {
		return err
	}
	s.serde = serde.New(s.registry, s.topology)
	return s.register(ctx)
}

// register adds the schemas that are missing, a seed's before the program's own.
// What a policy would refuse is refused before: a version that is registered
// stays, and today's schemas would break with it for ever.
func (s *System) register(ctx context.Context) error {
	if s.seed != nil {
		if err := s.seed.Register(ctx, s.registry); err != nil {
			return err
		}
	}
	if err := s.judgeRegistered(ctx); err != nil {
		return err
	}
	return s.serde.Register(ctx)
}

// openSharedRegistry registers nothing, unless for an import: a release does,
// before it is rolled out.
func (s *System) openSharedRegistry(ctx context.Context) (err error) {
	s.endpoint = s.settings.Registry.URL
	if s.registry, err = confluent.New(s.settings.Registry); err != nil {
		return err
	}
	s.serde = serde.New(s.registry, s.topology)
	if s.seed != nil {
		if err := s.register(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	if err = s.serde.Load(ctx); errors.Is(err, serde.ErrNotRegistered) {
		return fmt.Errorf("%w\na start registers none: run `nexus schemas register --registry %s` first, or with the --config of this one", err, s.endpoint)
	}
	return err
}
