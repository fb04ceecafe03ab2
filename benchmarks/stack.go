package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/adapters/embedded/registry"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/topology"
)

// stack is a fresh broker in a process of its own, with a registry and the
// topics of a topology.
type stack struct {
	addr, registry string
	topology       *topology.Topology
	serde          *serde.Serde
	client         *kgo.Client
	closers        []func() error
}

// openStack starts a broker of the kind (kfake or kafka). Close it.
func (r *runner) openStack(ctx context.Context, kind string, t *topology.Topology, override map[string]string) (_ *stack, err error) {
	s := &stack{topology: t}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	switch kind {
	case "kfake":
		err = s.startKfake(ctx, r)
	case "kafka":
		s.addr, err = s.startServer(ctx, r, "kafka.sh")
	default:
		err = fmt.Errorf("there is no broker %q, only kfake and kafka", kind)
	}
	if err != nil {
		return nil, err
	}
	if s.client, err = kgo.NewClient(s.opts()...); err != nil {
		return nil, err
	}
	s.onClose(func() error { s.client.Close(); return nil })
	if err := s.openRegistry(ctx); err != nil {
		return nil, err
	}
	return s, s.createTopics(ctx, override)
}

func (s *stack) opts(more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{kgo.SeedBrokers(s.addr)}, more...)
}

func (s *stack) onClose(f func() error) { s.closers = append(s.closers, f) }

func (s *stack) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	return errors.Join(errs...)
}

type brokerAddress struct{ Addr string }

// kfakeRole serves kfake, everything in memory, until the parent has had enough.
func kfakeRole(ctx context.Context, w *wire, _ []byte) error {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := w.tell(brokerAddress{c.ListenAddrs()[0]}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (s *stack) startKfake(ctx context.Context, r *runner) error {
	c, err := spawn(ctx, "kfake", nil, r.profileOf("kfake"), false)
	if err != nil {
		return err
	}
	s.onClose(c.stop)
	var at brokerAddress
	if err := c.next(&at); err != nil {
		return err
	}
	s.addr = at.Addr
	return nil
}

const serverPatience = 5 * time.Minute // the first start installs the server

// startServer starts a real server by its script in deploy/local, and returns its address.
func (s *stack) startServer(ctx context.Context, r *runner, script string) (address string, err error) {
	dir, err := r.temp(script)
	if err != nil {
		return "", err
	}
	s.onClose(func() error { return os.RemoveAll(dir) })
	said := &tail{}
	//nolint:gosec // the module's own script
	cmd := exec.CommandContext(ctx, "bash", filepath.Join(r.root, "deploy/local", script), "run", dir)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = 20 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.onClose(func() error { return stopScript(script, in, ended) })
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	err = poll(ctx, 20*time.Millisecond, func() (bool, error) {
		select {
		case err := <-ended:
			ended <- err
			return false, fmt.Errorf("%s ended (%w): %s", script, err, said)
		default:
		}
		text, err := os.ReadFile(filepath.Join(dir, "address"))
		address = strings.TrimSpace(string(text))
		return err == nil, nil
	})
	return address, err
}

// stopScript ends a server's script, which goes when its input does.
func stopScript(script string, in io.Closer, ended <-chan error) error {
	_ = in.Close()
	select {
	case err := <-ended:
		return scriptError(err)
	case <-time.After(stopPatience):
		return fmt.Errorf("%s did not stop within %v", script, stopPatience)
	}
}

// scriptError is nil for the script's usual end, a signal.
func scriptError(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

func (s *stack) openRegistry(ctx context.Context) error {
	reg, err := registry.Open(ctx, registry.Config{ClientOpts: s.opts()})
	if err != nil {
		return err
	}
	s.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return reg.Close(ctx)
	})
	s.registry = reg.URL()
	if s.serde, err = serdeOf(s.registry, s.topology); err != nil {
		return err
	}
	return s.serde.Register(ctx)
}

func serdeOf(registry string, t *topology.Topology) (*serde.Serde, error) {
	cl, err := confluent.New(config.Registry{URL: registry})
	if err != nil {
		return nil, err
	}
	return serde.New(cl, t), nil
}

// createTopics makes the topology's topics as the platform would; override is
// for settings of command topics.
func (s *stack) createTopics(ctx context.Context, override map[string]string) error {
	admin := kadm.NewClient(s.client)
	for _, topic := range s.topology.Topics() {
		settings := map[string]*string{}
		for name, value := range topic.Config {
			settings[name] = &value
		}
		if topic.Kind == topology.CommandTopic {
			for name, value := range override {
				settings[name] = &value
			}
		}
		if _, err := admin.CreateTopic(ctx, topic.Partitions, 1, settings, topic.Name); err != nil {
			return fmt.Errorf("creating topic %s: %w", topic.Name, err)
		}
	}
	return s.awaitLeaders(ctx)
}

// awaitLeaders returns when clients find all topics: Kafka answers a creation
// before its broker has heard of it.
func (s *stack) awaitLeaders(ctx context.Context) error {
	req := kmsg.NewPtrMetadataRequest()
	partitions := 0
	for _, topic := range s.topology.Topics() {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(topic.Name)
		req.Topics = append(req.Topics, rt)
		partitions += int(topic.Partitions)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, settlePatience, errors.New("the topics never had leaders"))
	defer cancel()
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		resp, err := req.RequestWith(ctx, s.client)
		if err != nil {
			return false, err
		}
		led := 0
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if t.ErrorCode == 0 && p.ErrorCode == 0 && p.Leader >= 0 {
					led++
				}
			}
		}
		return led == partitions, nil
	})
}
