package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// roles run side by side and end one after the other, in the order they were
// started in: intake first, the stores beneath it last.
type roles struct {
	logger *slog.Logger
	all    []*role
	failed chan error // the first role that ended by itself
	once   sync.Once
}

type role struct {
	name   string
	cancel context.CancelFunc
	done   chan error
}

func newRoles(logger *slog.Logger) *roles {
	return &roles{logger: logger, failed: make(chan error, 1)}
}

// start runs a role until stop comes to it.
func (rs *roles) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &role{name: name, cancel: cancel, done: make(chan error, 1)}
	rs.all = append(rs.all, r)
	go func() {
		err := run(ctx)
		r.done <- err
		if ctx.Err() == nil {
			rs.once.Do(func() { rs.failed <- fmt.Errorf("%s ended: %w", name, errors.Join(err, context.Cause(ctx))) })
		}
	}()
}

// stop ends the roles in the order of their start and returns their errors.
func (rs *roles) stop() error {
	var errs []error
	for _, r := range rs.all {
		r.cancel()
		if err := <-r.done; err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
		}
		rs.logger.Debug("role ended", "role", r.name)
	}
	return errors.Join(errs...)
}
