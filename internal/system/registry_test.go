package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/emitters"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/linktest"
	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/topology"
)

// newer frames adjustments as the next release would, with a field more.
type newer struct {
	*serde.Serde
	id uint32
}

func (n newer) Append(dst []byte, rec avro.Record) ([]byte, error) {
	adjust, ok := rec.(*retail.AdjustStock)
	if !ok {
		return n.Serde.Append(dst, rec)
	}
	dst = append(dst, 0, byte(n.id>>24), byte(n.id>>16), byte(n.id>>8), byte(n.id))
	return append(adjust.AppendAvro(dst), 0), nil // the new field: an empty string
}

// A running system does without its registry for all that it knows. What it does not know waits: nothing is set aside,
// nothing overtakes, and everything is decided when the registry is back.
func TestRun_goes_on_without_its_registry(t *testing.T) {
	broker := kafkatest.Kfake(t)
	c := settings(t, broker, true)
	direct, err := confluent.New(c.Registry)
	if err != nil {
		t.Fatal(err)
	}
	link := linktest.Open(t, "127.0.0.1:0", strings.TrimPrefix(c.Registry.URL, "http://"))
	c.Registry.URL = "http://" + link.Addr
	var log programtest.Transcript
	s, err := begin(t, c, &log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()

	top := twoPartitions()
	stock, _ := top.Aggregate("stock")
	framer := serde.New(direct, top)
	if err := framer.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	const subject = "shop.stock.AdjustStock"
	text := top.Schemas.Find(subject).Text
	end := strings.LastIndex(text, "]")
	next, err := direct.Register(t.Context(), ports.Schema{Subject: subject, Text: text[:end] + `,{"name":"note","type":"string","default":""}` + text[end:]})
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	send := func(framer emitters.Framer) {
		t.Helper()
		commands, err := emitters.NewCommands(emitters.Config{Topology: top, Framer: framer, Client: []kgo.Opt{kgo.SeedBrokers(broker.Addrs...)}})
		if err != nil {
			t.Fatal(err)
		}
		sent++
		done := make(chan error, 1)
		commands.Send(t.Context(), stock.Name(), "mug", &retail.AdjustStock{Sku: "mug", Quantity: 1, Reference: fmt.Sprint("r", sent)},
			&platform.CommandMetadata{CommandID: fmt.Sprintf("0199%08d-0000-7000-8000-000000000000", sent), CorrelationID: "c", Actor: "me"}, func(err error) { done <- err })
		if err := errors.Join(<-done, commands.Close()); err != nil {
			t.Fatal(err)
		}
	}
	reader := broker.Client(t, kgo.ConsumeTopics(top.Events(stock)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	var decided []string
	decides := func(references string) {
		t.Helper()
		kafkatest.Eventually(t, time.Minute, references+" are decided", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			for _, r := range reader.PollFetches(ctx).Records() {
				event := new(retail.StockAdjusted)
				if err := framer.Decode(r.Value, event); err != nil {
					t.Fatal(err)
				}
				decided = append(decided, event.Reference)
			}
			return strings.Join(decided, " ") == references
		})
	}

	send(framer)
	decides("r1")
	link.Cut()
	send(framer)
	decides("r1 r2")
	send(newer{framer, next})
	send(framer) // of the same aggregate: it must not overtake
	kafkatest.Eventually(t, time.Minute, "the system says that it cannot ask for the new schema", func() bool {
		return strings.Contains(log.String(), serde.ErrRegistry.Error())
	})
	if client, err := confluent.New(c.Registry); err != nil {
		t.Error(err)
	} else if _, err := client.Register(t.Context(), ports.Schema{Subject: "shop.stock.New", Text: `"int"`}); !errors.Is(err, ports.ErrRegistryUnavailable) {
		t.Errorf("a new schema: %v; want: %v", err, ports.ErrRegistryUnavailable)
	}
	link.Heal(t)
	decides("r1 r2 r3 r4")
	ends, err := kadm.NewClient(broker.Client(t)).ListEndOffsets(t.Context(), top.DeadLetters())
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset != 0 {
			t.Errorf("%d records of partition %d of %s: something was set aside", o.Offset, o.Partition, o.Topic)
		}
	})
}

// What breaks with a version that is registered does not become one: the schemas of before would break with it for ever.
func TestRegister_refuses_before_it_registers(t *testing.T) {
	client, err := confluent.New(config.Registry{URL: registrytest.Embedded(t, kafkatest.Kfake(t).Addrs...)})
	if err != nil {
		t.Fatal(err)
	}
	const subject = topology.MetadataSchema
	register := func(top *topology.Topology, governance string) error {
		s := &System{topology: top, registry: client, serde: serde.New(client, top), settings: *config.Default()}
		s.settings.Governance = governance
		return s.register(t.Context())
	}
	expect := func(err error, part string, versions int) {
		t.Helper()
		if said := fmt.Sprint(err); !strings.Contains(said, part) {
			t.Errorf("no word of %q in: %s", part, said)
		}
		if got, err := client.Versions(t.Context(), subject); err != nil || len(got) != versions {
			t.Errorf("%d versions, want %d; error %v", len(got), versions, err)
		}
	}
	before, micros := twoPartitions(), twoPartitions()
	micros.Schemas = nil
	for _, set := range before.Schemas {
		changed := slices.Clone(set)
		for i, e := range changed {
			if e.Name == subject {
				changed[i] = &avro.Entry{Name: e.Name, Text: strings.Replace(e.Text, "timestamp-millis", "timestamp-micros", 1), Part: e.Part, New: e.New}
			}
		}
		micros.Schemas = append(micros.Schemas, changed)
	}
	expect(register(before, config.Enforce), "<nil>", 1)
	expect(register(micros, config.Enforce), "schema "+subject+": schema-evolution: breaks with version 1 in the registry: ", 1)
	expect(register(before, config.Enforce), "<nil>", 1)
	expect(register(micros, config.Warn), "<nil>", 2)
	expect(register(before, config.Enforce), "breaks with version 2 in the registry: ", 2)
}
