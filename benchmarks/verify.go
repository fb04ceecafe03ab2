package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// A run counts only if it made exactly what it should have: one event per
// command, versions 1..n per key in the order of the log, one outcome per
// command. Without these checks the fastest processor is one that loses records.

// once notes numbers 0..n-1, each at most once.
type once struct {
	what string
	seen []bool
	left int
}

func newOnce(what string, n int) *once { return &once{what: what, seen: make([]bool, n), left: n} }

func (o *once) note(commandID string) error {
	i, err := numberOf(commandID)
	switch {
	case err != nil || i >= len(o.seen):
		return fmt.Errorf("%s of a command %q that was not sent", o.what, commandID)
	case o.seen[i]:
		return fmt.Errorf("a second %s of command %d", o.what, i)
	}
	o.seen[i] = true
	o.left--
	return nil
}

func (o *once) all() error {
	if o.left > 0 {
		return fmt.Errorf("%d of %d commands have no %s", o.left, len(o.seen), o.what)
	}
	return nil
}

// settlePatience bounds the wait for markers of the last transaction.
const settlePatience = 20 * time.Second

// each reads a topic as a read-committed consumer finds it when nobody writes
// any more. Kafka answers the end of a transaction before its markers are
// written, so the last ones may show a moment later.
func (s *stack) each(ctx context.Context, topic string, f func(*kgo.Record) error) error {
	admin := kadm.NewClient(s.client)
	settling, cancel := context.WithTimeoutCause(ctx, settlePatience, fmt.Errorf("a transaction on %s did not end", topic))
	defer cancel()
	var ranges map[logread.TopicPartition]logread.Range
	err := poll(settling, 10*time.Millisecond, func() (settled bool, err error) {
		if ranges, err = logread.Committed(settling, admin, topic); err != nil {
			return false, err
		}
		ends, err := admin.ListEndOffsets(settling, topic)
		settled = err == nil
		ends.Each(func(end kadm.ListedOffset) {
			settled = settled && ranges[logread.TopicPartition{Topic: end.Topic, Partition: end.Partition}].To == end.Offset
		})
		return settled, err
	})
	if err != nil {
		return err
	}
	return logread.Each(ctx, ranges, f, s.opts()...)
}

// verifyEvents checks what an aggregate processor made of n commands.
func (s *stack) verifyEvents(ctx context.Context, n int) error {
	events, versions := newOnce("event", n), map[string]int64{}
	var meta platform.Metadata
	err := s.each(ctx, s.topology.Events(s.topology.Aggregates[0]), func(r *kgo.Record) error { //nolint:contextcheck // decoding asks for a schema at most once
		if err := s.serde.Decode(serde.Metadata(r), &meta); err != nil {
			return err
		}
		key := string(r.Key)
		if versions[key]++; meta.Version != versions[key] {
			return fmt.Errorf("event %d of %s has version %d", versions[key], key, meta.Version)
		}
		if len(r.Value) != eventBytes {
			return fmt.Errorf("an event of %d bytes", len(r.Value))
		}
		return events.note(meta.CommandID)
	})
	if err != nil {
		return fmt.Errorf("verifying events: %w", err)
	}
	return events.all()
}

// verifyOutcomes checks that every command was accepted, once.
func (s *stack) verifyOutcomes(ctx context.Context, n int) error {
	outcomes := newOnce("outcome", n)
	var out platform.Outcome
	err := s.each(ctx, s.topology.Outcomes(s.topology.Aggregates[0]), func(r *kgo.Record) error { //nolint:contextcheck // decoding asks for a schema at most once
		if err := s.serde.Decode(r.Value, &out); err != nil {
			return err
		}
		if out.Kind != platform.OutcomeKindAccepted || out.Repeated {
			return fmt.Errorf("command %s was %s: %s", out.CommandID, out.Kind, out.Detail)
		}
		return outcomes.note(out.CommandID)
	})
	if err != nil {
		return fmt.Errorf("verifying outcomes: %w", err)
	}
	return outcomes.all()
}

// verifyCopies checks what a loop that forwards commands made of n of them.
func (s *stack) verifyCopies(ctx context.Context, n int) error {
	copies := newOnce("copy", n)
	var meta platform.CommandMetadata
	err := s.each(ctx, s.topology.Events(s.topology.Aggregates[0]), func(r *kgo.Record) error { //nolint:contextcheck // decoding asks for a schema at most once
		if err := s.serde.Decode(serde.Metadata(r), &meta); err != nil {
			return err
		}
		return copies.note(meta.CommandID)
	})
	if err != nil {
		return fmt.Errorf("verifying copies: %w", err)
	}
	return copies.all()
}
