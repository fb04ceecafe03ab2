package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/nexusblueprint/nexus/internal/systemtest"
	"github.com/nexusblueprint/nexus/shop"
)

// whole is a running system behind its HTTP side.
type whole struct {
	t   *testing.T
	api string
}

type reply struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (w *whole) do(method, path, body string, headers ...string) (reply, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, w.api+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	r := reply{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if err == nil && strings.HasSuffix(res.Header.Get("Content-Type"), "json") && !strings.HasSuffix(res.Header.Get("Content-Type"), "ndjson") {
		err = json.Unmarshal(raw, &r.body)
	}
	return r, err
}

// must is do for the test's own goroutine.
func (w *whole) must(status int, method, path, body string, headers ...string) reply {
	w.t.Helper()
	r, err := w.do(method, path, body, headers...)
	if err != nil || r.status != status {
		w.t.Fatalf("%s %s: status %d, want %d: %v: %s", method, path, r.status, status, err, r.raw)
	}
	return r
}

func order(id string) string {
	return fmt.Sprintf(`{"orderId":%q,"customerId":"17850","country":"EIRE","placedAt":"2010-12-01T08:26:00Z",`+
		`"lines":[{"sku":"85123A","description":"HEART","quantity":1,"unitPrice":"2.55"}]}`, id)
}

// The gateway over the real emitter, views, processors, sink and stores.
func TestWhole(t *testing.T) {
	w := &whole{t: t, api: systemtest.Start(t, shop.Topology(), t.TempDir()).API}
	t.Run("a query with a write's position shows the write", func(t *testing.T) { readYourWrites(t, w) })
	t.Run("one command id is one command", func(t *testing.T) { oneCommand(t, w) })
	t.Run("preconditions", func(t *testing.T) { preconditions(t, w) })
	t.Run("a batch is answered in order", func(t *testing.T) { batch(t, w) })
}

func readYourWrites(t *testing.T, w *whole) { //nolint:thelper // a test of its own: its lines tell where it failed
	const clients, writes = 4, 10
	var parties sync.WaitGroup
	for client := range clients {
		parties.Go(func() {
			for n := range writes {
				id := fmt.Sprintf("ryw/%d/%d", client, n)
				placed, err := w.do(http.MethodPost, "/api/commands/PlaceOrder", order(id))
				if err != nil || placed.status != 201 {
					t.Errorf("placing %s: %d %v %s", id, placed.status, err, placed.raw)
					return
				}
				position := url.QueryEscape(placed.body["position"].(string))
				shown, err := w.do(http.MethodGet, "/api/queries/orders/"+url.PathEscape(id)+"?wait=30s&position="+position, "")
				if err != nil || shown.status != 200 || shown.body["orderId"] != id {
					t.Errorf("reading %s: %d %v %s", id, shown.status, err, shown.raw)
				}
				state, err := w.do(http.MethodGet, "/api/aggregates/order/"+url.PathEscape(id)+"?wait=30s&minVersion=1", "")
				if err != nil || state.status != 200 || state.body["id"] != id {
					t.Errorf("state of %s: %d %v %s", id, state.status, err, state.raw)
				}
			}
		})
	}
	parties.Wait()
	all := w.must(200, http.MethodGet, "/api/queries/orders?filter[country]=EIRE&sort=-placedAt,orderId&limit=1", "")
	if all.body["total"] != float64(clients*writes) {
		t.Errorf("%v orders, want %d", all.body["total"], clients*writes)
	}
}

func oneCommand(t *testing.T, w *whole) { //nolint:thelper // a test of its own: its lines tell where it failed
	const same = 8
	answers := make(chan reply, same)
	var parties sync.WaitGroup
	for range same {
		parties.Go(func() {
			r, err := w.do(http.MethodPost, "/api/commands/PlaceOrder", order("once"), "Idempotency-Key", "once")
			if err != nil {
				t.Error(err)
			}
			answers <- r
		})
	}
	parties.Wait()
	close(answers)
	fresh := 0
	for r := range answers {
		if r.status != 201 || r.body["version"] != float64(1) {
			t.Errorf("%d %s", r.status, r.raw)
		}
		if r.header.Get("Idempotency-Replayed") != "true" {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d answers are not replayed, want 1", fresh)
	}
	if again := w.must(201, http.MethodPost, "/api/commands/PlaceOrder", order("once"), "Idempotency-Key", "once"); again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("the repetition is not marked")
	}
	if r := w.must(409, http.MethodPost, "/api/commands/PlaceOrder", order("other"), "Idempotency-Key", "once"); r.body["code"] != "command-id-reused" {
		t.Errorf("body %s", r.raw)
	}
	if r := w.must(200, http.MethodGet, "/api/commands/once", ""); r.body["status"] != float64(201) || r.body["aggregateId"] != "once" {
		t.Errorf("body %s", r.raw)
	}
	w.must(404, http.MethodGet, "/api/commands/never", "")
	events := w.must(200, http.MethodGet, "/api/aggregates/order/once/events", "")
	if items := events.body["items"].([]any); len(items) != 1 || items[0].(map[string]any)["commandId"] != "once" {
		t.Errorf("events %s", events.raw)
	}
}

func preconditions(t *testing.T, w *whole) { //nolint:thelper // a test of its own: its lines tell where it failed
	w.must(201, http.MethodPost, "/api/commands/PlaceOrder", order("pre"), "If-None-Match", "*")
	conflict := w.must(412, http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"pre"}`, "If-Match", `"7"`)
	if conflict.body["code"] != "version-conflict" || conflict.body["version"] != float64(1) {
		t.Errorf("body %s", conflict.raw)
	}
	if r := w.must(201, http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"pre"}`, "If-Match", `"1"`); r.header.Get("ETag") != `"2"` {
		t.Errorf("ETag %s", r.header.Get("ETag"))
	}
	if r := w.must(422, http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"pre"}`); r.body["code"] != "order-already-cancelled" {
		t.Errorf("body %s", r.raw)
	}
}

func batch(t *testing.T, w *whole) { //nolint:thelper // a test of its own: its lines tell where it failed
	const n = 300
	var lines strings.Builder
	for i := range n {
		if i%50 == 7 {
			lines.WriteString("{not a command}\n")
			continue
		}
		fmt.Fprintf(&lines, `{"type":"PlaceOrder","id":"batch-%d","command":%s}`+"\n", i, order(fmt.Sprintf("batch-%d", i)))
	}
	for round := range 2 { // the second one gets the answers of the first
		r := w.must(200, http.MethodPost, "/api/commands", lines.String(), "Content-Type", "application/x-ndjson")
		in := bufio.NewScanner(strings.NewReader(r.raw))
		i := 0
		for ; in.Scan(); i++ {
			var a struct {
				Line, Status, Version int
				AggregateID           string `json:"aggregateId"`
				Position              string
			}
			if err := json.Unmarshal(in.Bytes(), &a); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("batch-%d", i)
			switch {
			case a.Line != i+1:
				t.Fatalf("round %d: answer %d is of line %d", round, i+1, a.Line)
			case i%50 == 7 && a.Status != 400:
				t.Errorf("round %d: bad line: %s", round, in.Text())
			case i%50 != 7 && (a.Status != 201 || a.Version != 1 || a.AggregateID != want || a.Position == ""):
				t.Errorf("round %d: %s", round, in.Text())
			}
		}
		if i != n {
			t.Errorf("round %d: %d answers, want %d", round, i, n)
		}
	}
}
