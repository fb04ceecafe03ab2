package system

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"

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
	r, err := registry.Open(ctx, registry.Config{Listen: s.settings.Registry.Listen, ClientOpts: s.bus.opts, Logger: s.logger})
	if err != nil {
		return err
	}
	s.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		return r.Close(ctx)
	})
	s.endpoint = r.URL()
	if s.registry, err = sr.NewClient(sr.URLs(s.endpoint)); err != nil {
		return fmt.Errorf("registry %s: %w", s.endpoint, err)
	}
	if s.seed != nil {
		if err := s.seed.Register(ctx, s.registry); err != nil {
			return err
		}
	}
	s.serde = serde.New(s.registry, s.topology.Schemas)
	return s.serde.Register(ctx)
}

// openSharedRegistry registers nothing: a release does, before it is rolled out.
func (s *System) openSharedRegistry(ctx context.Context) (err error) {
	s.endpoint = s.settings.Registry.URL
	if s.registry, err = RegistryClient(s.settings.Registry); err != nil {
		return err
	}
	s.serde = serde.New(s.registry, s.topology.Schemas)
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	err = s.serde.Load(ctx)
	switch {
	case errors.Is(err, serde.ErrNotRegistered):
		return fmt.Errorf("the registry lacks schemas of this program, and a start registers none: run `nexus schemas register --registry %s` first: %w", s.endpoint, err)
	case err != nil:
		return fmt.Errorf("registry %s: %w", s.endpoint, err)
	}
	weak, err := WeakSubjects(ctx, s.registry, s.topology.Subjects())
	if err != nil {
		return fmt.Errorf("registry %s: %w", s.endpoint, err)
	}
	if len(weak) > 0 {
		return &FaultsError{Gate: "the registry at " + s.endpoint, Faults: weak}
	}
	return nil
}

// RegistryClient reaches a registry that others run.
func RegistryClient(cfg config.Registry) (*sr.Client, error) {
	opts := []sr.ClientOpt{sr.URLs(cfg.URL), sr.UserAgent("nexus")}
	if cfg.User != "" {
		opts = append(opts, sr.BasicAuth(cfg.User, cfg.Password.Reveal()))
	}
	cl, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", cfg.URL, err)
	}
	return cl, nil
}

// WeakSubjects says which subjects admit schemas that break a reader of the log.
func WeakSubjects(ctx context.Context, registry *sr.Client, subjects []string) (weak []string, err error) {
	for _, c := range registry.Compatibility(sr.WithParams(ctx, sr.DefaultToGlobal), subjects...) {
		switch {
		case c.Err != nil:
			return nil, fmt.Errorf("reading the compatibility level of %s: %w", c.Subject, c.Err)
		case c.Level != sr.CompatBackwardTransitive && c.Level != sr.CompatFullTransitive:
			weak = append(weak, fmt.Sprintf("subject %s has the compatibility level %s: set BACKWARD_TRANSITIVE or FULL_TRANSITIVE, because the log is read for ever and every version must stay readable", c.Subject, c.Level))
		}
	}
	return weak, nil
}
