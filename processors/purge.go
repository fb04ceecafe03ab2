package processors

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	purgeInterval = time.Minute
	// purgeRecordsMin keeps a quiet system from deleting record by record.
	purgeRecordsMin = 10_000
)

// purge deletes what loop topics hold behind the committed offset: those records
// are folded into documents, nobody reads them again. Retention by time would
// lose changes of a projection that stands still.
func (ps *Processors) purge(ctx context.Context) error {
	admin := kadm.NewClient(ps.cfg.Client)
	tick := time.NewTicker(purgeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, p := range ps.cfg.Topology.Projections {
			if !p.Rekeyed {
				continue
			}
			loop, group := ps.cfg.Topology.ProjectionLoop(p), ps.cfg.Topology.ProjectionGroup(p)
			if err := purgeTopic(ctx, admin, loop, group); err != nil && ctx.Err() == nil {
				ps.cfg.Logger.Warn("loop topic not purged, trying again in a minute", "topic", loop, "err", err)
			}
		}
	}
}

// purgeTopic deletes the records of a topic that the group has committed.
func purgeTopic(ctx context.Context, admin *kadm.Client, topic, group string) error {
	committed, err := admin.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil // nothing was committed yet
	}
	if err != nil {
		return err
	}
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	behind := kadm.Offsets{}
	starts.Each(func(start kadm.ListedOffset) {
		at, ok := committed.Lookup(topic, start.Partition)
		if ok && start.Err == nil && at.At-start.Offset >= purgeRecordsMin {
			behind.AddOffset(topic, start.Partition, at.At, -1)
		}
	})
	if len(behind) == 0 {
		return nil
	}
	deleted, err := admin.DeleteRecords(ctx, behind)
	if err != nil {
		return err
	}
	return deleted.Error()
}
