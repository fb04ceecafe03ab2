package archive

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

// A restored event is framed with the ids of the registry it is restored beside, whatever they were before, and an
// export from there holds the same events.
func TestRestore_frames_with_the_ids_of_the_new_registry(t *testing.T) {
	server := registrytest.Apicurio(t)
	registry, err := confluent.New(config.Registry{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Register(t.Context(), ports.Schema{Subject: "somebody.elses", Text: `"int"`}); err != nil { // so that no id is what it is elsewhere
		t.Fatal(err)
	}
	top := shop.Topology()
	top.Partitions = 1
	broker := kafkatest.Kfake(t)
	for _, topic := range top.Topics() {
		broker.Create(t, kafkatest.Topic{Name: topic.Name, Partitions: int(topic.Partitions), Config: topic.Config})
	}
	opts := []kgo.Opt{kgo.SeedBrokers(broker.Addrs...)}

	events := history(3, 7)
	a, err := open(t, top, map[string][]byte{"stock.avro": written(t, stockHeader(), events)})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range a.Schemas() {
		if _, err := registry.Register(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	framer := serde.New(registry, top)
	if err := framer.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Restore(t.Context(), Target{Framer: framer, Registry: registry, Broker: opts}); err != nil {
		t.Fatal(err)
	}

	stock := top.Aggregates[slices.IndexFunc(top.Aggregates, func(a topology.Aggregate) bool { return a.Name() == "stock" })]
	cl := broker.Client(t, kgo.ConsumeTopics(top.Events(stock)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []*kgo.Record
	for len(got) < len(events) {
		fetched := cl.PollFetches(t.Context())
		if err := fetched.Err(); err != nil {
			t.Fatal(err)
		}
		got = append(got, fetched.Records()...)
	}
	for i, e := range events {
		name := []string{"shop.stock.StockReceived", "shop.stock.StockAdjusted"}[e.PayloadSchema]
		event, known := framer.ID(name)
		meta, metaKnown := framer.ID(topology.MetadataSchema)
		if want := framed(event, e.Payload); !known || !bytes.Equal(got[i].Value, want) {
			t.Fatalf("event %d is %x, want %x", i+1, got[i].Value, want)
		}
		if want := framed(meta, e.Metadata); !metaKnown || !bytes.Equal(serde.Metadata(got[i]), want) {
			t.Fatalf("metadata of event %d is %x, want %x", i+1, serde.Metadata(got[i]), want)
		}
	}

	done, err := Export(t.Context(), Source{Topology: top, Framer: framer, Registry: registry, Broker: opts}, t.TempDir(), []topology.Aggregate{stock})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Open(t.Context(), top, []string{done[0].File}); err != nil || again.Events() != a.Events() {
		t.Errorf("exported again: %+v, %v", done, err)
	}
}

func framed(id uint32, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, id), payload...)
}
