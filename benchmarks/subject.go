package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/topology"
)

// Kinds of subjects: what consumes commands and makes events.
const (
	kindEngine = "engine"           // processors.New: goka on franz-go transactions
	kindSarama = "goka on sarama"   // the same callbacks on goka's own builders
	kindCopy   = "bare copy"        // franz-go alone, command bytes become event bytes
	kindFold   = "bare decide+fold" // franz-go alone, decided and folded in a Go map
)

// subjectConfig is what a subject's process is told.
type subjectConfig struct {
	Kind, Broker, Registry, Dir string
	Flat                        bool // the aggregate whose state does not grow
	// Instance names one of several engines, for ever; else each start is another.
	Instance string
}

// subject is a consumer of commands at work.
type subject interface {
	ready(context.Context) error // returns when it handles records
	done() (int64, error)        // commands whose events are committed
	stop() error
}

// snapshot is where a subject stands.
type snapshot struct {
	Records   int64   // commands done
	Seconds   float64 // since it was ready
	CPU       float64 // seconds of processor time since its process began
	PeakBytes float64
}

func (a snapshot) rate(b snapshot) float64 {
	return float64(b.Records-a.Records) / (b.Seconds - a.Seconds)
}

// microsPerCommand is processor time between two snapshots.
func (a snapshot) microsPerCommand(b snapshot) float64 {
	return (b.CPU - a.CPU) * 1e6 / float64(b.Records-a.Records)
}

// subjectRole runs a subject. Each word is a number of commands; when that many
// are done, it tells a snapshot.
func subjectRole(ctx context.Context, w *wire, config []byte) error {
	var cfg subjectConfig
	if err := json.Unmarshal(config, &cfg); err != nil {
		return err
	}
	t := benchTopology(cfg.Flat)
	framer, err := serdeOf(cfg.Registry, t)
	if err != nil {
		return err
	}
	if err := framer.Load(ctx); err != nil {
		return err
	}
	starting := time.Now()
	s, err := startSubject(ctx, cfg, t, framer)
	if err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := w.tell(recovered{Seconds: began.Sub(starting).Seconds()}); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return s.stop()
		case word := <-w.words:
			at, err := await(ctx, s, word, began)
			if err != nil {
				return err
			}
			if err := w.tell(at); err != nil {
				return err
			}
		}
	}
}

func startSubject(ctx context.Context, cfg subjectConfig, t *topology.Topology, framer *serde.Serde) (subject, error) {
	switch cfg.Kind {
	case kindEngine:
		return startEngine(ctx, cfg, t, framer)
	case kindSarama:
		return startSarama(ctx, cfg, t, framer)
	case kindCopy, kindFold:
		return startBare(ctx, cfg, t, framer)
	}
	return nil, fmt.Errorf("there is no subject %q", cfg.Kind)
}

// doneEvery is how often a subject is asked how far it is: a thousandth of the
// shortest run.
const doneEvery = 3 * time.Millisecond

func await(ctx context.Context, s subject, word string, began time.Time) (at snapshot, err error) {
	want, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return at, err
	}
	err = poll(ctx, doneEvery, func() (bool, error) {
		at.Records, err = s.done()
		return at.Records >= want, err
	})
	at.Seconds, at.CPU = time.Since(began).Seconds(), cpuTime().Seconds()
	if err == nil {
		at.PeakBytes, err = statusBytes(os.Getpid(), "VmHWM")
	}
	return at, err
}

// startSubjectProcess starts a subject over the stack in a process of its own,
// ready.
func (r *runner) startSubjectProcess(ctx context.Context, s *stack, kind string, flat bool) (*child, error) {
	dir, err := r.temp("subject")
	if err != nil {
		return nil, err
	}
	cfg := subjectConfig{Kind: kind, Broker: s.addr, Registry: s.registry, Dir: dir, Flat: flat}
	c, err := spawn(ctx, "subject", cfg, r.profileOf(kind), false)
	if err != nil {
		return nil, err
	}
	if err := c.next(&recovered{}); err != nil {
		return nil, err
	}
	return c, nil
}

// until waits for a number of commands to be done.
func (c *child) until(n int) (at snapshot, err error) {
	return at, c.ask(strconv.Itoa(n), &at)
}
