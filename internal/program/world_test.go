package program

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

// world is one running system that the tests of this package look at; none of
// them changes what the others see.
var world struct {
	system.Endpoints
	data string
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "nexus-program-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		world.data = dir + "/data"
		d, err := system.Start(context.Background(), testTopology(), devConfig(world.data, &system.Seed{
			Register: func(context.Context, ports.SchemaRegistry) error { return nil },
			Fill:     poison,
		}))
		if err != nil {
			panic(err)
		}
		world.Endpoints = d.Endpoints()
		code := m.Run()
		if err := d.Stop(); err != nil {
			panic(err)
		}
		return code
	}())
}

func testTopology() *topology.Topology {
	t := shop.Topology()
	t.Partitions = 2
	return t
}

func devConfig(data string, seed *system.Seed) system.Config {
	return system.Config{
		Data: data, Listen: "127.0.0.1:0", BusListen: "127.0.0.1:0", RegistryListen: "127.0.0.1:0", Seed: seed,
		Version: "test", Logger: slog.New(slog.DiscardHandler),
	}
}

// poison puts records onto the topics that no processor can handle: a command
// that is cut off, one that is no Avro at all, and a dead letter that is none.
func poison(ctx context.Context, broker []kgo.Opt, _ ports.SchemaRegistry, framer *serde.Serde) error {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))}, broker...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	meta, err := framer.Append(nil, &platform.CommandMetadata{CommandID: "poison-1"})
	if err != nil {
		return err
	}
	command, err := framer.Append(nil, &retail.ReceiveStock{Sku: "dead", Description: "MUG", Quantity: 1, Reference: "r"})
	if err != nil {
		return err
	}
	return cl.ProduceSync(ctx,
		&kgo.Record{Topic: "shop.stock.commands", Key: []byte("dead"), Value: command[:len(command)-2], Headers: []kgo.RecordHeader{{Key: serde.MetaHeader, Value: meta}}},
		&kgo.Record{Topic: "shop.stock.commands", Key: []byte("other"), Value: command, Headers: []kgo.RecordHeader{{Key: serde.MetaHeader, Value: meta}}},
		&kgo.Record{Topic: "shop.dlq", Key: []byte("dead"), Value: []byte("no letter")},
	).FirstErr()
}

// ran is what a command line printed and how it ended.
type ran struct {
	out, errs string
	code      int
}

func nx(t testing.TB, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return nxOn(ctx, testTopology(), args...)
}

func nxOn(ctx context.Context, top *topology.Topology, args ...string) ran {
	var out, errs programtest.Transcript
	code := run(ctx, top, Options{}, args, strings.NewReader(""), &out, &errs)
	return ran{out.String(), errs.String(), code}
}

// is demands an exit code.
func (r ran) is(t testing.TB, code int) ran {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.errs)
	}
	return r
}

// has demands parts of what was printed.
func (r ran) has(t testing.TB, parts ...string) ran {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(r.out+r.errs, part) {
			t.Errorf("no word of %q in:\n%s%s", part, r.out, r.errs)
		}
	}
	return r
}

// send posts a command and demands that it is accepted.
func send(t testing.TB, api, command, body string) {
	t.Helper()
	resp, err := http.Post(api+"/api/commands/"+command, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s %s is answered with %d: %s", command, body, resp.StatusCode, text)
	}
}

func receive(t testing.TB, api, sku string, quantity int, reference string) {
	t.Helper()
	send(t, api, "ReceiveStock", fmt.Sprintf(`{"sku":%q,"description":"MUG","quantity":%d,"reference":%q}`, sku, quantity, reference))
}

func placeOrder(t testing.TB, api, order string) {
	t.Helper()
	send(t, api, "PlaceOrder", fmt.Sprintf(`{"orderId":%q,"customerId":"17850","country":"France","placedAt":"2011-05-03T10:00:00Z","lines":[{"sku":"22423","description":"MUG","quantity":3,"unitPrice":"2.55"},{"sku":"A&B","description":"<ÜBER>","quantity":1,"unitPrice":"0.005"}]}`, order))
}

// jsonLines parses what was printed, an object per line.
func jsonLines(t testing.TB, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, v)
	}
	return all
}

// eventually polls until f answers true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
