package shop_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

// world runs the shop's topology in memory: commands go through the real
// aggregates, events through the real projections. It stands in for the
// platform in tests of the domain and of what talks to the platform.
type world struct {
	topology  *topology.Topology
	states    map[string]domain.Record            // by aggregate type and id
	outcomes  map[string]outcome                  // by command id
	documents map[string]map[string]domain.Record // by read model and key
	histories map[string][]domain.Event           // by aggregate type and id
	order     []string                            // of the histories' first events
	offsets   map[string]int64                    // by topic and partition
}

// outcome is what became of a command.
type outcome struct {
	command    [sha256.Size]byte // over name and bytes
	aggregate  string
	events     []domain.Event
	no         *domain.Rejection
	faults     []domain.Fault
	position   string
	wasPending bool
}

func newWorld() *world {
	w := &world{
		topology: shop.Topology(), states: map[string]domain.Record{}, outcomes: map[string]outcome{},
		documents: map[string]map[string]domain.Record{}, histories: map[string][]domain.Event{}, offsets: map[string]int64{},
	}
	for _, p := range w.topology.Projections {
		w.documents[p.Name()] = map[string]domain.Record{}
	}
	return w
}

// handle takes a command as the platform does. replayed says that the outcome
// is that of an earlier command of this id; reused, that the earlier one was
// another command.
func (w *world) handle(id string, c domain.Command) (out outcome, replayed, reused bool) {
	body := sha256.Sum256(c.AppendAvro([]byte(c.AvroName())))
	if first, ok := w.outcomes[id]; ok {
		return first, true, first.command != body
	}
	a, _, ok := w.topology.AggregateOfCommand(c.AvroName())
	if !ok {
		panic("no aggregate takes " + c.AvroName())
	}
	out = outcome{command: body, aggregate: a.Name() + "/" + a.ID(c)}
	if out.faults = a.Validate(c); len(out.faults) > 0 {
		return out, false, false
	}
	state := w.states[out.aggregate]
	if state == nil {
		state = a.NewState()
		w.states[out.aggregate] = state
	}
	if out.events, out.no = a.Decide(state, c); len(out.events) > 0 {
		if len(w.histories[out.aggregate]) == 0 {
			w.order = append(w.order, out.aggregate)
		}
		for _, e := range out.events {
			a.Evolve(state, e)
			w.histories[out.aggregate] = append(w.histories[out.aggregate], e)
			out.position = w.log(w.topology.Events(a), a.ID(c))
			w.project(e)
		}
	}
	w.outcomes[id] = out
	return out, false, false
}

// log gives the event the next offset of its partition.
func (w *world) log(topic, key string) string {
	hash := fnv.New32a()
	hash.Write(binary.BigEndian.AppendUint32([]byte(key), 0))
	part := fmt.Sprintf("%s/%d", topic, hash.Sum32()%8)
	w.offsets[part]++
	return fmt.Sprintf("%s/%d", part, w.offsets[part])
}

func (w *world) project(e domain.Event) {
	for _, p := range w.topology.Projections {
		for _, c := range p.Split(e) {
			docs := w.documents[p.Name()]
			if docs[c.Key] == nil {
				docs[c.Key] = p.NewDocument()
			}
			p.Apply(docs[c.Key], c.Record)
		}
	}
}

// bytes of all documents, to compare two worlds.
func (w *world) bytes() map[string]string {
	all := map[string]string{}
	for model, docs := range w.documents {
		for key, doc := range docs {
			all[model+"/"+key] = string(doc.AppendAvro(nil))
		}
	}
	return all
}

func sameDocuments(t testing.TB, want, got map[string]string) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%d documents, want %d", len(got), len(want))
	}
	for key := range want {
		if want[key] != got[key] {
			t.Errorf("document %s differs", key)
		}
	}
}
