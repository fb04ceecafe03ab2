package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/bodyhash"
	"github.com/nexusblueprint/nexus/internal/eventid"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// tableOf is where a contender keeps its table.
func (s *stack) tableOf(kind string) string {
	table := s.topology.Table(s.topology.Aggregates[0])
	if kind == kindEngine {
		return table
	}
	return table + "-changelog" // as Kafka Streams names a store's topic
}

// verifyContender checks what it made of n commands: all that verifyEvents and
// verifyOutcomes check, and that it did the work in between, which those who
// leave it out do faster.
func (s *stack) verifyContender(ctx context.Context, kind string, n int) error {
	if err := s.verifyEvents(ctx, n); err != nil {
		return err
	}
	if err := s.verifyOutcomes(ctx, n); err != nil {
		return err
	}
	hashes, err := s.verifyChain(ctx)
	if err != nil {
		return fmt.Errorf("verifying the hash chain: %w", err)
	}
	if err := s.verifyBodies(ctx); err != nil {
		return fmt.Errorf("verifying body hashes: %w", err)
	}
	if err := s.verifyTable(ctx, s.tableOf(kind), hashes); err != nil {
		return fmt.Errorf("verifying the table: %w", err)
	}
	return nil
}

// verifyChain checks hashes, event ids and payloads. It returns the hash of each
// aggregate's last event.
func (s *stack) verifyChain(ctx context.Context) (map[string]platform.Sha256, error) {
	hashes := map[string]platform.Sha256{}
	var meta platform.Metadata
	err := s.each(ctx, s.topology.Events(s.topology.Aggregates[0]), func(r *kgo.Record) error { //nolint:contextcheck // decoding asks for a schema at most once
		header, key := serde.Metadata(r), string(r.Key)
		if err := s.serde.Decode(header, &meta); err != nil {
			return err
		}
		i, err := numberOf(meta.CommandID)
		if err != nil {
			return err
		}
		switch {
		case meta.PreviousHash != hashes[key]:
			return fmt.Errorf("event %d of %s does not continue the chain", meta.Version, key)
		case meta.EventID != eventid.Of(meta.AggregateType, key, meta.CommandID, 0):
			return fmt.Errorf("event %d of %s has the id %s", meta.Version, key, meta.EventID)
		case !bytes.Equal(r.Value[serde.FrameBytes:], adjustOf(i, key).AppendAvro(nil)): // both records have the same fields
			return fmt.Errorf("event %d of %s is not what command %d asked for", meta.Version, key, i)
		}
		hashes[key] = chainOf(header, r.Value)
		return nil
	})
	return hashes, err
}

func chainOf(header, value []byte) (sum platform.Sha256) {
	h := sha256.New()
	h.Write(header[serde.FrameBytes:])
	h.Write(value[serde.FrameBytes:])
	h.Sum(sum[:0])
	return sum
}

// verifyBodies checks the hash that tells a repeated command from another.
func (s *stack) verifyBodies(ctx context.Context) error {
	var out platform.Outcome
	return s.each(ctx, s.topology.Outcomes(s.topology.Aggregates[0]), func(r *kgo.Record) error { //nolint:contextcheck // decoding asks for a schema at most once
		if err := s.serde.Decode(r.Value, &out); err != nil {
			return err
		}
		i, err := numberOf(out.CommandID)
		if err != nil {
			return err
		}
		command := adjustOf(i, out.AggregateID)
		if out.BodyHash != bodyhash.Sum(command.AvroName(), 0, 0, command.AppendAvro(nil)) {
			return fmt.Errorf("the outcome of command %d has another body hash", i)
		}
		return nil
	})
}

// verifyTable checks that each row's last record stands at its last event.
func (s *stack) verifyTable(ctx context.Context, topic string, hashes map[string]platform.Sha256) error {
	rows := map[string]platform.Sha256{}
	var row retail.StockTable
	err := s.each(ctx, topic, func(r *kgo.Record) error { //nolint:contextcheck // decoding asks for a schema at most once
		if err := s.serde.Decode(r.Value, &row); err != nil {
			return err
		}
		rows[string(r.Key)] = row.Envelope.Hash
		return nil
	})
	if err != nil {
		return err
	}
	for key, hash := range hashes {
		if rows[key] != hash {
			return fmt.Errorf("the row of %s is not as of its last event", key)
		}
	}
	if len(rows) != len(hashes) {
		return fmt.Errorf("%d rows of %d aggregates", len(rows), len(hashes))
	}
	return nil
}
