package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nexusblueprint/nexus/shop/client"
)

// visibleMax bounds the wait for read models at the end of a load.
const visibleMax = 5 * time.Minute

// positions holds the greatest offset per "topic/partition".
type positions map[string]int64

// join takes over what is greater. Parts of another form are left out: to the
// loader they would only mean waiting for nothing.
func (p positions) join(position string) {
	for part := range strings.SplitSeq(position, ",") {
		at := strings.LastIndexByte(part, '/')
		if at < 0 {
			continue
		}
		offset, err := strconv.ParseInt(part[at+1:], 10, 64)
		if old, ok := p[part[:at]]; err == nil && (!ok || offset > old) {
			p[part[:at]] = offset
		}
	}
}

// String is the position as a query takes it.
func (p positions) String() string {
	parts := make([]string, 0, len(p))
	for _, topic := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, topic+"/"+strconv.FormatInt(p[topic], 10))
	}
	return strings.Join(parts, ",")
}

// awaitReadModels returns when every read model has what the load wrote.
func (l *loader) awaitReadModels(ctx context.Context) error {
	if len(l.positions) == 0 {
		return nil // nothing was written, or all of it in a load that waited
	}
	ctx, cancel := context.WithTimeoutCause(ctx, visibleMax, fmt.Errorf("they have not caught up within %s", visibleMax))
	defer cancel()
	var models []string
	err := l.patiently(ctx, func() (err error) {
		models, err = l.client.Models(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("listing them: %w", err)
	}
	failures := make([]error, len(models))
	var waits sync.WaitGroup
	for i, model := range models {
		waits.Go(func() { failures[i] = l.awaitReadModel(ctx, model) })
	}
	waits.Wait()
	return errors.Join(failures...)
}

func (l *loader) awaitReadModel(ctx context.Context, model string) error {
	query := url.Values{"limit": {"1"}, "position": {l.positions.String()}, "wait": {"30s"}}
	err := l.patiently(ctx, func() error {
		_, err := client.List[json.RawMessage](ctx, l.client, model, query)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", model, err)
	}
	return nil
}

// patiently asks again while the answer is one that may pass.
func (l *loader) patiently(ctx context.Context, ask func() error) error {
	for attempt := 0; ; attempt++ {
		err := ask()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var no *client.Problem
		if errors.As(err, &no) {
			if !passing(no.Status) {
				return err
			}
			l.heard() // it says that it is behind: only silence wears patience out
		}
		if err := l.pause(ctx, attempt, err); err != nil {
			return err
		}
	}
}
