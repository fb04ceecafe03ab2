package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/data"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// products are the stock codes of the first month's orders: booking them changes no
// figure of the oracle's.
var products = sync.OnceValue(func() []string {
	var all []string
	seen := map[string]bool{}
	for c, err := range retailcsv.Commands(shop.Sample(data.Months[0])...) {
		if err != nil {
			panic(err) // the program's own sample
		}
		order, ok := c.Record.(*retail.PlaceOrder)
		if !ok {
			continue
		}
		for _, line := range order.Lines {
			if !seen[line.Sku] {
				seen[line.Sku] = true
				all = append(all, line.Sku)
			}
		}
	}
	return all
})

const (
	// booked is how many products are booked in turn, on all partitions; each some
	// times, because a product's state lists what was booked, then the next ones.
	booked, times = 24, 100
	// subjects are the products of a history, from the other end of the list.
	subjects = 3
)

// receipt is a command of the clients: one piece of a product, under a reference
// that is also the command's id.
type receipt struct{ sku, id string }

// ledger is what clients know of their commands, over all scenarios of a stage.
type ledger struct {
	mu     sync.Mutex
	next   int
	acked  map[string]receipt // by id
	skus   map[string]bool
	faults []string // answers that a correct system does not give
}

func newLedger() *ledger { return &ledger{acked: map[string]receipt{}, skus: map[string]bool{}} }

func (l *ledger) issue() receipt {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	all := products()
	sku := all[(l.next/(booked*times)*booked+l.next%booked)%len(all)]
	l.skus[sku] = true
	return receipt{sku: sku, id: fmt.Sprintf("delivery-%d", l.next)}
}

func (l *ledger) ack(r receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[r.id] = r
}

func (l *ledger) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// web is the client of all requests; nothing of ours takes longer than that.
var web = &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// reply is an answer of an API; status 0: none came.
type reply struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func ask(ctx context.Context, method, address, body string, headers ...string) reply {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return reply{text: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	for h := 0; h < len(headers); h += 2 {
		req.Header.Set(headers[h], headers[h+1])
	}
	resp, err := web.Do(req)
	if err != nil {
		return reply{text: err.Error()}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{text: err.Error()}
	}
	r := reply{status: resp.StatusCode, header: resp.Header, text: string(text)}
	_ = json.Unmarshal(text, &r.body)
	return r
}

func book(ctx context.Context, api string, r receipt, headers ...string) reply {
	body := fmt.Sprintf(`{"sku":%q,"description":"OF A TEST","quantity":1,"reference":%q}`, r.sku, r.id)
	return ask(ctx, http.MethodPost, api+"/api/commands/ReceiveStock", body, append([]string{"Idempotency-Key", r.id}, headers...)...)
}

// traffic is clients that book all the time.
type traffic struct {
	stage    *stage
	ledger   *ledger
	cancel   context.CancelFunc
	clients  sync.WaitGroup
	acked    atomic.Int64 // answers 201 and 200
	missed   atomic.Int64 // answers that did not come, or said: not now
	slowest  atomic.Int64 // ns, of the acknowledged since the last reset
	stopping atomic.Bool
}

const (
	clientCount = 8
	// clientPause keeps the log short enough to be checked soon.
	clientPause = 25 * time.Millisecond
)

// traffic begins; apis are asked in turn.
func (s *stage) traffic(t *testing.T, gateways ...*programtest.Process) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tr := &traffic{stage: s, ledger: s.sent, cancel: cancel}
	for c := range clientCount {
		tr.clients.Go(func() {
			for n := c; !tr.stopping.Load(); n++ {
				tr.settle(ctx, s.sent.issue(), func() string { n++; return gateways[n%len(gateways)].API() })
				wait(clientPause)
			}
		})
	}
	t.Cleanup(func() { // where the scenario failed
		tr.stopping.Store(true)
		cancel()
		tr.clients.Wait()
	})
	return tr
}

// settle sends a command until it has its outcome: under one id that is safe.
func (tr *traffic) settle(ctx context.Context, r receipt, api func() string) {
	for ctx.Err() == nil {
		began := time.Now()
		a := book(ctx, api(), r)
		switch a.status {
		case http.StatusCreated, http.StatusOK:
			tr.ledger.ack(r)
			tr.acked.Add(1)
			tr.slow(time.Since(began))
			return
		case 0, http.StatusAccepted, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			tr.missed.Add(1)
			wait(4 * clientPause)
		default:
			tr.ledger.fault("%s of %s: %d %s", r.id, r.sku, a.status, a.text)
			return
		}
	}
}

func (tr *traffic) slow(took time.Duration) {
	for {
		last := tr.slowest.Load()
		if int64(took) <= last || tr.slowest.CompareAndSwap(last, int64(took)) {
			return
		}
	}
}

// goesOn waits until n more commands were acknowledged, and no instance may end meanwhile but those that may.
func (tr *traffic) goesOn(t *testing.T, n int64, mayEnd ...*programtest.Process) {
	t.Helper()
	from := tr.acked.Load()
	programtest.Eventually(t, fmt.Sprintf("%d more commands are acknowledged", n), func() bool {
		for _, i := range tr.stage.instances {
			if i.Runs() && i.Ended() && !slices.Contains(mayEnd, i) {
				t.Fatalf("%s ended:\n%s", i.Name, programtest.Tail(i.Log.String()))
			}
		}
		return tr.acked.Load() >= from+n
	})
}

// stop ends the clients once each has the outcome of its last command.
func (tr *traffic) stop(t *testing.T) {
	t.Helper()
	tr.stopping.Store(true)
	done := make(chan struct{})
	go func() { tr.clients.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(programtest.Patience):
		tr.cancel()
		<-done
		t.Fatalf("clients did not get the outcomes of their last commands within %v", programtest.Patience)
	}
}

// logged demands that every acknowledged command made one event, and nothing else did.
func (l *ledger) logged(t *testing.T, api string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.faults {
		t.Errorf("an answer that a correct system does not give: %s", f)
	}
	var found map[string]int
	programtest.Eventually(t, "the history shows as many events as commands were acknowledged", func() bool {
		found = map[string]int{}
		for sku := range l.skus {
			for _, reference := range references(t, api, sku) {
				found[reference]++
			}
		}
		return len(found) >= len(l.acked) // those of one command too many are found below
	})
	var lost, doubled, foreign []string
	for id := range l.acked {
		if found[id] == 0 {
			lost = append(lost, id)
		}
	}
	for reference, n := range found {
		if n > 1 {
			doubled = append(doubled, reference)
		}
		if _, ours := l.acked[reference]; !ours {
			foreign = append(foreign, reference)
		}
	}
	for what, ids := range map[string][]string{"were acknowledged and are not in the log": lost, "are in the log more than once": doubled, "are in the log and were never acknowledged": foreign} {
		if slices.Sort(ids); len(ids) > 0 {
			t.Errorf("%d commands %s: %v", len(ids), what, ids[:min(len(ids), 20)])
		}
	}
}

// references are those of the received deliveries of a product, from its events.
func references(t *testing.T, api, sku string) []string {
	t.Helper()
	var all []string
	for from := 1.0; from > 0; {
		a := ask(t.Context(), http.MethodGet, fmt.Sprintf("%s/api/aggregates/stock/%s/events?limit=1000&from=%.0f", api, url.PathEscape(sku), from), "")
		if a.status == http.StatusNotFound {
			return all
		}
		items, ok := a.body["items"].([]any)
		if a.status != http.StatusOK || !ok {
			t.Fatalf("events of %s: %d %s", sku, a.status, a.text)
		}
		for _, item := range items {
			reference, _ := item.(map[string]any)["data"].(map[string]any)["reference"].(string)
			if strings.HasPrefix(reference, "delivery-") { // not of an order, nor of a history
				all = append(all, reference)
			}
		}
		from, _ = a.body["next"].(float64)
	}
	return all
}
