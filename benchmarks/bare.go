package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/eventid"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// bareCommit is the engine's own commit interval under load.
const bareCommit = 40 * time.Millisecond

// bareSubject is the loop of franz-go's documentation: poll, produce, end the
// transaction. It has no table, no outcomes and no memory of commands.
type bareSubject struct {
	running
	session   *kgo.GroupTransactSession
	events    string
	handle    func(*kgo.Record) (*kgo.Record, error)
	committed atomic.Int64
	joined    chan struct{}
}

func startBare(ctx context.Context, cfg subjectConfig, t *topology.Topology, framer *serde.Serde) (subject, error) {
	a := t.Aggregates[0]
	s := &bareSubject{events: t.Events(a), joined: make(chan struct{})}
	s.handle = s.forward
	if cfg.Kind == kindFold {
		s.handle = (&folder{aggregate: a, framer: framer, states: map[string]*folded{}, events: s.events}).handle
	}
	first := true
	var err error
	s.session, err = kgo.NewGroupTransactSession(
		kgo.SeedBrokers(cfg.Broker), kgo.ConsumerGroup("bench.bare"), kgo.TransactionalID("bench.bare."+uuid.NewString()),
		kgo.ConsumeTopics(t.Commands(a)), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(engine.Partitioner()),
		kgo.ProducerLinger(10*time.Millisecond), kgo.MaxBufferedRecords(50_000),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
			if first {
				first = false
				close(s.joined)
			}
		}),
	)
	if err != nil {
		return nil, err
	}
	s.running = runUntilStopped(ctx, s.run)
	return s, nil
}

func (s *bareSubject) ready(ctx context.Context) error {
	select {
	case <-s.joined:
		return nil
	case err := <-s.ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *bareSubject) done() (int64, error) { return s.committed.Load(), s.failed() }

func (s *bareSubject) run(ctx context.Context) error {
	defer s.session.Close()
	for ctx.Err() == nil {
		if err := s.transaction(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// transaction handles what arrives within one commit interval.
func (s *bareSubject) transaction(ctx context.Context) error {
	fetches := s.session.PollRecords(ctx, 5000)
	if err := s.session.Begin(); err != nil {
		return err
	}
	var failed atomic.Pointer[error]
	n := int64(0)
	for until := time.Now().Add(bareCommit); ; {
		if err := s.produce(ctx, fetches, &failed); err != nil {
			return err
		}
		n += int64(fetches.NumRecords())
		left := time.Until(until)
		if left <= 0 || ctx.Err() != nil {
			break
		}
		wait, cancel := context.WithTimeout(ctx, left)
		fetches = s.session.PollRecords(wait, 5000)
		cancel()
	}
	committed, err := s.session.End(ctx, failed.Load() == nil)
	switch {
	case err != nil:
		return err
	case failed.Load() != nil:
		return *failed.Load()
	case committed:
		s.committed.Add(n)
	}
	return nil
}

func (s *bareSubject) produce(ctx context.Context, fetches kgo.Fetches, failed *atomic.Pointer[error]) error {
	for it := fetches.RecordIter(); !it.Done(); {
		rec, err := s.handle(it.Next())
		if err != nil {
			return err
		}
		s.session.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	return nil
}

// forward makes a command's bytes an event's.
func (s *bareSubject) forward(r *kgo.Record) (*kgo.Record, error) {
	return &kgo.Record{Topic: s.events, Key: r.Key, Value: r.Value, Headers: r.Headers}, nil
}

// folder decides and folds as an aggregate processor does, with its states in a
// Go map that no crash would survive.
type folder struct {
	aggregate topology.Aggregate
	framer    *serde.Serde
	states    map[string]*folded
	events    string
}

type folded struct {
	version int64
	hash    platform.Sha256
	value   domain.Record
}

func (f *folder) handle(r *kgo.Record) (*kgo.Record, error) {
	var meta platform.CommandMetadata
	if err := f.framer.Decode(serde.Metadata(r), &meta); err != nil {
		return nil, err
	}
	command, err := f.framer.DecodeNew(r.Value)
	if err != nil {
		return nil, err
	}
	key := string(r.Key)
	st := f.states[key]
	if st == nil {
		st = &folded{value: f.aggregate.NewState()}
		f.states[key] = st
	}
	if faults := f.aggregate.Validate(command); len(faults) > 0 {
		return nil, fmt.Errorf("command %s: %v", meta.CommandID, faults)
	}
	events, no := f.aggregate.Decide(st.value, command)
	if no != nil || len(events) != 1 {
		return nil, fmt.Errorf("command %s made %d events; rejected: %t", meta.CommandID, len(events), no != nil)
	}
	f.aggregate.Evolve(st.value, events[0])
	return f.event(r, key, st, &meta, events[0])
}

func (f *folder) event(r *kgo.Record, key string, st *folded, cm *platform.CommandMetadata, e domain.Event) (*kgo.Record, error) {
	st.version++
	value, err := f.framer.Append(make([]byte, 0, eventBytes), e)
	if err != nil {
		return nil, err
	}
	meta, err := f.framer.Append(nil, &platform.Metadata{
		EventID: eventid.Of(f.aggregate.Name(), key, cm.CommandID, 0), AggregateType: f.aggregate.Name(), AggregateID: key, Version: st.version,
		CommandID: cm.CommandID, CorrelationID: cm.CorrelationID, CausationID: cm.CommandID, At: avro.MillisOf(r.Timestamp), PreviousHash: st.hash,
	})
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	h.Write(meta[5:])
	h.Write(value[5:])
	h.Sum(st.hash[:0])
	return &kgo.Record{Topic: f.events, Key: r.Key, Value: value, Headers: []kgo.RecordHeader{{Key: serde.MetaHeader, Value: meta}}}, nil
}
