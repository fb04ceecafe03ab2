package emitters

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/topology"
)

// framer knows two schemas; every other one is not registered.
type framer struct{}

var ids = map[string]uint32{"shop.order.CancelOrder": 7, "nexus.CommandMetadata": 9}

func (framer) Append(dst []byte, rec avro.Record) ([]byte, error) {
	id, ok := ids[rec.AvroName()]
	if !ok {
		return dst, errors.New("schema " + rec.AvroName() + " is not registered")
	}
	return rec.AppendAvro(binary.BigEndian.AppendUint32(append(dst, 0), id)), nil
}

const partitions = 8

func testTopology() *topology.Topology {
	order := domain.NewAggregate("order", 1,
		func(s retail.Order, _ domain.Event) retail.Order { return s },
		domain.Handle(func(c *retail.CancelOrder) string { return c.OrderID },
			func(*retail.CancelOrder) []domain.Fault { return nil },
			func(retail.Order, *retail.CancelOrder) ([]domain.Event, *domain.Rejection) { return nil, nil }),
		domain.Records[retail.Order, retail.OrderPlaced](),
	)
	return &topology.Topology{
		Context: "shop", Partitions: partitions, Schemas: avro.Sets{platform.Schemas, retail.Schemas},
		Aggregates: []topology.Aggregate{{Aggregate: order, Table: "shop.order.OrderTable"}},
	}
}

type rig struct {
	*Commands
	t      *testing.T
	broker *kafkatest.Broker
	topic  string
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	b := kafkatest.Kfake(t)
	topo := testTopology()
	b.Create(t, kafkatest.Topic{Name: "shop.order.commands", Partitions: partitions})
	cfg := Config{Topology: topo, Framer: framer{}, Client: []kgo.Opt{kgo.SeedBrokers(b.Addrs...)}, deliveryTimeout: 5 * time.Second}
	if change != nil {
		change(&cfg)
	}
	c, err := NewCommands(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &rig{Commands: c, t: t, broker: b, topic: topo.Commands(topo.Aggregates[0])}
}

func cancelOrder(id string) *retail.CancelOrder { return &retail.CancelOrder{OrderID: id} }

// send sends one command and returns where done will be told.
func (r *rig) send(id string, cmd domain.Command) <-chan error {
	r.t.Helper()
	done := make(chan error, 2)
	r.Send(r.t.Context(), "order", id, cmd, &platform.CommandMetadata{CommandID: "c-" + id}, func(err error) { done <- err })
	return done
}

func within(t *testing.T, limit time.Duration, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		t.Fatalf("nothing was said within %v", limit)
		return nil
	}
}

// log reads n commands back, and makes sure that there are no more.
func (r *rig) log(n int) []*kgo.Record {
	r.t.Helper()
	cl := r.broker.Client(r.t, kgo.ConsumeTopics(r.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n && ctx.Err() == nil {
		records = append(records, cl.PollFetches(ctx).Records()...)
	}
	more, cancel2 := context.WithTimeout(r.t.Context(), 100*time.Millisecond)
	defer cancel2()
	records = append(records, cl.PollFetches(more).Records()...)
	if len(records) != n {
		r.t.Fatalf("the log has %d commands, want %d", len(records), n)
	}
	return records
}

// drain reads back all there is.
func (r *rig) drain() []*kgo.Record {
	r.t.Helper()
	ends, err := kadm.NewClient(r.broker.Client(r.t)).ListEndOffsets(r.t.Context(), r.topic)
	if err != nil {
		r.t.Fatal(err)
	}
	total := 0
	ends.Each(func(o kadm.ListedOffset) { total += int(o.Offset) })
	return r.log(total)
}

// murmur2 is Kafka's hash, written down here again from org.apache.kafka.common.utils.Utils.
func murmur2(b []byte) uint32 {
	const m, r = uint32(0x5bd1e995), 24
	h := uint32(0x9747b28c) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		h = h*m ^ (k^k>>r)*m
	}
	for i := len(b) - 1; i >= 0; i-- {
		h ^= uint32(b[i]) << (8 * i)
		if i == 0 {
			h *= m
		}
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

func TestCommands_Send(t *testing.T) {
	r := newRig(t, nil)
	want := map[string]bool{}
	for i := range 200 {
		id := strings.Repeat("ä", i%5) + fmt.Sprint("order-", i)
		want[id] = true
		if err := within(t, 10*time.Second, r.send(id, cancelOrder(id))); i == 0 && err != nil {
			t.Fatal(err)
		}
	}
	for _, rec := range r.log(200) {
		id := string(rec.Key)
		if !want[id] {
			t.Errorf("%q is there twice or was never sent", id)
		}
		delete(want, id)
		if p := int32(murmur2(rec.Key)&0x7fffffff) % partitions; p != rec.Partition {
			t.Errorf("%q is on partition %d, murmur2 says %d", id, rec.Partition, p)
		}
		cmd, meta := new(retail.CancelOrder), new(platform.CommandMetadata)
		if string(rec.Value[:5]) != "\x00\x00\x00\x00\x07" || cmd.DecodeAvro(rec.Value[5:]) != nil || cmd.OrderID != id {
			t.Errorf("value %x", rec.Value)
		}
		if len(rec.Headers) != 1 || rec.Headers[0].Key != "nexus-meta" {
			t.Fatalf("headers %v", rec.Headers)
		}
		h := rec.Headers[0].Value
		if string(h[:5]) != "\x00\x00\x00\x00\x09" || meta.DecodeAvro(h[5:]) != nil || meta.CommandID != "c-"+id {
			t.Errorf("metadata %x", h)
		}
		if rec.Attrs.IsTransactional() {
			t.Error("the command is part of a transaction")
		}
	}
}

func TestCommands_Send_keepsTheOrderOfAnAggregate(t *testing.T) {
	r := newRig(t, nil)
	var wg sync.WaitGroup
	for i := range 2_000 {
		wg.Add(1)
		cmd := cancelOrder("1")
		cmd.Reason = new(fmt.Sprint(i))
		r.Send(t.Context(), "order", "1", cmd, &platform.CommandMetadata{}, func(err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, rec := range r.log(2_000) {
		cmd := new(retail.CancelOrder)
		if err := cmd.DecodeAvro(rec.Value[5:]); err != nil || cmd.Reason == nil || *cmd.Reason != fmt.Sprint(i) {
			t.Fatalf("at %d: %+v, %v", i, cmd, err)
		}
	}
}

func TestCommands_Send_failsAtOnceWhenOverloaded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.recordsMax = 10 })
	release := make(chan struct{})
	r.broker.Fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.broker.Fake.SleepControl(func() { <-release })
		return nil, nil, false
	})
	var sent []<-chan error
	for i := range 10 {
		sent = append(sent, r.send(fmt.Sprint(i), cancelOrder("x")))
	}
	began := time.Now()
	if err := within(t, 5*time.Second, r.send("one too many", cancelOrder("x"))); !errors.Is(err, ports.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	close(release)
	for _, done := range sent {
		if err := within(t, 10*time.Second, done); err != nil {
			t.Errorf("got %v", err)
		}
	}
	if err := within(t, 10*time.Second, r.send("again", cancelOrder("x"))); err != nil {
		t.Errorf("after the overload: %v", err)
	}
	r.log(11)
}

func TestCommands_Send_refusesWhatCanNeverBeLogged(t *testing.T) {
	r := newRig(t, nil)
	if err := within(t, time.Second, r.send("1", &retail.PlaceOrder{})); !errors.Is(err, ports.ErrRefused) {
		t.Errorf("a schema that is not registered: %v", err)
	}
	// What is too large must not take others with it: they may wait in the same batch.
	before := r.send("1", cancelOrder("1"))
	large := cancelOrder("1")
	large.Reason = new(strings.Repeat("x", 3<<20))
	tooLarge := r.send("1", large)
	after := r.send("1", cancelOrder("1"))
	if err := within(t, 5*time.Second, tooLarge); !errors.Is(err, ports.ErrRefused) || !errors.Is(err, ports.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	for _, done := range []<-chan error{before, after} {
		if err := within(t, 10*time.Second, done); err != nil {
			t.Errorf("its neighbour: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	r.Send(ctx, "order", "1", cancelOrder("1"), &platform.CommandMetadata{}, func(err error) { done <- err })
	if err := within(t, time.Second, done); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is over: %v", err)
	}
	r.log(2)
}

// The broker takes a command and its answer is lost: nobody can know.
func TestCommands_Send_saysThatItDoesNotKnow(t *testing.T) {
	r := newRig(t, func(c *Config) { c.deliveryTimeout = time.Second })
	if err := within(t, 10*time.Second, r.send("1", cancelOrder("1"))); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	r.broker.Fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.broker.Fake.SleepControl(func() { <-release })
		return nil, nil, false
	})
	done := r.send("2", cancelOrder("2"))
	if err := within(t, 5*time.Second, done); !errors.Is(err, ports.ErrInDoubt) {
		t.Errorf("got %v", err)
	}
	close(release)
	kafkatest.Eventually(t, 10*time.Second, "the broker has taken it after all", func() bool { return r.cl.BufferedProduceRecords() == 0 })
	r.log(2)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if len(done) != 0 {
		t.Error("done was called twice")
	}
}

func TestCommands_Close(t *testing.T) {
	r := newRig(t, nil)
	var sent []<-chan error
	for i := range 100 {
		sent = append(sent, r.send(fmt.Sprint(i), cancelOrder("x")))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, done := range sent {
		if len(done) != 1 || <-done != nil {
			t.Fatal("Close left a command behind")
		}
	}
	if err := within(t, time.Second, r.send("late", cancelOrder("x"))); !errors.Is(err, ports.ErrBusClosed) {
		t.Errorf("got %v", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	r.log(100)
}
