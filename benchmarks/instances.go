package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// benchInstances measures one aggregate processor spread over processes: what
// more of them cost, and how long a partition stands still when it moves.
func benchInstances(ctx context.Context, r *runner) (report, error) {
	scale, err := r.scaleInstances(ctx)
	if err != nil {
		return scale, err
	}
	pauses, err := r.pausePartitions(ctx)
	return report{claims: append(scale.claims, pauses.claims...), notes: append(scale.notes, pauses.notes...)}, err
}

// notFalling is the share of one instance's throughput that several must keep:
// two cores cannot show more, and runs differ by a few per cent.
const notFalling = 0.95

func (r *runner) scaleInstances(ctx context.Context) (rep report, err error) {
	n, keys := pick(r, 1_000_000, 3_000), pick(r, 100_000, 300)
	counts := map[string]int{"1 instance": 1, "2 instances": 2, "4 instances": 4}
	kinds := pick(r, []string{"1 instance", "2 instances", "4 instances"}, []string{"2 instances"})
	rates := map[string][]float64{}
	err = alternate(kinds, pick(r, r.pairs, 1), func(kind string, pair int) error {
		r.begin("pair %d, %s", pair+1, kind)
		rate, err := r.drainInstances(ctx, counts[kind], n, keys)
		if err == nil {
			r.say("  %.0f commands/s", rate)
			rates[kind] = append(rates[kind], rate)
		}
		return err
	})
	if err != nil {
		return rep, err
	}
	for _, kind := range kinds {
		if kind != kinds[0] {
			rep.claims = append(rep.claims, atLeast(kind+" against one, commands/s in all", "%.2f ×", notFalling, median(ratios(rates[kind], rates[kinds[0]]))))
		}
		rep.claims = append(rep.claims, figure(kind, "%.0f commands/s", median(rates[kind])))
	}
	rep.notes = []string{fmt.Sprintf("Throughput: processes with nothing but the aggregate processor share 8 partitions of a fresh Kafka; once each holds its partitions, %d commands of %d keys come as fast as one producer on the same cores logs them, "+
		"and time runs from the first until the last is committed. Medians of %d alternating runs, verified: one event and one outcome per command, versions 1..n per key in the order of the log, hash chain.", n, keys, len(rates[kinds[0]]))}
	return rep, nil
}

func (r *runner) drainInstances(ctx context.Context, instances, n, keys int) (rate float64, err error) {
	f, err := r.openFleet(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	for i := range instances {
		if err := f.start(ctx, fmt.Sprintf("i%d", i)); err != nil {
			return 0, err
		}
	}
	if err := f.balanced(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := f.produce(ctx, commands{n: n, key: roundRobin("sku", keys)}); err != nil {
		return 0, err
	}
	if err := f.reach(ctx, n); err != nil {
		return 0, err
	}
	rate = float64(n) / time.Since(began).Seconds()
	if err := f.stopAll(); err != nil {
		return 0, err
	}
	return rate, f.verifyContender(ctx, kindEngine, n)
}

// fleet is one aggregate processor in several processes.
type fleet struct {
	*runner
	*stack
	admin   *kadm.Client
	group   string
	dir     string
	members map[string]*contender // by instance
}

func (r *runner) openFleet(ctx context.Context) (*fleet, error) {
	s, err := r.openStack(ctx, "kafka", benchTopology(false), nil)
	if err != nil {
		return nil, err
	}
	f := &fleet{runner: r, stack: s, admin: kadm.NewClient(s.client), group: s.topology.Group(s.topology.Aggregates[0]), members: map[string]*contender{}}
	if f.dir, err = r.temp("fleet"); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return f, nil
}

func (f *fleet) close() error {
	for _, c := range f.members {
		c.kill()
	}
	return f.stack.close()
}

// start starts an instance, or starts it again on the folder that it left.
func (f *fleet) start(ctx context.Context, instance string) (err error) {
	f.members[instance], err = f.startContender(ctx, f.stack, kindEngine, instance, filepath.Join(f.dir, instance), nil)
	if err != nil {
		delete(f.members, instance)
	}
	return err
}

func (f *fleet) stop(instance string) error {
	c := f.members[instance]
	delete(f.members, instance)
	return c.stop()
}

func (f *fleet) kill(instance string) {
	f.members[instance].kill()
	delete(f.members, instance)
}

func (f *fleet) stopAll() error {
	var errs []error
	for instance := range f.members {
		errs = append(errs, f.stop(instance))
	}
	return errors.Join(errs...)
}

// balancePatience is longer than a dead member's session.
const balancePatience = 90 * time.Second

// balanced returns when the group consists of the instances that run and each
// has partitions.
func (f *fleet) balanced(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, balancePatience, fmt.Errorf("group %s never settled on %d members", f.group, len(f.members)))
	defer cancel()
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		groups, err := f.admin.DescribeGroups(ctx, f.group)
		if err != nil {
			return false, err
		}
		g := groups[f.group]
		held := 0
		for _, m := range g.Members {
			assigned, ok := m.Assigned.AsConsumer()
			if !ok {
				return false, f.failed()
			}
			for _, t := range assigned.Topics {
				held += len(t.Partitions)
			}
		}
		return g.State == "Stable" && len(g.Members) == len(f.members) && held == int(f.topology.PartitionCount()), f.failed()
	})
}

// reach waits until n commands are committed.
func (f *fleet) reach(ctx context.Context, n int) error {
	return poll(ctx, reachEvery, func() (bool, error) {
		done, err := committed(ctx, f.admin, f.group)
		return done >= int64(n), errors.Join(err, f.failed())
	})
}

func (f *fleet) failed() error {
	for _, c := range f.members {
		if err := c.failed(); err != nil {
			return err
		}
	}
	return nil
}

// pauses are the longest waits of commands, from due to visible, by partition.
type pauses struct {
	mu    sync.Mutex
	worst map[int32]float64 // seconds
}

func (p *pauses) note(partition int32, seconds float64) {
	p.mu.Lock()
	p.worst[partition] = max(p.worst[partition], seconds)
	p.mu.Unlock()
}

// take returns them and begins anew.
func (p *pauses) take() (all []float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.worst {
		all = append(all, s)
	}
	p.worst = map[int32]float64{}
	return all
}

const (
	pauseRate = 500 // commands a second, over all partitions
	pauseKeys = 800
	pauseMax  = time.Hour // the load ends before
)

// pausePartitions moves partitions under load.
func (r *runner) pausePartitions(ctx context.Context) (rep report, err error) {
	f, err := r.openFleet(ctx)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.start(ctx, "a"); err != nil {
		return rep, err
	}
	l := &commandLoad{stack: f.stack, key: roundRobin("sku", pauseKeys), schedule: schedule{
		start: time.Now(), every: time.Second / pauseRate, n: int(pauseMax.Seconds()) * pauseRate, workers: 1,
	}}
	p := &pauses{worst: map[int32]float64{}}
	var planned, killed, restarted []float64
	life := ctx // of instances: they outlive the load
	err = l.through(ctx, func(i int, partition int32) { p.note(partition, time.Since(l.due(i)).Seconds()) }, func(ctx context.Context) error {
		loading, stop := context.WithCancel(ctx)
		driven := make(chan error, 1)
		go func() { driven <- l.drive(loading) }()
		m := &mover{fleet: f, load: l, pauses: p}
		err := m.all(ctx, life, &planned, &killed, &restarted)
		stop()
		if driveErr := <-driven; !errors.Is(driveErr, context.Canceled) {
			err = errors.Join(err, driveErr)
		}
		return err
	})
	if err != nil {
		return rep, err
	}
	if err := f.stopAll(); err != nil {
		return rep, err
	}
	if err := f.verifyContender(ctx, kindEngine, l.sent); err != nil {
		return rep, err
	}
	rep.claims = []claim{
		atMost("pause of a partition, planned move, p99", "%.2f s", 2, quantile(planned, 0.99)),
		atMost("pause of a partition, owner killed, worst", "%.2f s", 12, quantile(killed, 1)),
		atMost("pause of a partition, owner killed and the same name started again at once, worst", "%.2f s", 3, quantile(restarted, 1)),
		figure("medians of these", "%.2f s, %.2f s, %.2f s", median(planned), median(killed), median(restarted)),
	}
	rep.notes = []string{fmt.Sprintf("Pauses: %d commands/s over 8 partitions, an open loop; the longest wait of a command of a partition, from due to its event before a read-committed reader, while the group changes. "+
		"Planned: a second instance starts, later it stops in order (%d samples). Killed: `kill -9` of one of two (%d samples); the same with an immediate start by the same name on its folder (%d samples). "+
		"Every partition counts, those of the survivor as well. All %d events and outcomes verified afterwards as above.", pauseRate, len(planned), len(killed), len(restarted), l.sent)}
	return rep, nil
}

// mover changes the group and sees how long partitions stand still.
type mover struct {
	*fleet
	load   *commandLoad
	pauses *pauses
}

func (m *mover) all(ctx, life context.Context, planned, killed, restarted *[]float64) error {
	start, stop := func() error { return m.start(life, "b") }, func() error { return m.stop("b") }
	kill := func() error { m.kill("b"); return nil }
	again := func() error { m.kill("b"); return m.start(life, "b") }
	var unmeasured []float64
	for range pick(m.runner, 10, 1) {
		if err := m.moves(ctx, "planned", []func() error{start, stop}, planned, planned); err != nil {
			return err
		}
	}
	for range pick(m.runner, 5, 1) {
		if err := m.moves(ctx, "owner killed", []func() error{start, kill}, &unmeasured, killed); err != nil {
			return err
		}
	}
	if err := m.moves(ctx, "", []func() error{start}, &unmeasured); err != nil {
		return err
	}
	for range pick(m.runner, 5, 1) {
		if err := m.moves(ctx, "same name again", []func() error{again}, restarted); err != nil {
			return err
		}
	}
	return nil
}

// moves makes changes one after the other and gathers the pauses of each.
func (m *mover) moves(ctx context.Context, name string, changes []func() error, into ...*[]float64) error {
	for i, change := range changes {
		if err := m.load.caughtUp(ctx); err != nil {
			return err
		}
		m.pauses.take()
		if err := change(); err != nil {
			return err
		}
		if err := m.balanced(ctx); err != nil {
			return err
		}
		if err := m.load.caughtUp(ctx); err != nil {
			return err
		}
		took := m.pauses.take()
		*into[i] = append(*into[i], took...)
		if name != "" {
			m.say("  %s, change %d: %.2f s at the median, %.2f s at most", name, i+1, median(took), quantile(took, 1))
		}
	}
	return nil
}
