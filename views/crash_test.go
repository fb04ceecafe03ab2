package views

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/localstore"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// childEnv makes the test binary a process that runs the views until it is killed.
const childEnv = "NEXUS_VIEWS_CHILD"

type childConfig struct {
	Context, Dir string
	Addrs        []string
	// MemTableBytes is small where a kill shall find much on disk; 0: the default.
	MemTableBytes uint64
}

func TestMain(m *testing.M) {
	if cfg := os.Getenv(childEnv); cfg != "" {
		if err := child(cfg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func child(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	store, err := localstore.Open(c.Dir, localstore.Options{MemTableBytes: c.MemTableBytes})
	if err != nil {
		return err
	}
	entries, err := testTopology(c.Context).Schemas.All()
	if err != nil {
		return err
	}
	cfg := Config{Topology: testTopology(c.Context), Store: store, Framer: &framer{entries}, Client: []kgo.Opt{kgo.SeedBrokers(c.Addrs...)}}
	failed := make(chan error)
	for _, v := range []runner{NewHistory(cfg), NewStates(cfg), NewOutcomes(cfg)} {
		go func() { failed <- v.Run(context.Background()) }()
	}
	return <-failed
}

// A process killed at any moment leaves each view with exactly what its marks say, and the next one goes on from there.
func TestViews_surviveKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t, kafkatest.Kfake(t))
	text, err := json.Marshal(childConfig{Context: r.topo.Context, Dir: r.dir, Addrs: r.broker.Addrs, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	p := r.producer()
	w := &written{offsets: map[string]standing{}}
	// A kill proves something when the child got further than the one before it; what it had not flushed is lost whole.
	const proofs = 6
	proved, last := 0, 0
	limit := time.Now().Add(40 * time.Second)
	for kill := 0; proved < proofs && (proved == 0 || time.Now().Before(limit)); kill++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+string(text))
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(time.Duration(200+rnd.IntN(500*(1+kill/2))) * time.Millisecond)
		for time.Now().Before(until) {
			w.write(r, p, 40)
			<-time.After(5 * time.Millisecond) // the children have to keep up
		}
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); !strings.Contains(fmt.Sprint(err), "killed") {
			t.Fatalf("the child ended by itself: %v\n%s", err, &said)
		}
		n := w.compare(r, false)
		t.Logf("killed with %d of %d records in the store", n, len(w.offsets))
		if n > last {
			proved++
		}
		last = n
	}
	s := r.openStore()
	for _, v := range []interface {
		runner
		Ready() bool
	}{NewHistory(r.config(s)), NewStates(r.config(s)), NewOutcomes(r.config(s))} {
		r.start(v)()
	}
	_ = s.Close()
	w.compare(r, true)
}

// standing is where a record stands.
type standing struct {
	tp     TopicPartition
	offset int64
	space  space
	key    []byte // in the local store
}

// written remembers what was committed and where.
type written struct {
	next    int
	offsets map[string]standing
}

// write commits one transaction of n orders, each with event, table record and outcome, large enough to fill memtables.
func (w *written) write(r *rig, p *producer, n int) {
	r.t.Helper()
	padding := strings.Repeat("x", 1<<10)
	p.begin()
	records := map[string]*kgo.Record{}
	for range n {
		id := fmt.Sprint("k", w.next)
		w.next++
		records["e"+id] = r.event(id, 1, padding)
		records["s"+id] = r.table(id, 1, padding)
		records["o"+id] = r.outcome(id, &platform.Outcome{CommandID: id})
	}
	for _, rec := range records {
		p.cl.Produce(context.Background(), rec, nil)
	}
	p.commit()
	for name, rec := range records {
		o := standing{tp: TopicPartition{rec.Topic, rec.Partition}, offset: rec.Offset}
		switch name[0] {
		case 'e':
			o.space, o.key = historySpace, eventKey(aggregatePrefix(nil, "order", name[1:]), 1)
		case 's':
			o.space, o.key = stateSpace, stateKey(nil, "order", name[1:])
		case 'o':
			o.space, o.key = outcomeSpace, outcomeKeyOf(rec, "order", name[1:])
		}
		w.offsets[name] = o
	}
}

// outcomeKeyOf writes the layout of an outcome's key down again.
func outcomeKeyOf(rec *kgo.Record, aggregate, id string) []byte {
	key := binary.BigEndian.AppendUint32([]byte{'v', 'o', 1}, uint32(rec.Timestamp.UnixMilli()/hourMillis))
	key = append(append(append(key, id...), 0), aggregate...)
	key = binary.BigEndian.AppendUint32(append(key, 0), uint32(rec.Partition))
	return binary.BigEndian.AppendUint64(key, uint64(rec.Offset))
}

// compare opens what the child left: each record is there if and only if the mark of its partition is past it. It
// returns how many are there.
func (w *written) compare(r *rig, all bool) int {
	r.t.Helper()
	s, err := localstore.Open(r.dir, localstore.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.Close()
	there := 0
	marks := map[string]int64{}
	for name, o := range w.offsets {
		markName := string(o.space) + o.tp.String()
		next, known := marks[markName]
		if !known {
			stored, err := s.Get(o.space.markKey(nil, o.tp))
			if err != nil {
				r.t.Fatal(err)
			}
			if m, ok := parseMark(stored); ok {
				next = m.next
			}
			marks[markName] = next
		}
		value, err := s.Get(o.key)
		if err != nil {
			r.t.Fatal(err)
		}
		if (value != nil) != (o.offset < next) {
			r.t.Fatalf("%s at %s/%d: there is %v, the mark stands at %d", name, o.tp, o.offset, value != nil, next)
		}
		if value != nil {
			there++
		} else if all {
			r.t.Fatalf("%s is missing", name)
		}
	}
	return there
}
