package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

const (
	// partial ends the name of a file until the whole export is complete.
	partial = ".partial"
)

// Source is the system that events come from.
type Source struct {
	Topology *topology.Topology
	Framer   *serde.Serde
	Registry ports.SchemaRegistry
	Broker   []kgo.Opt               // read access is enough
	Progress func(done, total int64) // offsets of the log; may be nil
}

// Exported is one file.
type Exported struct {
	File   string `json:"file"`
	Events int64  `json:"events"`
	Bytes  int64  `json:"bytes"`
}

// Export writes the events of the aggregate types, as of now, to one file each
// in a folder, which it creates. Files have their names only once all of them
// are complete and every event was found in its place in the hash chain.
// Errors: ErrExists; *FaultError where the log itself is damaged.
func Export(ctx context.Context, src Source, dir string, aggregates []topology.Aggregate) (done []Exported, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the folder of the export: %w", err)
	}
	x := &export{Source: src, chains: newChains(src.Topology)}
	if err := x.cut(ctx, aggregates); err != nil {
		return nil, err
	}
	var names []string
	defer func() {
		for _, name := range names {
			err = errors.Join(err, ignoreGone(os.Remove(name+partial)))
		}
	}()
	for _, a := range aggregates {
		name := filepath.Join(dir, a.Name()+Extension)
		if _, err := os.Stat(name); err == nil {
			return nil, fmt.Errorf("%s: %w: choose another folder", name, ErrExists)
		}
		names = append(names, name)
	}
	for i, a := range aggregates {
		one, err := x.aggregate(ctx, a, names[i])
		if err != nil {
			return nil, err
		}
		done = append(done, one)
	}
	for _, name := range names {
		if err := os.Rename(name+partial, name); err != nil {
			return nil, err
		}
	}
	return done, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

type export struct {
	Source
	*chains
	ranges      map[logread.TopicPartition]logread.Range
	done, total int64
}

func (x *export) cut(ctx context.Context, aggregates []topology.Aggregate) error {
	cl, err := kgo.NewClient(x.Broker...)
	if err != nil {
		return fmt.Errorf("connecting to the broker: %w", err)
	}
	defer cl.Close()
	var topics []string
	for _, a := range aggregates {
		topics = append(topics, x.Topology.Events(a))
	}
	if x.ranges, err = logread.Settled(ctx, kadm.NewClient(cl), topics...); err != nil {
		return err
	}
	for tp, r := range x.ranges {
		if r.From > 0 {
			return fmt.Errorf("%s begins at offset %d: events were deleted, and what is left cannot be restored", tp, r.From)
		}
		x.total += r.To
	}
	return nil
}

// aggregate writes one file under its partial name.
func (x *export) aggregate(ctx context.Context, a topology.Aggregate, name string) (done Exported, err error) {
	header, ids, err := x.header(ctx, a)
	if err != nil {
		return done, err
	}
	f, err := os.OpenFile(name+partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w, err := NewWriter(f, header)
	if err != nil {
		return done, err
	}
	judge, err := x.begin(name, header)
	if err != nil {
		return done, err
	}
	if err := x.partitions(ctx, a, func(r *kgo.Record) error { return x.write(w, judge, ids, r) }); err != nil {
		return done, err
	}
	if err := w.Close(); err != nil {
		return done, err
	}
	if err := f.Sync(); err != nil {
		return done, err
	}
	info, err := f.Stat()
	if err != nil {
		return done, err
	}
	return Exported{File: name, Events: judge.events, Bytes: info.Size()}, nil
}

// partitions reads one partition after the other, so that the same log always
// makes the same file.
func (x *export) partitions(ctx context.Context, a topology.Aggregate, f func(*kgo.Record) error) error {
	for partition := range x.Topology.PartitionCount() {
		tp := logread.TopicPartition{Topic: x.Topology.Events(a), Partition: partition}
		r := x.ranges[tp]
		err := logread.Each(ctx, map[logread.TopicPartition]logread.Range{tp: r}, func(rec *kgo.Record) error {
			if x.Progress != nil {
				x.Progress(x.done+rec.Offset, x.total)
			}
			return f(rec)
		}, x.Broker...)
		if err != nil {
			return err
		}
		x.done += r.To
	}
	return nil
}

// index says where the schema of a registry's id stands in a file's header.
type index struct{ metadata, events map[uint32]int }

// header gathers every version that the registry has of the schemas.
func (x *export) header(ctx context.Context, a topology.Aggregate) (h Header, ids index, err error) {
	h = Header{Context: x.Topology.Context, Aggregate: a.Name()}
	if h.Metadata, ids.metadata, err = x.versions(ctx, topology.MetadataSchema); err != nil {
		return h, ids, err
	}
	h.Events, ids.events, err = x.versions(ctx, a.Events()...)
	return h, ids, err
}

func (x *export) versions(ctx context.Context, subjects ...string) (texts []string, ids map[uint32]int, err error) {
	ids = map[uint32]int{}
	for _, subject := range subjects {
		versions, err := x.Registry.Versions(ctx, subject)
		if err != nil {
			return nil, nil, err
		}
		for _, v := range versions {
			schema, err := x.Framer.Schema(v.ID)
			if err != nil {
				return nil, nil, err
			}
			ids[v.ID] = len(texts)
			texts = append(texts, schema.Text())
		}
	}
	return texts, ids, nil
}

func (x *export) write(w *Writer, judge *chain, ids index, r *kgo.Record) error {
	e := Event{Number: judge.events + 1}
	var err error
	meta := serde.Metadata(r)
	if meta == nil {
		return fmt.Errorf("event at %s/%d/%d: there is no header %s: nexus check says more", r.Topic, r.Partition, r.Offset, serde.MetaHeader)
	}
	if e.MetadataSchema, e.Metadata, err = unframe(ids.metadata, meta); err != nil {
		return fmt.Errorf("metadata of the event at %s/%d/%d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	if e.PayloadSchema, e.Payload, err = unframe(ids.events, r.Value); err != nil {
		return fmt.Errorf("event at %s/%d/%d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	if err := judge.judge(e, string(r.Key)); err != nil {
		return fmt.Errorf("event at %s/%d/%d cannot be archived, nexus check says more: %w", r.Topic, r.Partition, r.Offset, err)
	}
	return w.Append(e)
}

func unframe(ids map[uint32]int, framed []byte) (int, []byte, error) {
	if len(framed) < serde.FrameBytes || framed[0] != 0 {
		return 0, nil, errors.New("it has no Confluent framing")
	}
	id := binary.BigEndian.Uint32(framed[1:])
	i, known := ids[id]
	if !known {
		return 0, nil, fmt.Errorf("schema %d is none of those that the registry had when the export began: export again", id)
	}
	return i, framed[serde.FrameBytes:], nil
}
