package faults

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/elastictest"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/linktest"
	_ "github.com/nexusblueprint/nexus/internal/program" // what the tests run: go repeats them when it has changed
	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/shop"
)

// stage is what scenarios play on, one after the other: brokers, a registry,
// instances, and the orders that were loaded so far.
type stage struct {
	kafka    *kafkatest.Cluster
	admin    *kadm.Client
	registry string
	dir      string

	// Of all scenarios: front is a gateway, mirror a sink, back decides and projects. Each
	// reaches the broker over a link of its own, and others reach the rest over these.
	front, mirror, back             *programtest.Process
	frontLink, mirrorLink, backLink *kafkatest.Link
	registryLink, searchLink        *linktest.Link

	instances []*programtest.Process
	months    []string // loaded so far
	sent      *ledger
}

// newStage prepares brokers and a search store, and runs an instance of each role.
func newStage(t *testing.T, kafka *kafkatest.Cluster) *stage {
	t.Helper()
	s := &stage{kafka: kafka, admin: kadm.NewClient(kafka.Client(t)), dir: t.TempDir(), sent: newLedger()}
	search := elastictest.Start(t)
	s.frontLink, s.mirrorLink, s.backLink = kafka.Link(t), kafka.Link(t), kafka.Link(t)
	s.registryLink = linktest.Open(t, "127.0.0.1:0", strings.TrimPrefix(registrytest.Embedded(t, kafka.Addrs...), "http://"))
	s.searchLink = linktest.Open(t, "127.0.0.1:0", strings.TrimPrefix(search.URL, "http://"))
	s.registry = "http://" + s.registryLink.Addr
	programtest.Must(t, "schemas", "register", "--registry", s.registry)
	s.front = s.instance(t, "front", "gateway", programtest.Settings{"bus": through(s.frontLink)})
	s.mirror = s.instance(t, "mirror", "sink", programtest.Settings{"bus": through(s.mirrorLink)})
	s.back = s.instance(t, "back", "processors", programtest.Settings{"bus": through(s.backLink)})
	s.whole(t)
	return s
}

// whole starts what a scenario needs and does not run.
func (s *stage) whole(t *testing.T) {
	t.Helper()
	run(t, s.front, s.mirror, s.back)
	s.shared(t, s.back)
}

// recovers waits until commands are acknowledged again, as whatever runs instances
// would: one that ends because it slept past its timeouts is started again.
func (s *stage) recovers(t *testing.T, tr *traffic) {
	t.Helper()
	const enough = 2 * clientCount // commands on their way do not make it
	from := tr.acked.Load()
	programtest.Eventually(t, "commands are acknowledged again", func() bool {
		for _, i := range []*programtest.Process{s.front, s.mirror, s.back} {
			if !i.Runs() || !i.Ended() {
				continue
			}
			if code := i.Exit(t); code != 1 || !strings.Contains(i.Log.String(), "slept past its timeouts") {
				t.Fatalf("%s ended with %d:\n%s", i.Name, code, programtest.Tail(i.Log.String()))
			}
			t.Logf("%s was shut out and is started again", i.Name)
			run(t, i)
		}
		return tr.acked.Load() >= from+enough
	})
}

func through(l *kafkatest.Link) string { return "kafka://" + strings.Join(l.Addrs, ",") }

// instance makes a name for processes; more replaces settings.
func (s *stage) instance(t *testing.T, name, roles string, more programtest.Settings) *programtest.Process {
	t.Helper()
	all := programtest.Settings{"roles": roles, "bus": "kafka://" + strings.Join(s.kafka.Addrs, ","), "registry": s.registry, "search": "elasticsearch+http://" + s.searchLink.Addr}
	maps.Copy(all, more)
	i := programtest.Instance(t, s.dir, name, all)
	s.instances = append(s.instances, i)
	return i
}

// guest makes an instance that gives its partitions away when it stops.
func (s *stage) guest(t *testing.T, name string) *programtest.Process {
	t.Helper()
	return s.instance(t, name, "processors", programtest.Settings{"leaveOnStop": "true"})
}

var generations = regexp.MustCompile(`msg=running .*generation=(\d+)`)

// generation is the greatest group generation that an instance took part in.
func generation(i *programtest.Process) int {
	greatest := 0
	for _, m := range generations.FindAllStringSubmatch(i.Log.String(), -1) {
		if n, err := strconv.Atoi(m[1]); err == nil {
			greatest = max(greatest, n)
		}
	}
	return greatest
}

// run starts those that do not run, all at once.
func run(t *testing.T, instances ...*programtest.Process) {
	t.Helper()
	for _, i := range instances {
		if !i.Runs() {
			i.Begin(t)
		}
	}
	for _, i := range instances {
		i.Ready(t)
	}
}

// stockGroup is the group that decides the commands of the scenarios' clients.
var stockGroup = func() string {
	t := shop.Topology()
	a, _ := t.Aggregate("stock")
	return t.Group(a)
}()

// owners are the members of a group with the number of partitions they hold, as
// the broker says; nil while it says nothing, or the group is on the move.
func (s *stage) owners(group string) map[string]int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	described, err := s.admin.DescribeGroups(ctx, group)
	if err != nil || described[group].Err != nil || described[group].State != "Stable" {
		return nil
	}
	owners := map[string]int{}
	for _, m := range described[group].Members {
		if m.InstanceID == nil {
			continue
		}
		owners[*m.InstanceID] = 0
		if given, ok := m.Assigned.AsConsumer(); ok && len(given.Topics) > 0 {
			owners[*m.InstanceID] = len(given.Topics[0].Partitions)
		}
	}
	return owners
}

// shared waits until the stock group consists of these instances, each with a part.
func (s *stage) shared(t *testing.T, instances ...*programtest.Process) {
	t.Helper()
	var last map[string]int
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the group was last seen as %v", last)
		}
	})
	names := make([]string, len(instances))
	for n, i := range instances {
		names[n] = i.Name
	}
	programtest.Eventually(t, fmt.Sprintf("%s is shared by %v", stockGroup, names), func() bool {
		if now := s.owners(stockGroup); now != nil {
			last = now
		}
		for _, name := range names {
			if last[name] == 0 {
				return false
			}
		}
		return len(last) == len(names)
	})
}

// aborts counts the markers of aborted transactions in the log.
func (s *stage) aborts(t *testing.T) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programtest.Patience)
	defer cancel()
	var topics []string
	for _, topic := range shop.Topology().Topics() {
		topics = append(topics, topic.Name)
	}
	ends, err := s.admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		t.Fatal(err)
	}
	starts, err := s.admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]map[int32]kgo.Offset{}
	remaining := 0
	ends.Each(func(o kadm.ListedOffset) {
		if first, ok := starts.Lookup(o.Topic, o.Partition); ok && o.Offset > first.Offset {
			if left[o.Topic] == nil {
				left[o.Topic] = map[int32]kgo.Offset{}
			}
			left[o.Topic][o.Partition] = kgo.NewOffset().At(first.Offset)
			remaining++
		}
	})
	cl := s.kafka.Client(t, kgo.ConsumePartitions(left), kgo.KeepControlRecords())
	defer cl.Close()
	aborted := 0
	done := map[string]bool{}
	for len(done) < remaining {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("reading the log for aborted transactions: %d of %d partitions read within %v", len(done), remaining, programtest.Patience)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Attrs.IsControl() && len(r.Key) >= 4 && r.Key[2] == 0 && r.Key[3] == 0 {
				aborted++
			}
			if end, _ := ends.Lookup(r.Topic, r.Partition); r.Offset >= end.Offset-1 {
				done[fmt.Sprint(r.Topic, "/", r.Partition)] = true
			}
		})
	}
	return aborted
}

// settle ends guests and everything that a scenario left in an odd state.
func settle(t *testing.T, guests ...*programtest.Process) {
	t.Helper()
	for _, i := range guests {
		if i.Runs() {
			i.Signal(t, syscall.SIGCONT)
			i.Stop(t)
		}
	}
}
