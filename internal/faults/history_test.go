package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/soak"
)

// recorder is what clients see of one product. Its clock is of this process alone.
type recorder struct {
	sku   string
	begin product
	// known is the greatest version that anybody has seen: a read that demands it
	// has to see all that was seen before it began.
	known atomic.Int64

	mu      sync.Mutex
	history []porcupine.Operation
	sent    []booking
	queries []query
}

// query is what the read model said to a client that wrote a version: it must hold
// that, or more (I6).
type query struct{ written, onHand int64 }

var epoch = time.Now()

func tick() int64 { return int64(time.Since(epoch)) }

func (r *recorder) add(client int, in any, out answered, call, answer int64) {
	for seen := r.known.Load(); seen < out.version && !r.known.CompareAndSwap(seen, out.version); seen = r.known.Load() {
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: answer})
}

// read demands what is known to be there.
func (r *recorder) read(ctx context.Context, client int, api string) {
	address := api + "/api/aggregates/stock/" + url.PathEscape(r.sku)
	if known := r.known.Load(); known > 0 {
		address += "?minVersion=" + strconv.FormatInt(known, 10)
	}
	call := tick()
	if out, ok := state(ask(ctx, http.MethodGet, address, "")); ok {
		r.add(client, reading{}, out, call, tick())
	}
}

func state(a reply) (answered, bool) {
	if a.status != http.StatusOK {
		return answered{}, false
	}
	return answered{version: number(a.body["version"]), onHand: number(a.body["state"].(map[string]any)["onHand"])}, true
}

func number(v any) int64 { f, _ := v.(float64); return int64(f) }

// next is a booking of its own, or one that somebody has sent before.
func (r *recorder) next(random *rand.Rand, key string) booking {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sent) > 0 && random.IntN(8) == 0 {
		return r.sent[random.IntN(len(r.sent))]
	}
	b := booking{key: key, quantity: 1 + random.Int64N(9)}
	if random.IntN(2) == 0 {
		b.expected = r.known.Load()
	}
	r.sent = append(r.sent, b)
	return b
}

// book sends a booking until it has its outcome, or leaves it open: it may take
// effect later.
func (r *recorder) book(ctx context.Context, client int, random *rand.Rand, key string, api func() string) (unanswered bool) {
	b := r.next(random, key)
	for call := tick(); ; {
		a := r.send(ctx, api(), b)
		out, ok, fault := outcome(a)
		switch {
		case fault != "":
			r.add(client, b, answered{version: -1}, call, tick()) // no order of operations explains it
			return false
		case ok:
			r.add(client, b, out, call, tick())
			if position, _ := a.body["position"].(string); position != "" && random.IntN(4) == 0 {
				r.query(ctx, api(), out.version, position)
			}
			return unanswered
		}
		if unanswered = true; random.IntN(2) == 0 || ctx.Err() != nil {
			r.add(client, b, answered{unknown: true}, call, open)
			return true
		}
		wait(4 * clientPause)
	}
}

// query asks any gateway's read model for what was just written.
func (r *recorder) query(ctx context.Context, api string, written int64, position string) {
	a := ask(ctx, http.MethodGet, fmt.Sprintf("%s/api/queries/products/%s?wait=10s&position=%s", api, url.PathEscape(r.sku), url.QueryEscape(position)), "")
	if a.status != http.StatusOK {
		return // late, and says so
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queries = append(r.queries, query{written, number(a.body["onHand"])})
}

// readsOwnWrites demands I6 of all queries. Bookings only add, so what a version
// holds is the sum of those up to it.
func (r *recorder) readsOwnWrites(t *testing.T) {
	t.Helper()
	added := map[int64]int64{} // by version
	for _, op := range r.history {
		if b, isBooking := op.Input.(booking); isBooking {
			if out := op.Output.(answered); !out.unknown && !out.conflict {
				added[out.version] = b.quantity
			}
		}
	}
	for _, q := range r.queries {
		want := r.begin.onHand
		for version, quantity := range added {
			if version <= q.written {
				want += quantity
			}
		}
		if q.onHand < want {
			t.Errorf("%s: after version %d was written, the read model said %d pieces, of %d", r.sku, q.written, q.onHand, want)
		}
	}
	if len(r.queries) == 0 {
		t.Errorf("%s: no query was answered", r.sku)
	}
}

func (r *recorder) send(ctx context.Context, api string, b booking) reply {
	headers := []string{"Idempotency-Key", b.key}
	if b.expected > 0 {
		headers = append(headers, "If-Match", strconv.Quote(strconv.FormatInt(b.expected, 10)))
	}
	body := fmt.Sprintf(`{"sku":%q,"description":"OF A HISTORY","quantity":%d,"reference":%q}`, r.sku, b.quantity, b.key)
	return ask(ctx, http.MethodPost, api+"/api/commands/ReceiveStock", body, headers...)
}

// outcome reads an answer to a command, or to the question what became of it.
func outcome(a reply) (out answered, ok bool, fault string) {
	status := a.status
	if s := number(a.body["status"]); status == http.StatusOK && s != 0 {
		status = int(s)
	}
	switch status {
	case http.StatusOK, http.StatusCreated:
		return answered{version: number(a.body["version"])}, true, ""
	case http.StatusPreconditionFailed:
		return answered{conflict: true, version: number(a.body["version"])}, true, ""
	case 0, http.StatusAccepted, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return answered{}, false, ""
	}
	return answered{}, false, fmt.Sprintf("%d %s", a.status, a.text)
}

// histories records what concurrent clients of two gateways see of a few products
// while processors and a gateway are killed and partitions move.
func (s *stage) histories(t *testing.T) {
	random := soak.Seeded(t)
	s.whole(t)
	s.load(t, s.front)() // the products are there, and nothing but the clients changes them
	second := s.instance(t, "front-2", "gateway", nil)
	guest := s.guest(t, "guest-3")
	for episode := range soak.Rounds(t, 1) {
		run(t, second, guest)
		s.shared(t, s.back, guest)
		s.episode(t, random, episode, second, guest)
	}
	settle(t, guest, second)
	s.shared(t, s.back)
	s.verdict(t, s.front)
}

// episode is one history, of a length that can be judged.
func (s *stage) episode(t *testing.T, random *rand.Rand, number int, second, guest *programtest.Process) {
	t.Helper()
	before, first := s.aborts(t), generation(s.back)
	recorders := s.recorders(t, number)
	stop, unanswered := record(recorders, random.Uint64(), fmt.Sprint("history-", number), s.front, second)
	defer stop()
	faults := []func(){
		func() { s.back.Kill(t); run(t, s.back) },
		func() { second.Kill(t); run(t, second) },
		func() { guest.Stop(t); run(t, guest) },
		func() {
			second.Signal(t, syscall.SIGSTOP)
			wait(between(random, 0, 2*time.Second))
			second.Signal(t, syscall.SIGCONT)
		},
	}
	for _, fault := range random.Perm(len(faults)) {
		wait(between(random, 200*time.Millisecond, time.Second))
		faults[fault]()
		s.shared(t, s.back, guest)
	}
	stop()
	operations, queries, found, never := 0, 0, 0, 0
	for n, r := range recorders {
		f, l := r.close(t, s.front.API(), fmt.Sprintf("history-%d-last-%d", number, n))
		r.readsOwnWrites(t)
		operations, queries, found, never = operations+len(r.history), queries+len(r.queries), found+f, never+l
		if got := linearizable(r.begin, r.history); got != porcupine.Ok {
			t.Errorf("the history of %s, of %d operations, is judged %s: %+v", r.sku, len(r.history), got, r.history[:min(len(r.history), 50)])
		}
	}
	recorders[0].corrupted(t)
	t.Logf("%d operations on %d products and %d queries for what was written, over %d faults: %d unanswered at first; of those given up, another gateway knew the outcome of %d and %d were never logged; %d markers of aborted transactions",
		operations, subjects, queries, len(faults), unanswered(), found, never, s.aborts(t)-before)
	if grown := generation(s.back) - first; unanswered() == 0 || grown < 1 {
		t.Errorf("%d operations without an answer, the group's generation grew by %d: the faults did not hit", unanswered(), grown)
	}
}

// recorders are for products that stand as they are.
func (s *stage) recorders(t *testing.T, episode int) []*recorder {
	t.Helper()
	all := make([]*recorder, subjects)
	for n := range all {
		sku := products()[len(products())-1-(episode*subjects+n)%(len(products())/2)]
		a := ask(t.Context(), http.MethodGet, s.front.API()+"/api/aggregates/stock/"+url.PathEscape(sku), "")
		begin, found := state(a)
		if !found && a.status != http.StatusNotFound {
			t.Fatalf("%s: %d %s", sku, a.status, a.text)
		}
		all[n] = &recorder{sku: sku, begin: product{version: begin.version, onHand: begin.onHand}}
		all[n].known.Store(begin.version)
	}
	return all
}

// record lets clients go on until stop, which returns when they have.
func record(recorders []*recorder, seed uint64, name string, gateways ...*programtest.Process) (stop func(), unanswered func() int64) {
	var clients sync.WaitGroup
	var stopping atomic.Bool
	var missed atomic.Int64
	for c := range 4 * len(recorders) {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(c)))
			r := recorders[c%len(recorders)]
			for n := 0; !stopping.Load(); n++ {
				api := func() string { return gateways[random.IntN(len(gateways))].API() }
				if random.IntN(3) == 0 {
					r.read(context.Background(), c, api())
				} else if r.book(context.Background(), c, random, fmt.Sprintf("%s-%d-%d", name, c, n), api) {
					missed.Add(1)
				}
				wait(time.Duration(random.Int64N(int64(6 * clientPause))))
			}
		})
	}
	return func() {
		stopping.Store(true)
		clients.Wait()
	}, missed.Load
}

// close asks a gateway that did not take them what became of the open bookings, and
// reads once more. One that is not known after a later booking of the same partition
// has its outcome was never logged: it is no part of the history.
func (r *recorder) close(t *testing.T, api, key string) (found, never int) {
	t.Helper()
	last := booking{key: key, quantity: 1}
	call := tick()
	programtest.Eventually(t, "the outcome of "+key, func() bool {
		out, ok, fault := outcome(r.send(t.Context(), api, last))
		if fault != "" {
			t.Fatalf("%s: %s", key, fault)
		}
		if ok {
			r.add(0, last, out, call, tick())
		}
		return ok
	})
	var history []porcupine.Operation
	for _, op := range r.history {
		if op.Output.(answered).unknown {
			b := op.Input.(booking)
			out, logged := r.became(t, api, b)
			if !logged {
				never++
				continue
			}
			found++
			op.Output, op.Return = out, tick()
			r.known.Store(max(r.known.Load(), out.version))
		}
		history = append(history, op)
	}
	r.history = history
	r.read(t.Context(), 0, api)
	return found, never
}

// became is the outcome of a booking, if it was ever logged.
func (r *recorder) became(t *testing.T, api string, b booking) (out answered, logged bool) {
	t.Helper()
	programtest.Eventually(t, "what became of "+b.key, func() bool {
		a := ask(t.Context(), http.MethodGet, api+"/api/commands/"+b.key, "")
		var fault string
		if out, logged, fault = outcome(a); fault != "" && a.status != http.StatusNotFound {
			t.Fatalf("the outcome of %s: %s", b.key, fault)
		}
		return logged || a.status == http.StatusNotFound
	})
	return out, logged
}

// corrupted demands that the judge finds a fault in what it has just accepted.
func (r *recorder) corrupted(t *testing.T) {
	t.Helper()
	bad := append([]porcupine.Operation(nil), r.history...)
	if !corruptions["a read that lost a booking"](bad) {
		t.Fatalf("nobody has read %s", r.sku)
	}
	if got := linearizable(r.begin, bad); got != porcupine.Illegal {
		t.Errorf("a read that lost a booking is judged %s", got)
	}
}
