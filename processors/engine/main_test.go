package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/lovoo/goka"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// childEnv makes the test binary run as a processor process instead.
const childEnv = "NEXUS_ENGINE_CHILD"

type childConfig struct {
	Brokers        []string
	Names          names
	ID, Txn, Dir   string
	Static         bool
	Supervised     bool // start the processor again when it ends with an error
	Min, Max       time.Duration
	Session, TxnTO time.Duration
	Pad            int
	Bench          bool // measure, see bench_test.go
	Total          uint64
	CPUProfile     string
	MemoryStore    bool
	Plain          bool // no Local, and a store of the usual size
	Ahead, Standby bool // goka's options
}

func runMain(m *testing.M) {
	text := os.Getenv(childEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	if err := c.run(); err != nil {
		fmt.Fprintln(os.Stderr, "ended:", err)
		os.Exit(1)
	}
}

func (c childConfig) run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	dir := c.Dir
	if c.MemoryStore {
		dir = ""
	}
	o := localstore.Options{Logger: log}
	if !c.Bench && !c.Plain { // small, so that a kill finds something on disk
		o.MemTableBytes = 16 << 10
	}
	ls, err := localstore.Open(dir, o)
	if err != nil {
		return err
	}
	store, err := engine.NewStore(ls)
	if err != nil {
		return err
	}
	l := newSumming(c.Names.Events)
	l.brokers = c.Brokers
	graph, local := c.Names.graphOf(c.Pad, l.wrap(c.Names, c.Names.count)), engine.Local(l)
	if c.Bench || c.Plain {
		graph, local = c.Names.graph(c.Pad), nil
	}
	e, err := engine.New(engine.Config{
		Local:   local,
		Brokers: c.Brokers, Group: c.Names.Group, InstanceID: c.ID, TransactionalID: c.Txn, StaticMember: c.Static,
		CommitMin: c.Min, CommitMax: c.Max, SessionTimeout: c.Session, TxnTimeout: c.TxnTO, Store: store, Logger: log,
	})
	if err != nil {
		return err
	}
	defer e.Close()
	err = c.supervise(ctx, log, func() error {
		opts := e.Options()
		if c.Ahead {
			opts = append(opts, goka.WithRecoverAhead())
		}
		if c.Standby {
			opts = append(opts, goka.WithHotStandby())
		}
		p, err := goka.NewProcessor(c.Brokers, graph, opts...)
		if err != nil {
			return err
		}
		if c.Bench {
			return c.bench(ctx, p, e)
		}
		return p.Run(ctx)
	})
	log.Info("end", "stats", fmt.Sprintf("%+v", e.Stats()), "err", err)
	if cerr := ls.Close(); err == nil {
		err = cerr
	}
	return err
}

// supervise runs f again when it fails, as the platform does.
func (c childConfig) supervise(ctx context.Context, log *slog.Logger, f func() error) error {
	for {
		err := f()
		if err == nil || !c.Supervised || ctx.Err() != nil {
			return err
		}
		log.Warn("starting the processor again", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// process is a child that runs a processor.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

func spawn(t testing.TB, b *kafkatest.Broker, c childConfig) *process {
	t.Helper()
	c.Brokers = b.Addrs
	text, err := json.Marshal(c)
	must(t, err)
	must(t, os.MkdirAll(c.Dir, 0o755))
	log := filepath.Clean(c.Dir) + ".log"
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	p := &process{t: t, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // the exit code is in cmd.ProcessState
		_ = out.Close()
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGCONT)
		p.signal(syscall.SIGKILL)
		<-p.done
		if t.Failed() {
			text, _ := os.ReadFile(log)
			t.Logf("%s:\n%s", log, tail(text, 4000))
		}
	})
	return p
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func (p *process) signal(s syscall.Signal) {
	if !p.dead() {
		_ = p.cmd.Process.Signal(s) // it may have ended meanwhile
	}
}

func (p *process) dead() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait for the process's end and answer its exit code.
func (p *process) wait() int { return p.waitFor(40 * time.Second) }

func (p *process) waitFor(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("process of %s does not end", p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait()
}

func (p *process) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Errorf("process of %s ended with %d", p.log, code)
	}
}
