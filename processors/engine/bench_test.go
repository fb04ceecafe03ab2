package engine_test

import (
	"context"

	"github.com/lovoo/goka"

	"github.com/nexusblueprint/nexus/processors/engine"
)

func (c childConfig) bench(ctx context.Context, p *goka.Processor, e *engine.Engine) error {
	return p.Run(ctx)
}
