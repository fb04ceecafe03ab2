package views

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// History holds the committed events of every aggregate by version: it is a [ports.EventStore]. Make it with [NewHistory]
// and Run it once; its other methods are safe for concurrent use.
type History struct {
	f          *follower
	cfg        Config
	aggregates map[string]topology.Aggregate
	byTopic    map[string]string
	watch      *watch

	// Of the writer alone.
	meta       platform.Metadata
	key, value []byte
}

// NewHistory makes the view; nothing is started.
func NewHistory(cfg Config) *History {
	cfg = cfg.withDefaults()
	h := &History{cfg: cfg, aggregates: map[string]topology.Aggregate{}, byTopic: map[string]string{}, watch: newWatch()}
	var topics []string
	for _, a := range cfg.Topology.Aggregates {
		topic := cfg.Topology.Events(a)
		topics = append(topics, topic)
		h.aggregates[a.Name()], h.byTopic[topic] = a, a.Name()
	}
	h.f = newFollower(cfg, historySpace, "history", topics, readersWait, h)
	return h
}

// Run follows the topics until ctx ends, and returns nil then. Any other end is a failure of the local store.
func (h *History) Run(ctx context.Context) error { return h.f.run(ctx) }

// Ready reports whether the view has read what was on its topics when it started.
func (h *History) Ready() bool { return h.f.isReady() }

// Progress of catching up after the start.
func (h *History) Progress() Progress { return h.f.progress() }

// aggregatePrefix begins the keys of one aggregate's events. The id's length stands before it, so that no id begins
// like another one's.
func aggregatePrefix[K string | []byte](dst []byte, aggregate string, id K) []byte {
	dst = append(append(append(dst[:0], 'v', byte(historySpace), kindData), aggregate...), 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(id)))
	return append(dst, id...)
}

func eventKey(prefix []byte, version int64) []byte {
	return binary.BigEndian.AppendUint64(prefix, uint64(version))
}

var (
	errNoMetadata = errors.New("it has no header " + serde.MetaHeader)
	errNoVersion  = errors.New("its metadata hold no version")
	errLongKey    = errors.New("its key is too long")
)

func (h *History) arrived(*kgo.Record) {}

func (h *History) store(b *localstore.Batch, r *kgo.Record) error {
	meta := serde.Metadata(r)
	err := errNoMetadata
	if meta != nil {
		err = h.cfg.Framer.Decode(meta, &h.meta)
	}
	switch {
	case errors.Is(err, serde.ErrRegistry):
		return err // the record may be fine
	case err != nil:
	case h.meta.Version < 1:
		err = errNoVersion
	case len(r.Key) > math.MaxUint16:
		err = errLongKey
	}
	if err != nil {
		h.f.unreadable(r, err)
		return nil
	}
	h.key = eventKey(aggregatePrefix(h.key, h.byTopic[r.Topic], r.Key), h.meta.Version)
	h.value = append(binary.AppendUvarint(h.value[:0], uint64(len(meta))), meta...)
	h.value = append(h.value, r.Value...)
	b.Set(h.key, h.value)
	return nil
}

func (h *History) sealed(*localstore.Batch) {}

func (h *History) applied(records []*kgo.Record) {
	if h.watch.idle() {
		return
	}
	for _, r := range records {
		h.watch.change(h.byTopic[r.Topic] + "\x00" + string(r.Key))
	}
}

func (h *History) since() int64 { return 0 }

// Events implements [ports.EventStore].
func (h *History) Events(ctx context.Context, aggregateType, id string, from int64, limit int) ([]ports.Event, error) {
	if _, ok := h.aggregates[aggregateType]; !ok {
		return nil, fmt.Errorf("reading events of %s %s: %w", aggregateType, id, ports.ErrUnknownType)
	}
	if err := h.f.check(); err != nil {
		return nil, err
	}
	limit = min(limit, ports.EventsMax)
	if limit <= 0 || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var events []ports.Event
	err := h.each(aggregateType, id, from, math.MaxInt64, func(meta, framed []byte) error {
		e, err := h.event(meta, framed)
		if err != nil {
			return err
		}
		events = append(events, e)
		if len(events) == limit {
			return errEnough
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("reading events of %s %s: %w", aggregateType, id, err)
	}
	return events, nil
}

func (h *History) event(meta, framed []byte) (ports.Event, error) {
	e := ports.Event{Metadata: new(platform.Metadata), Framed: append([]byte(nil), framed...)}
	if err := h.cfg.Framer.Decode(meta, e.Metadata); err != nil {
		return e, err
	}
	rec, err := h.cfg.Framer.DecodeNew(framed)
	if err != nil {
		return e, fmt.Errorf("version %d: %w", e.Metadata.Version, err)
	}
	e.Type, e.Avro = rec.AvroName(), rec.AppendAvro(nil)
	return e, nil
}

// errEnough ends each without an error.
var errEnough = errors.New("enough")

// each calls f with the framed metadata and event of the versions from..upTo in order, both valid during the call only.
func (h *History) each(aggregate, id string, from, upTo int64, f func(meta, framed []byte) error) error {
	if len(id) > math.MaxUint16 {
		return nil
	}
	var failed error
	lower := eventKey(aggregatePrefix(nil, aggregate, id), max(1, from))
	upper := append(eventKey(aggregatePrefix(nil, aggregate, id), upTo), 0)
	err := h.cfg.Store.Iterate(lower, upper, func(_, value []byte) bool {
		n, width := binary.Uvarint(value)
		if width <= 0 || n > uint64(len(value)-width) {
			failed = errors.New("the local store holds a damaged record: stop, remove its folder and start again")
			return false
		}
		failed = f(value[width:width+int(n)], value[width+int(n):])
		return failed == nil
	})
	if failed != nil && !errors.Is(failed, errEnough) {
		return failed
	}
	return err
}

// Payloads calls f with the framed event of each version from 1 to upTo, in order. It waits until the view has them
// all, also while it is catching up. The bytes are valid during the call only.
//
// Errors: [ports.ErrUnknownType]; [ErrBehind] when they did not come within ctx's deadline; what f returned; ctx.Err(); others
// are failures of the store.
func (h *History) Payloads(ctx context.Context, aggregateType, id string, upTo int64, f func(framed []byte) error) error {
	if _, ok := h.aggregates[aggregateType]; !ok {
		return fmt.Errorf("reading events of %s %s: %w", aggregateType, id, ports.ErrUnknownType)
	}
	if err := h.await(ctx, aggregateType, id, upTo); err != nil {
		return err
	}
	seen := int64(0)
	err := h.each(aggregateType, id, 1, upTo, func(_, framed []byte) error {
		seen++
		return f(framed)
	})
	if err == nil && seen < upTo {
		err = fmt.Errorf("the log holds only %d of the versions 1 to %d", seen, upTo)
	}
	if err != nil {
		return fmt.Errorf("reading events of %s %s: %w", aggregateType, id, err)
	}
	return nil
}

// await returns when the view has a version of an aggregate.
func (h *History) await(ctx context.Context, aggregateType, id string, version int64) error {
	watchKey := aggregateType + "\x00" + id
	for {
		change := h.watch.on(watchKey)
		found, err := h.cfg.Store.Get(eventKey(aggregatePrefix(nil, aggregateType, id), version))
		if err != nil || found != nil {
			h.watch.off(watchKey, change)
			return err
		}
		select {
		case <-change.changed:
			h.watch.off(watchKey, change)
		case <-ctx.Done():
			h.watch.off(watchKey, change)
			return late(ctx, "version %d of %s %s has not been read yet", version, aggregateType, id)
		}
	}
}
