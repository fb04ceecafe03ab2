package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says where the registry listens and where its topic is.
type Config struct {
	// Listen is the address of the HTTP server. Default 127.0.0.1:0.
	Listen string
	// ClientOpts reach the broker: seed brokers and, if it asks for it, SASL.
	ClientOpts []kgo.Opt
	// Topic is the log. Default _schemas.
	Topic string
	// Keep are subjects that a running system reads its log with: nobody deletes them or a version of them.
	Keep []string
	// Logger takes what an operator should know. Default: nothing is logged.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Topic == "" {
		c.Topic = "_schemas"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Registry is a running schema registry. It is safe for concurrent use.
type Registry struct {
	logger   *slog.Logger
	keep     []string
	handler  http.Handler
	listener net.Listener
	server   *http.Server
	served   chan struct{} // closed when the server's goroutine has ended
	fresh    sync.Map      // net.Conn that has not sent a request yet
	closing  sync.Once
	closeErr error

	slot   chan struct{} // holds one token: the right to plan and write a change
	log    *topicLog     // belongs to the holder of the slot
	mu     sync.RWMutex  // guards state; only the holder of the slot locks it for writing
	state  *state
	parser *parser
}

// Open replays the topic, creating it if it is missing (one partition,
// compacted, kept for ever), and then serves. ctx bounds the opening alone.
//
// It fails if the address is in use, the broker does not answer, or the topic
// has settings under which schemas would get lost; the error says which.
func Open(ctx context.Context, cfg Config) (*Registry, error) {
	cfg = cfg.withDefaults()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for the schema registry on %s: %w: stop what uses the address, or choose another (port 0 takes a free one)", cfg.Listen, err)
	}
	log, err := newTopicLog(cfg.Topic, cfg.ClientOpts)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	r := &Registry{
		logger: cfg.Logger, keep: cfg.Keep, listener: listener, log: log, served: make(chan struct{}),
		slot: make(chan struct{}, 1), state: newState(), parser: newParser(),
	}
	if err := r.replay(ctx); err != nil {
		_ = listener.Close()
		log.close()
		return nil, fmt.Errorf("opening the schema registry: %w", err)
	}
	r.serve()
	return r, nil
}

// URL is the base address for clients, such as http://127.0.0.1:8081.
func (r *Registry) URL() string { return "http://" + r.listener.Addr().String() }

// Handler is the API itself, for a server that embeds it. It checks Host and
// Origin as the registry's own server does.
func (r *Registry) Handler() http.Handler { return r.handler }

// Close stops serving, waits for the requests in work until ctx ends, and
// leaves the broker. It may be called more than once.
func (r *Registry) Close(ctx context.Context) error {
	r.closing.Do(func() {
		// Shutdown would give a connection that was opened ahead of its first
		// request 5 s to send one.
		r.fresh.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		if err := r.server.Shutdown(ctx); err != nil {
			r.closeErr = fmt.Errorf("stopping the schema registry: %w", err)
			_ = r.server.Close()
		}
		<-r.served
		r.log.close()
	})
	return r.closeErr
}

const (
	spreadPatience = 30 * time.Second
	spreadTick     = 50 * time.Millisecond
)

// replay brings memory up to the log. Of several brokers each learns of a topic
// that was created just now in its own time, and until then says that there is
// none: it is asked again, for a while.
func (r *Registry) replay(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, spreadPatience)
	defer cancel()
	tick := time.NewTicker(spreadTick)
	defer tick.Stop()
	for {
		err := r.log.ensure(ctx)
		if err == nil {
			err = r.catchUp(ctx)
		}
		switch {
		case err == nil:
			r.slot <- struct{}{}
			return nil
		case !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.LeaderNotAvailable):
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not every broker knows topic %s, or has a leader for it: look at the brokers' logs: %w", r.log.topic, err)
		case <-tick.C:
		}
	}
}

// catchUp applies what the log holds beyond our position. The caller holds the
// slot.
func (r *Registry) catchUp(ctx context.Context) error {
	marked, err := r.log.catchUp(ctx, r.applyRecord)
	if err != nil || !marked {
		return err
	}
	// The empty NOOP stands before the compactor in the place of the one that
	// may have kept the highest id.
	recs, err := r.log.write(ctx, []change{putNoop(r.state.maxID)})
	if err != nil {
		return err
	}
	r.log.next = recs[0].Offset + 1
	return nil
}

// applyRecord takes a record of the log into memory.
func (r *Registry) applyRecord(rec *kgo.Record) {
	r.mu.Lock()
	err := r.state.apply(rec.Key, rec.Value)
	r.mu.Unlock()
	if err != nil {
		r.logger.Warn("ignoring a record of the schema topic", "topic", rec.Topic, "offset", rec.Offset, "err", err)
	}
}

// change plans a change against memory, writes it, and applies it. plan runs
// alone: nothing else changes until it is applied or given up. It may read
// r.state without a lock and returns the records to write, or none.
func (r *Registry) change(ctx context.Context, plan func() ([]change, error)) error {
	select {
	case <-r.slot:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { r.slot <- struct{}{} }()
	if r.log.behind {
		if err := r.catchUp(ctx); err != nil {
			return err
		}
	}
	changes, err := plan()
	if err != nil || len(changes) == 0 {
		return err
	}
	recs, err := r.log.write(ctx, changes)
	if err != nil {
		return err
	}
	if recs[0].Offset != r.log.next {
		// Something we have not seen lies before our records: a write given up
		// for lost that arrived late. The log decides, in its order.
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		return r.confirm(changes)
	}
	for _, rec := range recs {
		r.applyRecord(rec)
		r.log.next = rec.Offset + 1
	}
	return nil
}

// confirm makes sure that the log agreed to the versions that were planned.
func (r *Registry) confirm(changes []change) error {
	for _, c := range changes {
		var k recordKey
		var v schemaValue
		if json.Unmarshal(c.key, &k) != nil || k.Type != keySchema || json.Unmarshal(c.value, &v) != nil {
			continue
		}
		if got, err := r.state.version(k.Subject, k.Version, all); err != nil || got.id != v.ID {
			return fmt.Errorf("version %d of %q was taken by an earlier write", k.Version, k.Subject)
		}
	}
	return nil
}
