package gateway

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/bodyhash"
	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/views"
)

// echo accepts every command at once: what is measured is the gateway.
type echo struct {
	*world
	mu      sync.Mutex
	waiting map[string]chan *platform.Outcome
}

func (e *echo) Send(_ context.Context, aggregateType, id string, cmd domain.Command, meta *platform.CommandMetadata, done func(error)) {
	e.mu.Lock()
	c := e.waiting[meta.CommandID]
	e.mu.Unlock()
	done(nil)
	c <- &platform.Outcome{
		CommandID: meta.CommandID, CommandType: cmd.AvroName(), AggregateType: aggregateType, AggregateID: id, Version: 1,
		Events:   []platform.OutcomeEvent{{Type: "shop.stock.StockReceived", Version: 1}},
		BodyHash: bodyhash.Sum(cmd.AvroName(), meta.Expectation, meta.ExpectedVersion, cmd.AppendAvro(nil)),
	}
}

type echoed struct {
	e  *echo
	id string
	c  chan *platform.Outcome
}

func (e *echo) Expect(id string) ports.Expectation {
	c := make(chan *platform.Outcome, 1)
	e.mu.Lock()
	e.waiting[id] = c
	e.mu.Unlock()
	return &echoed{e, id, c}
}

func (e *echoed) C() <-chan *platform.Outcome { return e.c }

func (e *echoed) Cancel() {
	e.e.mu.Lock()
	delete(e.e.waiting, e.id)
	e.e.mu.Unlock()
}

func (e *echo) Outcome(context.Context, string) (*platform.Outcome, bool, error) {
	return nil, false, nil
}

func (e *echo) After(_ context.Context, parts []views.TopicPartition) (views.Position, error) {
	p := views.Position{}
	for _, part := range parts {
		p[part] = 12_345
	}
	return p, nil
}

func newEchoRig(b *testing.B) string {
	b.Helper()
	w := newWorld()
	e := &echo{world: w, waiting: map[string]chan *platform.Outcome{}}
	g, err := New(Options{
		Topology: w.topology, Bus: e, States: states{w}, History: w, Positions: e, Search: &w.found,
		Metrics: prometheus.NewRegistry(), Random: rand.NewChaCha8([32]byte{1}), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	r := &rig{Gateway: g, world: w, t: b}
	url, stop := r.serve()
	b.Cleanup(func() {
		if err := stop(); err != nil {
			b.Error(err)
		}
	})
	return url
}

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBatch sends small commands in batches of 500 over loopback. The CPU
// per command counts client and server, the echo included.
func BenchmarkBatch(b *testing.B) {
	for name, id := range map[string]bool{"ids made": false, "ids given": true} {
		b.Run(name, func(b *testing.B) {
			url := newEchoRig(b)
			const lines = 500
			client := &http.Client{}
			before, n := cpu(b), 0
			for b.Loop() {
				var body strings.Builder
				for range lines {
					n++
					body.WriteString(`{"type":"ReceiveStock",`)
					if id {
						body.WriteString(`"id":"import-` + strconv.Itoa(n) + `",`)
					}
					body.WriteString(`"command":{"sku":"85123A","description":"WHITE HANGING HEART T-LIGHT HOLDER","quantity":6,"reference":"R` + strconv.Itoa(n) + `"}}` + "\n")
				}
				exchange(b, client, url+batchPath, "application/x-ndjson", body.String())
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(n)/1e3, "cpu-µs/command")
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

// BenchmarkSingle sends an order of 24 lines, one request after the other.
func BenchmarkSingle(b *testing.B) {
	url := newEchoRig(b)
	line := placeOrder[strings.Index(placeOrder, `{"sku"`) : len(placeOrder)-2]
	body := placeOrder[:len(placeOrder)-2] + strings.Repeat(","+line, 23) + "]}"
	client := &http.Client{}
	before := cpu(b)
	for b.Loop() {
		exchange(b, client, url+placePath, "application/json", body)
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e3, "cpu-µs/command")
}

func exchange(b *testing.B, client *http.Client, url, media, body string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	res, err := client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode/100 != 2 {
		b.Fatalf("status %d, %v", res.StatusCode, err)
	}
}
