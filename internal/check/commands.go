package check

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// staleCode is given to a command that may have been handled long ago, under an
// outcome that is no longer known: it does not count against the first.
const staleCode = "stale-command"

// What the platform promises about repeated ids: every one is remembered for ten
// minutes by log time, and a UUIDv7 that was minted more than nine minutes
// before it was logged is not handled anew. Other ids may be, after that.
const (
	rememberedMillis = 10 * 60 * 1000
	staleMillis      = 9 * 60 * 1000
)

// commandKey is a command id in 16 bytes: a million ids must fit into memory.
type commandKey [16]byte

func keyOf(id string) commandKey {
	sum := sha256.Sum256([]byte(id))
	return commandKey(sum[:16])
}

// command is how often one id was logged and answered.
type command struct {
	counted  avro.Millis // log time of the last outcome that counts
	outcomes uint16      // of any kind
	logged   uint16
	handled  bool // there is an outcome that counts
}

// commandLog is the commands of one aggregate type.
type commandLog struct {
	a    topology.Aggregate
	byID map[commandKey]command
	// kept is, for each partition that has lost outcomes to retention, the log
	// time up to which commands cannot be judged.
	kept map[int32]avro.Millis
}

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
	// Offsets and outcomes are one transaction, but become visible one by one.
	outcomes, err := logread.Settled(ctx, c.admin, c.Topology.Outcomes(a))
	if err != nil {
		return err
	}
	l := &commandLog{a: a, byID: map[commandKey]command{}, kept: map[int32]avro.Millis{}}
	for tp, r := range outcomes {
		if r.From > 0 {
			l.kept[tp.Partition] = math.MaxInt64
		}
	}
	if err := c.each(ctx, outcomes, func(r *kgo.Record) error { c.outcome(l, r); return nil }); err != nil {
		return err
	}
	return c.each(ctx, taken, func(r *kgo.Record) error { c.command(l, r); return nil })
}

func (c *checker) outcome(l *commandLog, r *kgo.Record) {
	i, at := c.report.of("I1"), where(r)
	var out platform.Outcome
	if err := c.Framer.Decode(r.Value, &out); err != nil {
		i.unreadable(err, "outcome at %s cannot be read: %v", at, err)
		return
	}
	if l.kept[r.Partition] == math.MaxInt64 {
		l.kept[r.Partition] = out.At
	}
	if out.CommandID != string(r.Key) {
		i.violate("outcome at %s is of command %s, its key says %s", at, out.CommandID, r.Key)
	}
	k := keyOf(out.CommandID)
	n := l.byID[k]
	n.outcomes = min(n.outcomes+1, math.MaxUint16-1)
	if !out.Repeated && out.Code != staleCode && out.Kind != platform.OutcomeKindDead { // dead: nothing was changed
		if n.handled && !mayComeAgain(out.CommandID, n.counted, out.At) {
			i.violate("command %s of %s %s has more than one outcome, another one at %s", out.CommandID, l.a.Name(), out.AggregateID, at)
		}
		n.handled, n.counted = true, out.At
	}
	l.byID[k] = n
}

// mayComeAgain says whether an id that was handled at one log time may be
// handled anew at another.
func mayComeAgain(id string, first, second avro.Millis) bool {
	if second-first < rememberedMillis {
		return false
	}
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return true
	}
	seconds, nanos := u.Time().UnixTime()
	return int64(second)-seconds*1000-nanos/1_000_000 <= staleMillis
}

func (c *checker) command(l *commandLog, r *kgo.Record) {
	id := c.commandID(r)
	if id == "" {
		return // it has no id to be answered under; it is among the dead letters
	}
	if lost, some := l.kept[r.Partition]; some && avro.MillisOf(r.Timestamp) <= lost {
		return
	}
	i := c.report.of("I1")
	i.Checked++
	k := keyOf(id)
	n := l.byID[k]
	n.logged = min(n.logged+1, math.MaxUint16-1)
	l.byID[k] = n
	switch {
	case n.outcomes == 0:
		i.violate("command %s for %s %s at %s has no outcome, though the group is past it", id, l.a.Name(), r.Key, where(r))
	case n.logged == n.outcomes+1:
		i.violate("command %s for %s %s is logged %d times, the last at %s, and has only %d outcomes", id, l.a.Name(), r.Key, n.logged, where(r), n.outcomes)
	}
}

// taken are the commands that the group has committed.
func (c *checker) taken(ctx context.Context, a topology.Aggregate) (map[logread.TopicPartition]logread.Range, error) {
	topic := c.Topology.Commands(a)
	ranges, err := logread.Committed(ctx, c.admin, topic)
	if err != nil {
		return nil, err
	}
	committed, err := c.admin.FetchOffsets(ctx, c.Topology.Group(a))
	if errors.Is(err, kerr.GroupIDNotFound) {
		committed, err = kadm.OffsetResponses{}, nil // it has taken none yet
	}
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
	var meta platform.CommandMetadata
	if c.Framer.Decode(serde.Metadata(r), &meta) != nil {
		return ""
	}
	return meta.CommandID
}

func where(r *kgo.Record) string { return fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset) }
