package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/soak"
	"github.com/nexusblueprint/nexus/processors/engine"
)

const tormentKeys = 500

// torment is a stream of commands on which processes work that are tormented.
type torment struct {
	t    *testing.T
	b    *kafkatest.Broker
	n    names
	base string
	disk int // rows found in stores of killed processes
	rnd  *rand.Rand
	last atomic.Uint64 // command
	stop func()
}

func newTorment(t *testing.T, b *kafkatest.Broker) *torment {
	t.Helper()
	m := &torment{t: t, b: b, n: setup(t, b), base: t.TempDir(), rnd: soak.Seeded(t)}
	cl := b.Client(t, kgo.RecordPartitioner(engine.Partitioner()))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		m.send(cl, stop)
	}()
	m.stop = sync.OnceFunc(func() {
		close(stop)
		<-stopped
	})
	t.Cleanup(m.stop)
	return m
}

// send produces 2,000 commands a second, every 20th twice.
func (m *torment) send(cl *kgo.Client, stop chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			if err := cl.Flush(context.Background()); err != nil {
				m.t.Errorf("flushing commands: %v", err)
			}
			return
		case <-tick.C:
		}
		for range 20 {
			id := m.last.Add(1)
			for range 1 + id%20/19 {
				cl.Produce(context.Background(), command(m.n.Commands, id, tormentKeys), func(_ *kgo.Record, err error) {
					if err != nil {
						m.t.Errorf("producing a command: %v", err)
					}
				})
			}
		}
	}
}

func (m *torment) spawn(id, dir string, change ...func(*childConfig)) *process {
	m.t.Helper()
	c := childConfig{
		Names: m.n, ID: id, Dir: filepath.Join(m.base, dir), Static: true,
		Min: 5 * time.Millisecond, Max: 50 * time.Millisecond, Session: 2 * time.Second, TxnTO: 5 * time.Second, Supervised: true,
	}
	for _, f := range change {
		f(&c)
	}
	return spawn(m.t, m.b, c)
}

// pause for a random time.
func (m *torment) pause(lo, hi time.Duration) {
	<-time.After(lo + time.Duration(m.rnd.Int64N(int64(hi-lo))))
}

// progress waits until more events are committed, so that a kill meets a processor
// at work and not only one that starts.
func (m *torment) progress() {
	m.t.Helper()
	adm := m.b.Client(m.t)
	before := stableEnd(m.t, adm, m.n.Events)
	kafkatest.Eventually(m.t, 60*time.Second, "events are written", func() bool { return stableEnd(m.t, adm, m.n.Events) > before })
}

// finish stops the commands, waits until all are processed, ends the processes and checks.
func (m *torment) finish(live ...*process) {
	m.t.Helper()
	m.stop()
	m.n.drained(m.t, m.b, 60*time.Second)
	for _, p := range live {
		p.terminate()
	}
	m.settled()
	m.n.verify(m.t, m.b, m.last.Load(), tormentKeys)
	m.t.Logf("%d commands, %d aborted events in the log", m.last.Load(), m.n.aborted(m.t, m.b))
}

// settled waits until no transaction is open: one that nobody will end hides what
// comes after it until it times out.
func (m *torment) settled() {
	m.t.Helper()
	cl := m.b.Client(m.t)
	for _, topic := range []string{m.n.Events, m.n.Table} {
		kafkatest.Eventually(m.t, 30*time.Second, topic+" has no open transaction", func() bool {
			return stableEnd(m.t, cl, topic) == highEnd(m.t, cl, topic)
		})
	}
}

// localEqualsTable opens a process's store and compares it with the table topic.
func (m *torment) localEqualsTable(dir string) {
	m.t.Helper()
	s := reopen(m.t, filepath.Join(m.base, dir))
	local, sum := map[string]state{}, uint64(0)
	for p := range int32(partitions) {
		d := s.Dump(m.t, m.n.Table, p)
		sum += decodeSum(d.Local["sum"])
		for k, v := range d.Table {
			st, err := decodeState(v)
			must(m.t, err)
			local[k] = st
		}
	}
	must(m.t, s.Close())
	if sum != m.last.Load() {
		m.t.Errorf("the local states sum up to %d after %d commands", sum, m.last.Load())
	}
	if table := m.n.tableNow(m.t, m.b); fmt.Sprint(local) != fmt.Sprint(table) {
		m.t.Errorf("the local store holds %d keys, the table topic %d, or their values differ", len(local), len(table))
	}
}

// Killed at random moments and started again, everything happens exactly once.
func TestCrash_Kill(t *testing.T) {
	both := kafkatest.Each
	// kfake keeps dynamic members that were killed while joining, with their partitions.
	kafkaOnly := func(t *testing.T, test func(*testing.T, *kafkatest.Broker)) { test(t, kafkatest.Kafka(t)) }
	for _, how := range []struct {
		name   string
		on     func(*testing.T, func(*testing.T, *kafkatest.Broker))
		rounds int
		change func(*childConfig, int)
	}{
		{"same id, static member", both, 6, func(*childConfig, int) {}},
		{"same id, dynamic member", kafkaOnly, 3, func(c *childConfig, _ int) { c.Static = false }},
		{"fresh transactional id at each start", both, 2, func(c *childConfig, round int) { c.Txn = fmt.Sprint(c.Names.Group, ".a.", round) }},
	} {
		t.Run(how.name, func(t *testing.T) {
			how.on(t, func(t *testing.T, b *kafkatest.Broker) {
				m := newTorment(t, b)
				round := 0
				next := func() *process {
					round++
					return m.spawn("a", "a", func(c *childConfig) { how.change(c, round) })
				}
				p := next()
				for i := range soak.Rounds(t, how.rounds) {
					if i%2 == 0 {
						m.progress()
						m.pause(0, 300*time.Millisecond)
					} else {
						m.pause(20*time.Millisecond, 600*time.Millisecond) // while it starts
					}
					p.kill()
					m.consistent("a")
					p = next()
				}
				m.finish(p)
				m.localEqualsTable("a")
				if m.disk == 0 && how.rounds > 3 { // two kills may both come too early
					t.Error("no kill left anything in the local store: consistent proves nothing")
				}
			})
		})
	}
}

// consistent checks a killed process's store. The Local's sum must be the number of
// events up to the offset it keeps, and must never be ahead of the table: they are
// written together, and only the table is replayed.
func (m *torment) consistent(dir string) {
	m.t.Helper()
	s := reopen(m.t, filepath.Join(m.base, dir))
	defer func() { must(m.t, s.Close()) }()
	sums, ats, want := [partitions]uint64{}, [partitions]int64{}, [partitions]uint64{}
	for p := range int32(partitions) {
		d := s.Dump(m.t, m.n.Table, p)
		m.disk += len(d.Table)
		table := uint64(0)
		for _, v := range d.Table {
			st, err := decodeState(v)
			must(m.t, err)
			table += st.Version
		}
		sums[p], ats[p] = decodeSum(d.Local["sum"]), -1
		if at := d.Local["at"]; at != nil {
			ats[p] = int64(decodeSum(at))
		}
		if sums[p] > table {
			m.t.Errorf("partition %d: the local state says %d, ahead of the table beside it with %d", p, sums[p], table)
		}
	}
	readAll(m.t, m.b, m.n.Events, kgo.ReadCommitted(), func(r *kgo.Record) {
		if r.Offset <= ats[r.Partition] {
			want[r.Partition]++
		}
	})
	if sums != want {
		m.t.Errorf("the local states say %v at %v, the log %v", sums, ats, want)
	}
}

// Instances come and go, politely or not, beside one that stays.
func TestCrash_Rebalance(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		m := newTorment(t, b)
		stays := m.spawn("a", "a")
		others := map[string]*process{}
		for i := range soak.Rounds(t, 5) {
			m.progress()
			m.pause(100*time.Millisecond, time.Second)
			id := []string{"b", "c"}[m.rnd.IntN(2)]
			switch p := others[id]; {
			case p == nil:
				others[id] = m.spawn(id, id)
			case i%2 == 0:
				p.kill()
				others[id] = nil
			default:
				p.terminate()
				others[id] = nil
			}
		}
		live := []*process{stays}
		for _, p := range others {
			if p != nil {
				live = append(live, p)
			}
		}
		m.finish(live...)
	})
}

// Two processes under one id: the first is stopped, the second starts, the first
// wakes up. It must end as fenced, and the second must not notice.
func TestCrash_Twin(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		m := newTorment(t, b)
		alone := func(c *childConfig) { c.Supervised = false }
		p := m.spawn("a", "a0", alone)
		for i := range soak.Rounds(t, 2) {
			m.progress()
			m.pause(50*time.Millisecond, 500*time.Millisecond)
			p.signal(syscall.SIGSTOP)
			twin := m.spawn("a", fmt.Sprint("a", i+1), alone)
			m.pause(300*time.Millisecond, 2*time.Second)
			p.signal(syscall.SIGCONT)
			if code := p.wait(); code != 1 {
				t.Errorf("the fenced process ended with %d", code)
			}
			if log, err := os.ReadFile(p.log); err != nil || !strings.Contains(string(log), "ended: ") || !strings.Contains(string(log), "Fenced:1") {
				t.Errorf("the fenced process does not say so: %v %s", err, tail(log, 600))
			}
			p = twin
		}
		m.finish(p)
	})
}

// A process sleeps beyond its session and its transaction; another takes over; the
// sleeper wakes up and must not commit what it holds.
func TestCrash_Zombie(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		m := newTorment(t, b)
		a, other := m.spawn("a", "a"), m.spawn("b", "b")
		for range soak.Rounds(t, 1) {
			m.progress()
			m.pause(100*time.Millisecond, time.Second)
			a.signal(syscall.SIGSTOP)
			<-time.After(8 * time.Second) // session 2 s, transaction 5 s, the broker's look at it
			m.progress()
			a.signal(syscall.SIGCONT)
			m.pause(time.Second, 2*time.Second)
		}
		m.finish(a, other)
	})
}
