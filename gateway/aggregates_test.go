package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/views"
)

func TestAggregate_state(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodPost, placePath, placeOrder).is(201)
	want := `{"type":"order","id":"536365","version":1,"at":"2026-03-01T12:00:00Z","state":{"status":"PLACED","customerId":"17850","country":"United Kingdom",` +
		`"placedAt":"2010-12-01T08:26:00Z","lines":[{"sku":"85123A","description":"WHITE HANGING HEART T-LIGHT HOLDER","quantity":6,"unitPrice":"2.55"}]}}` + "\n"
	if a := r.do(http.MethodGet, "/api/aggregates/order/536365", "").is(200).has("ETag", `"1"`); a.body != want {
		t.Errorf("got  %swant %s", a.body, want)
	}
	for tags, status := range map[string]int{`"1"`: 304, `W/"1"`: 304, `"0", "1"`: 304, "*": 304, `"2"`: 200, "1": 200} {
		a := r.do(http.MethodGet, "/api/aggregates/order/536365", "", "If-None-Match", tags).is(status).has("ETag", `"1"`)
		if status == 304 && a.body != "" {
			t.Errorf("body of a 304: %s", a.body)
		}
	}
}

func TestAggregate_not_there(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodPost, placePath, placeOrder).is(201)
	for _, path := range []string{"/api/aggregates/order/1", "/api/aggregates/stock/536365", "/api/aggregates/order/1/events"} {
		r.do(http.MethodGet, path, "").is(404).says("code", "unknown-aggregate")
	}
	for _, path := range []string{"/api/aggregates/orders/536365", "/api/aggregates/Order/536365", "/api/aggregates/orders/536365/events"} {
		r.do(http.MethodGet, path, "").is(404).says("code", "unknown-aggregate-type")
	}
	for _, path := range []string{"/api/aggregates/order/%01", "/api/aggregates/order/" + strings.Repeat("x", 257), "/api/aggregates/order/%00/events"} {
		r.do(http.MethodGet, path, "").is(400).says("code", "invalid-id")
	}
}

func TestAggregate_waits_for_a_version(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodPost, placePath, placeOrder).is(201)
	const path = "/api/aggregates/order/536365?minVersion="
	r.do(http.MethodGet, path+"1", "").is(200)
	r.do(http.MethodGet, path+"2&wait=5ms", "").is(503).says("code", "behind").has("Retry-After", "1")
	r.do(http.MethodGet, "/api/aggregates/order/none?minVersion=1&wait=5ms", "").is(503)
	done := make(chan int, 1)
	go func() { done <- r.do(http.MethodGet, path+"2", "").status }()
	eventually(t, "the query waits", func() bool { return r.queries.inside() == 1 })
	r.do(http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"536365"}`).is(201)
	if status := <-done; status != 200 {
		t.Errorf("status %d, want 200", status)
	}
	for _, bad := range []string{"minVersion=0", "minVersion=x", "minVersion=1&minVersion=1", "version=1", "at=2011-01-01T00:00:00Z", "wait=1"} {
		r.do(http.MethodGet, "/api/aggregates/order/536365?"+bad, "").is(400).says("code", "invalid-parameter")
	}
	r.change(func() { r.viewErr = ports.ErrCatchingUp })
	r.do(http.MethodGet, path+"1", "").is(503).says("code", "behind")
	r.change(func() { r.viewErr = views.ErrUnavailable })
	r.do(http.MethodGet, path+"1", "").is(503).says("code", "unavailable")
}

func TestAggregate_events(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(201)
	r.do(http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"536365","reason":"why"}`).is(201)
	const path = "/api/aggregates/order/536365/events"
	a := r.do(http.MethodGet, path, "").is(200).says("next", nil)
	items := jsonObject(t, a.body)["items"].([]any)
	if len(items) != 2 {
		t.Fatalf("%d events, want 2", len(items))
	}
	first := items[0].(map[string]any)
	for name, want := range map[string]string{"type": "OrderPlaced", "version": "1", "at": "2026-03-01T12:00:00Z", "commandId": "k", "correlationId": "k", "causationId": "k", "actor": ""} {
		if got := fmt.Sprint(first[name]); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if data := first["data"].(map[string]any); data["orderId"] != "536365" || len(data["lines"].([]any)) != 1 {
		t.Errorf("data %v", data)
	}
	if data := items[1].(map[string]any)["data"].(map[string]any); data["reason"] != "why" {
		t.Errorf("data %v", data)
	}
	page := r.do(http.MethodGet, path+"?limit=1", "").is(200).says("next", 2)
	if n := len(jsonObject(t, page.body)["items"].([]any)); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	r.do(http.MethodGet, path+"?limit=1&from=2", "").is(200).says("next", nil)
	if a := r.do(http.MethodGet, path+"?from=3", "").is(200); a.body != `{"items":[],"next":null}`+"\n" {
		t.Errorf("body %s", a.body)
	}
	for _, bad := range []string{"limit=0", "limit=1001", "from=0", "from=x", "wait=1s"} {
		r.do(http.MethodGet, path+"?"+bad, "").is(400).says("code", "invalid-parameter")
	}
	r.change(func() { r.viewErr = ports.ErrCatchingUp })
	r.do(http.MethodGet, path, "").is(503).says("code", "behind")
}

func TestAggregate_id_with_any_character(t *testing.T) {
	r := newRig(t)
	for _, id := range []string{"a/b", "50%", "a b+c", "ключ", "a?b#c", "../x", `"quoted"`} {
		_, rest, _ := strings.Cut(placeOrder, `,"customerId"`)
		body := `{"orderId":` + string(appendText(nil, id)) + `,"customerId"` + rest
		r.do(http.MethodPost, placePath, body).is(201).says("aggregateId", id)
		r.do(http.MethodGet, "/api/aggregates/order/"+percent(id), "").is(200).says("id", id)
		r.do(http.MethodGet, "/api/aggregates/order/"+percent(id)+"/events", "").is(200)
	}
}

// percent encodes every byte, as a client may.
func percent(id string) string {
	var b strings.Builder
	for i := range len(id) {
		fmt.Fprintf(&b, "%%%02X", id[i])
	}
	return b.String()
}
