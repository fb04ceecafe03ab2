package gateway

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	placeOrder = `{"orderId":"536365","customerId":"17850","country":"United Kingdom","placedAt":"2010-12-01T08:26:00Z",` +
		`"lines":[{"sku":"85123A","description":"WHITE HANGING HEART T-LIGHT HOLDER","quantity":6,"unitPrice":"2.55"}]}`
	placePath = "/api/commands/PlaceOrder"
)

// orderBody is a PlaceOrder body of another order.
func orderBody(id string) string { return strings.Replace(placeOrder, "536365", id, 1) }

func TestCommand_accepted(t *testing.T) {
	r := newRig(t)
	a := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k 1").is(201)
	a.has("ETag", `"1"`).has("Idempotency-Key", "k 1").has("Idempotency-Replayed", "").has("Content-Type", "application/json")
	a.says("commandId", "k 1", "type", "PlaceOrder", "aggregateType", "order", "aggregateId", "536365", "version", 1)
	if got := jsonObject(t, a.body)["position"]; got != fmt.Sprintf("shop.order.events/%d/0", partitionOf("536365", 8)) {
		t.Errorf("position %v", got)
	}
	events := jsonObject(t, a.body)["events"].([]any)
	if e := events[0].(map[string]any); len(events) != 1 || e["type"] != "OrderPlaced" || fmt.Sprint(e["version"]) != "1" || len(e["id"].(string)) != 36 {
		t.Errorf("events %v", events)
	}
}

func TestCommand_makes_an_id(t *testing.T) {
	r := newRig(t)
	a := r.do(http.MethodPost, placePath, placeOrder).is(201)
	id := a.header.Get("Idempotency-Key")
	if len(id) != 36 || id[14] != '7' || strings.IndexByte("89ab", id[19]) < 0 {
		t.Errorf("id %q is no UUIDv7", id)
	}
	if !strings.HasPrefix(id, "019ca945-0a00-7") { // 2026-03-01T12:00:00Z in milliseconds
		t.Errorf("id %q does not carry the clock's time", id)
	}
	a.says("commandId", id)
	if other := r.do(http.MethodPost, placePath, orderBody("536366")).is(201).header.Get("Idempotency-Key"); other == id {
		t.Errorf("id %q made twice", id)
	}
}

func TestCommand_rejected(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodPost, placePath, placeOrder).is(201)
	a := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "again").is(422)
	a.has("Content-Type", "application/problem+json").has("ETag", "")
	a.says("code", "order-already-placed", "status", 422, "type", "urn:nexus:problem:rejected", "commandId", "again", "aggregateId", "536365", "version", 1)
}

func TestCommand_preconditions(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		placed  bool
		status  int
		code    string
	}{
		{"exact, as it stands", []string{"If-Match", `"1"`}, true, 201, ""},
		{"exact, another", []string{"If-Match", `"7"`}, true, 412, "version-conflict"},
		{"exists, and does", []string{"If-Match", "*"}, true, 201, ""},
		{"exists, but does not", []string{"If-Match", "*"}, false, 412, "version-conflict"},
		{"absent, but exists", []string{"If-None-Match", "*"}, true, 412, "version-conflict"},
		{"not in quotes", []string{"If-Match", "7"}, true, 400, "invalid-precondition"},
		{"weak", []string{"If-Match", `W/"7"`}, true, 400, "invalid-precondition"},
		{"a list", []string{"If-Match", `"6", "7"`}, true, 400, "invalid-precondition"},
		{"negative", []string{"If-Match", `"-1"`}, true, 400, "invalid-precondition"},
		{"leading zero", []string{"If-Match", `"07"`}, true, 400, "invalid-precondition"},
		{"beyond 64 bits", []string{"If-Match", `"9223372036854775808"`}, true, 400, "invalid-precondition"},
		{"none of a version", []string{"If-None-Match", `"7"`}, true, 400, "invalid-precondition"},
		{"contradictory", []string{"If-Match", `*`, "If-None-Match", "*"}, true, 400, "invalid-precondition"},
		{"twice", []string{"If-Match", `"1"`, "If-Match", `"1"`}, true, 400, "invalid-precondition"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			if c.placed {
				r.do(http.MethodPost, placePath, placeOrder).is(201)
			}
			sent := r.commandsSent()
			a := r.do(http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"536365","reason":null}`, c.headers...).is(c.status)
			if c.status == 201 {
				return
			}
			a.says("code", c.code)
			if c.status == 412 && c.placed {
				a.says("version", 1)
			}
			if c.status == 400 && r.commandsSent() != sent {
				t.Error("the command was sent")
			}
		})
	}
}

func TestCommand_idempotency_key(t *testing.T) {
	r := newRig(t)
	for name, key := range map[string]string{
		"empty": "", "too long": strings.Repeat("k", 129), "control character": "a\x01b", "tab": "a\tb", "not ASCII": "ключ", "DEL": "a\x7f",
	} {
		a := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", key)
		if a.status != 400 {
			t.Errorf("%s: status %d", name, a.status)
			continue
		}
		a.says("code", "invalid-idempotency-key")
	}
	r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "a", "Idempotency-Key", "b").is(400).says("code", "invalid-idempotency-key")
	if n := r.commandsSent(); n != 0 {
		t.Errorf("%d commands were sent", n)
	}
	r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", strings.Repeat("~", 128)).is(201)
}

func TestCommand_bad_bodies_send_nothing(t *testing.T) {
	replace := func(old, with string) string { return strings.Replace(placeOrder, old, with, 1) }
	for _, c := range []struct {
		name, body string
		faults     []string // one of them at least
	}{
		{"empty", " ", []string{" malformed-json"}},
		{"malformed", `{"orderId":`, []string{" malformed-json", "/orderId malformed-json"}},
		{"not an object", `[]`, []string{" wrong-type"}},
		{"two values", placeOrder + placeOrder, []string{" trailing-data"}},
		{"wrong type", replace(`"quantity":6`, `"quantity":"6"`), []string{"/lines/0/quantity wrong-type"}},
		{"fraction", replace(`"quantity":6`, `"quantity":6.5`), []string{"/lines/0/quantity wrong-type"}},
		{"missing field", `{"orderId":"1","customerId":null,"country":"X","placedAt":"2010-12-01T08:26:00Z"}`, []string{"/lines missing-field"}},
		{"unknown field", replace(`"country"`, `"colour":1,"country"`), []string{"/colour unknown-field"}},
		{"duplicate key", replace(`"country"`, `"orderId":"2","country"`), []string{"/orderId duplicate-key"}},
		{"invalid UTF-8", replace("United", "U\xffited"), []string{"/country invalid-utf8", " invalid-utf8"}},
		{"lone surrogate", replace("United", `\ud800`), []string{"/country invalid-utf8", " invalid-utf8"}},
		{"nested brackets", strings.Repeat("[", 100_000), []string{strings.Repeat("/0", 32) + " too-deep"}},
		{"nested brackets inside", replace(`"17850"`, strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)), []string{"/customerId" + strings.Repeat("/0", 31) + " too-deep"}},
		{"beyond 64 bits", replace(`"quantity":6`, `"quantity":99999999999999999999`), []string{"/lines/0/quantity out-of-range"}},
		{"beyond 32 bits", replace(`"quantity":6`, `"quantity":2147483648`), []string{"/lines/0/quantity out-of-range"}},
		{"money beyond 64 bits", replace(`"2.55"`, `"99999999999999999999.00"`), []string{"/lines/0/unitPrice out-of-range"}},
		{"five decimals", replace(`"2.55"`, `"2.55123"`), []string{"/lines/0/unitPrice too-many-decimals"}},
		{"money as a number", replace(`"2.55"`, `2.55`), []string{"/lines/0/unitPrice wrong-type"}},
		{"bad time", replace(`2010-12-01T08:26:00Z`, `yesterday`), []string{"/placedAt not-a-timestamp"}},
		{"negative quantity", replace(`"quantity":6`, `"quantity":-6`), []string{"/lines/0/quantity not-positive"}},
		{"zero quantity", replace(`"quantity":6`, `"quantity":0`), []string{"/lines/0/quantity not-positive"}},
		{"no lines", replace(placeOrder[strings.Index(placeOrder, `"lines"`):], `"lines":[]}`), []string{"/lines empty", "/lines no-lines", "/lines not-empty"}}, //nolint:gocritic // the order has lines
		{"id with a control character", replace("536365", `5\u000036`), []string{" id-control-character", "/orderId id-control-character"}},
		{"id of 10,000 characters", replace("536365", strings.Repeat("5", 10_000)), []string{"/orderId too-long"}},
		{"empty id", replace("536365", ""), []string{"/orderId id-empty"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			a := r.do(http.MethodPost, placePath, c.body, "Idempotency-Key", "k").is(400)
			a.says("code", "invalid-command", "commandId", "k").has("Idempotency-Key", "k")
			found := a.faults()
			if !slices.ContainsFunc(c.faults, func(want string) bool { return slices.Contains(found, want) }) {
				t.Errorf("faults %q, want one of %q", found, c.faults)
			}
			if n := r.commandsSent(); n != 0 {
				t.Errorf("%d commands were sent", n)
			}
		})
	}
}

func TestCommand_lists_all_faults_at_once(t *testing.T) {
	r := newRig(t)
	body := strings.NewReplacer(`"quantity":6`, `"quantity":"6"`, `"2.55"`, `"2.5555"`, `"country"`, `"colour"`).Replace(placeOrder)
	got := r.do(http.MethodPost, placePath, body).is(400).faults()
	want := []string{"/colour unknown-field", "/lines/0/quantity wrong-type", "/lines/0/unitPrice too-many-decimals", "/country missing-field"}
	if !slices.Equal(got, want) {
		t.Errorf("faults %q, want %q", got, want)
	}
}

func TestCommand_wrong_requests(t *testing.T) {
	for _, c := range []struct {
		name, path, body string
		headers          []string
		status           int
		code             string
	}{
		{"unknown type", "/api/commands/PlaceOrders", placeOrder, nil, 404, "unknown-command"},
		{"full name", "/api/commands/shop.order.PlaceOrder", placeOrder, nil, 404, "unknown-command"},
		{"an event's name", "/api/commands/OrderPlaced", placeOrder, nil, 404, "unknown-command"},
		{"no media type", placePath, placeOrder, []string{"Content-Type", ""}, 415, "unsupported-media-type"},
		{"form", placePath, placeOrder, []string{"Content-Type", "text/plain"}, 415, "unsupported-media-type"},
		{"other charset", placePath, placeOrder, []string{"Content-Type", "application/json; charset=latin1"}, 415, "unsupported-media-type"},
		{"compressed", placePath, placeOrder, []string{"Content-Encoding", "gzip"}, 415, "unsupported-media-type"},
		{"too large", placePath, `{"x":"` + strings.Repeat("a", 1<<20) + `"}`, nil, 413, "body-too-large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.do(http.MethodPost, c.path, c.body, c.headers...).is(c.status).says("code", c.code, "status", c.status)
			if n := r.commandsSent(); n != 0 {
				t.Errorf("%d commands were sent", n)
			}
		})
	}
}

func TestCommand_too_large_without_announced_length(t *testing.T) {
	r := newRig(t)
	req := request(http.MethodPost, placePath, `{"x":"`+strings.Repeat("a", 1<<20)+`"}`)
	req.ContentLength = -1
	r.send(req).is(413).says("code", "body-too-large")
}

func TestCommand_takes_a_charset(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodPost, placePath, placeOrder, "Content-Type", "application/json; charset=UTF-8").is(201)
}

func TestCommand_with_a_body_that_does_not_arrive(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{os.ErrDeadlineExceeded, 408, "request-timeout"},
		{io.ErrUnexpectedEOF, 400, "invalid-command"},
	} {
		req := request(http.MethodPost, placePath, placeOrder)
		req.Body = io.NopCloser(io.MultiReader(strings.NewReader(placeOrder[:20]), iotest.ErrReader(c.err)))
		r.send(req).is(c.status).says("code", c.code)
	}
	req := request(http.MethodPost, batchPath, "x")
	req.Body = io.NopCloser(io.MultiReader(strings.NewReader(place("1")+"\n"), iotest.ErrReader(os.ErrDeadlineExceeded)))
	answers := r.lines(r.send(req).is(200))
	answers[0].is(201)
	answers[1].is(408).says("line", 2, "code", "request-timeout")
	if n := r.commandsSent(); n != 1 {
		t.Errorf("%d commands were sent, want 1", n)
	}
}
