package check

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

const metaHeader = "nexus-meta"

// staleCode is given to a command that may have been handled long ago, under an
// outcome that is no longer known: it does not count against the first.
const staleCode = "stale-command"

// commandKey is a command id in 16 bytes: a million ids must fit into memory.
type commandKey [16]byte

func keyOf(id string) commandKey {
	sum := sha256.Sum256([]byte(id))
	return commandKey(sum[:16])
}

// answers are how often a command was answered: counted once, and at all.
type answers struct{ counted, all uint8 }

// commands judges I1: each command that its aggregate's group has taken, has
// exactly one outcome that counts.
func (c *checker) commands(ctx context.Context) error {
	for _, a := range c.Topology.Aggregates {
		if err := c.commandsOf(ctx, a); err != nil {
			return fmt.Errorf("commands of %s: %w", a.Name(), err)
		}
	}
	return nil
}

func (c *checker) commandsOf(ctx context.Context, a topology.Aggregate) error {
	taken, err := c.taken(ctx, a)
	if err != nil {
		return err
	}
	outcomes, err := logread.Committed(ctx, c.admin, c.Topology.Outcomes(a))
	if err != nil {
		return err
	}
	byID := map[commandKey]answers{}
	err = c.each(ctx, outcomes, func(r *kgo.Record) error {
		var out platform.Outcome
		if err := c.Framer.Decode(r.Value, &out); err != nil {
			c.report.of("I1").violate("outcome at %s/%d/%d cannot be read: %v", r.Topic, r.Partition, r.Offset, err)
			return nil
		}
		if out.CommandID != string(r.Key) {
			c.report.of("I1").violate("outcome at %s/%d/%d is of command %s, its key says %s", r.Topic, r.Partition, r.Offset, out.CommandID, r.Key)
		}
		k := keyOf(out.CommandID)
		n := byID[k]
		n.all = min(n.all+1, 255-1)
		if !out.Repeated && out.Code != staleCode {
			n.counted++
			if n.counted == 2 {
				c.report.of("I1").violate("command %s of %s %s has more than one outcome, the second at %s/%d/%d", out.CommandID, a.Name(), out.AggregateID, r.Topic, r.Partition, r.Offset)
			}
		}
		byID[k] = n
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(ctx, taken, func(r *kgo.Record) error {
		id := c.commandID(r)
		if id == "" {
			return nil // it has no id to be answered under; it is among the dead letters
		}
		i := c.report.of("I1")
		i.Checked++
		if byID[keyOf(id)].all == 0 {
			i.violate("command %s for %s %s at %s/%d/%d has no outcome, though the group is past it", id, a.Name(), r.Key, r.Topic, r.Partition, r.Offset)
		}
		return nil
	})
}

// taken are the commands that the group has committed.
func (c *checker) taken(ctx context.Context, a topology.Aggregate) (map[logread.TopicPartition]logread.Range, error) {
	topic := c.Topology.Commands(a)
	ranges, err := logread.Committed(ctx, c.admin, topic)
	if err != nil {
		return nil, err
	}
	committed, err := c.admin.FetchOffsets(ctx, c.Topology.Group(a))
	if err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", c.Topology.Group(a), err)
	}
	for tp, r := range ranges {
		at, ok := committed.Lookup(topic, tp.Partition)
		if !ok {
			at.At = 0
		}
		r.To = min(r.To, at.At)
		ranges[tp] = r
	}
	return ranges, nil
}

func (c *checker) commandID(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == metaHeader {
			var meta platform.CommandMetadata
			if c.Framer.Decode(h.Value, &meta) == nil {
				return meta.CommandID
			}
		}
	}
	return ""
}
