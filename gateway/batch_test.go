package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nexusblueprint/nexus/ports"
)

const batchPath = "/api/commands"

// place is a batch line that places an order.
func place(id string) string { return `{"type":"PlaceOrder","command":` + orderBody(id) + `}` }

// batch sends lines and returns the answers, line by line.
func (r *rig) batch(lines ...string) []answered {
	r.t.Helper()
	return r.lines(r.do(http.MethodPost, batchPath, strings.Join(lines, "\n"), "Content-Type", "application/x-ndjson").is(200))
}

func (r *rig) lines(a answered) (answers []answered) {
	r.t.Helper()
	a.has("Content-Type", "application/x-ndjson")
	for _, line := range strings.SplitAfter(a.body, "\n") {
		if line == "" {
			continue
		}
		if !strings.HasSuffix(line, "\n") {
			r.t.Fatalf("an answer without its end: %q", line)
		}
		status, err := strconv.Atoi(fmt.Sprint(jsonObject(r.t, line)["status"]))
		if err != nil {
			r.t.Fatalf("an answer without status: %s", line)
		}
		answers = append(answers, answered{t: r.t, status: status, body: line})
	}
	return answers
}

func TestBatch_answers_in_order(t *testing.T) {
	r := newRig(t)
	answers := r.batch(
		place("1"),
		"",
		`{"command":{"orderId":"1","reason":"why"},"id":"k2","expectedVersion":1,"type":"CancelOrder"}`+"\r",
		"  \t ",
		`{"type":"CancelOrder","id":"k3","command":{"orderId":"1"}}`,
		place("2"),
	)
	if len(answers) != 4 {
		t.Fatalf("%d answers, want 4", len(answers))
	}
	one := answers[0].is(201).says("line", 1, "type", "PlaceOrder", "aggregateType", "order", "aggregateId", "1", "version", 1)
	if !strings.HasPrefix(fmt.Sprint(jsonObject(t, one.body)["position"]), "shop.order.events/") {
		t.Errorf("no position: %s", one.body)
	}
	answers[1].is(201).says("line", 3, "commandId", "k2", "version", 2)
	answers[2].is(422).says("line", 5, "commandId", "k3", "code", "order-already-cancelled", "version", 2, "type", "urn:nexus:problem:rejected")
	answers[3].is(201).says("line", 6, "aggregateId", "2")
}

func TestBatch_bad_lines_fail_alone(t *testing.T) {
	good := place("9")
	for _, c := range []struct {
		name, line string
		status     int
		code       string
		fault      string
	}{
		{"no JSON", `{"type":`, 400, "invalid-batch-line", " malformed-json"},
		{"no object", `[1]`, 400, "invalid-batch-line", " wrong-type"},
		{"two values", good + good, 400, "invalid-batch-line", " trailing-data"},
		{"unknown member", `{"type":"PlaceOrder","priority":1,"command":{}}`, 400, "invalid-batch-line", "/priority unknown-field"},
		{"member twice", `{"type":"PlaceOrder","type":"PlaceOrder","command":{}}`, 400, "invalid-batch-line", "/type duplicate-key"},
		{"no type", `{"command":{}}`, 400, "invalid-batch-line", "/type missing-field"},
		{"no command", `{"type":"PlaceOrder"}`, 400, "invalid-batch-line", "/command missing-field"},
		{"command of another kind", `{"type":"PlaceOrder","command":[]}`, 400, "invalid-batch-line", "/command wrong-type"},
		{"type of another kind", `{"type":1,"command":{}}`, 400, "invalid-batch-line", "/type wrong-type"},
		{"unknown type", `{"type":"Nonsense","id":"k","command":{}}`, 404, "unknown-command", ""},
		{"bad id", `{"type":"PlaceOrder","id":"a\u0001","command":{}}`, 400, "invalid-batch-line", "/id id-not-printable"},
		{"empty id", `{"type":"PlaceOrder","id":"","command":{}}`, 400, "invalid-batch-line", "/id id-empty"},
		{"negative version", `{"type":"PlaceOrder","expectedVersion":-1,"command":{}}`, 400, "invalid-batch-line", "/expectedVersion wrong-type"},
		{"version in quotes", `{"type":"PlaceOrder","expectedVersion":"1","command":{}}`, 400, "invalid-batch-line", "/expectedVersion wrong-type"},
		{"version beyond 64 bits", `{"type":"PlaceOrder","expectedVersion":9223372036854775808,"command":{}}`, 400, "invalid-batch-line", "/expectedVersion wrong-type"},
		{"invalid command", strings.Replace(good, `"quantity":6`, `"quantity":0`, 1), 400, "invalid-command", "/lines/0/quantity not-positive"},
		{"duplicate key in the command", strings.Replace(good, `"country"`, `"orderId":"x","country"`, 1), 400, "invalid-command", "/orderId duplicate-key"},
		{"invalid UTF-8 in the command", strings.Replace(good, "United", "U\xffited", 1), 400, "invalid-command", "/country invalid-utf8"},
		{"invalid UTF-8 in the type", "{\"type\":\"Place\xffOrder\",\"command\":{}}", 404, "unknown-command", ""},
		{"deep", `{"type":"PlaceOrder","command":` + strings.Repeat("[", 100_000) + `}`, 400, "invalid-batch-line", " malformed-json"},
		{"too long", `{"type":"PlaceOrder","command":{"orderId":"` + strings.Repeat("x", 2<<20) + `"}}`, 413, "body-too-large", ""},
		{"another version", `{"type":"CancelOrder","expectedVersion":7,"command":{"orderId":"1"}}`, 412, "version-conflict", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			answers := r.batch(place("1"), c.line, place("2"))
			if len(answers) != 3 {
				t.Fatalf("%d answers, want 3", len(answers))
			}
			answers[0].is(201).says("line", 1)
			answers[2].is(201).says("line", 3)
			bad := answers[1].is(c.status).says("line", 2, "code", c.code)
			if got := bad.faults(); c.fault != "" && (len(got) == 0 || got[0] != c.fault) {
				t.Errorf("faults %q, want %q first", got, c.fault)
			}
		})
	}
}

func TestBatch_repeated_ids(t *testing.T) {
	r := newRig(t)
	line := func(id, order string) string {
		return `{"type":"PlaceOrder","id":"` + id + `","command":` + orderBody(order) + `}`
	}
	answers := r.batch(line("k", "1"), line("k", "1"), line("k", "2"), line("other", "3"))
	answers[0].is(201).says("version", 1)
	answers[1].is(201).says("version", 1, "aggregateId", "1")
	answers[2].is(409).says("code", "command-id-reused", "commandId", "k")
	answers[3].is(201)
	if n := r.commandsSent(); n != 2 {
		t.Errorf("%d commands were sent, want 2", n)
	}
	again := r.batch(line("k", "1"), line("k", "2"))
	again[0].is(201)
	again[1].is(409)
	if n := r.commandsSent(); n != 2 {
		t.Errorf("%d commands were sent after the repetition, want 2", n)
	}
}

func TestBatch_sends_ahead_of_outcomes(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.hold = true })
	const n = 500
	var lines []string
	for i := range n {
		lines = append(lines, place(strconv.Itoa(i)))
	}
	done := make(chan []answered, 1)
	go func() {
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, request(http.MethodPost, batchPath, strings.Join(lines, "\n")))
		done <- r.lines(answered{t: t, status: rec.Code, header: rec.Header(), body: rec.Body.String()})
	}()
	eventually(t, "all commands are sent", func() bool { return r.commandsSent() == n })
	r.release()
	answers := <-done
	for i, a := range answers {
		a.is(201).says("line", i+1, "aggregateId", strconv.Itoa(i))
	}
	if len(answers) != n {
		t.Errorf("%d answers, want %d", len(answers), n)
	}
	r.clean()
}

func TestBatch_without_outcomes_in_time(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.lost = true })
	a := r.do(http.MethodPost, batchPath, `{"type":"PlaceOrder","id":"k","command":`+placeOrder+`}`, "Prefer", "wait=0").is(200)
	r.lines(a)[0].is(202).says("line", 1, "commandId", "k", "type", "PlaceOrder", "aggregateId", "536365")
	r.do(http.MethodGet, "/api/commands/k", "").is(202)
}

func TestBatch_without_positions(t *testing.T) {
	r := newRig(t)
	r.positions = noPositions{r.world}
	r.batch(place("1"))[0].is(202).says("line", 1, "aggregateId", "1")
	r.batch(place("1"))[0].is(422) // no answer of a rejection needs one
}

func TestBatch_that_cannot_be_sent(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.sendErr = ports.ErrBusUnavailable })
	for i, a := range r.batch(place("1"), place("2")) {
		a.is(503).says("code", "unavailable", "line", i+1)
	}
	r.lots = newGate(0)
	a := r.do(http.MethodPost, batchPath, place("3"), "Prefer", "wait=0").is(200)
	r.lines(a)[0].is(429).says("code", "overloaded")
	r.batches = newGate(0)
	r.do(http.MethodPost, batchPath, place("3")).is(429).says("code", "overloaded").has("Retry-After", "1")
}

func TestBatch_bounds(t *testing.T) {
	t.Run("lines", func(t *testing.T) {
		r := newRig(t)
		answers := r.batch(strings.Repeat("{}\n", batchLinesMax+5))
		if len(answers) != batchLinesMax+1 {
			t.Fatalf("%d answers, want %d", len(answers), batchLinesMax+1)
		}
		answers[batchLinesMax-1].is(400)
		answers[batchLinesMax].is(413).says("code", "batch-too-large", "line", batchLinesMax+1)
	})
	t.Run("bytes", func(t *testing.T) {
		lines := newLineReader(strings.NewReader("12345\n12345\n12345\n"), 100, 13)
		for i := range 2 {
			if line, err := lines.next(); err != nil || string(line) != "12345" {
				t.Fatalf("line %d: %q, %v", i+1, line, err)
			}
		}
		if _, err := lines.next(); !errors.Is(err, errBodyTooLong) {
			t.Fatalf("%v, want errBodyTooLong", err)
		}
	})
	t.Run("media type", func(t *testing.T) {
		r := newRig(t)
		r.do(http.MethodPost, batchPath, place("1"), "Content-Type", "text/plain").is(415).says("code", "unsupported-media-type")
		r.do(http.MethodPost, batchPath, place("1"), "Content-Type", "application/ndjson; charset=utf-8").is(200)
	})
	t.Run("nothing", func(t *testing.T) {
		r := newRig(t)
		if a := r.do(http.MethodPost, batchPath, "\n\n").is(200); a.body != "" {
			t.Errorf("body %q", a.body)
		}
	})
}

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for name, r := range map[string]io.Reader{
		"at once":  strings.NewReader("a\n\n b \r\n" + long + "\n" + long + long + "\nend"),
		"bytewise": iotest.OneByteReader(strings.NewReader("a\n\n b \r\n" + long + "\n" + long + long + "\nend")),
	} {
		t.Run(name, func(t *testing.T) {
			lines := newLineReader(r, 300_000, 1<<30)
			var got []string
			for {
				line, err := lines.next()
				if errors.Is(err, io.EOF) {
					break
				}
				if errors.Is(err, errLineTooLong) {
					line = []byte("too long")
				} else if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(line))
			}
			want := []string{"a", "", "b", long, "too long", "end"}
			if len(got) != len(want) {
				t.Fatalf("%d lines, want %d", len(got), len(want))
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("line %d has %d bytes, want %d", i+1, len(got[i]), len(want[i]))
				}
			}
		})
	}
}

// Over a real connection: answers come while the client still writes.
func TestBatch_streams_both_ways(t *testing.T) {
	r := newRig(t)
	server := httptest.NewServer(r)
	defer server.Close()
	body, write := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+batchPath, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	answers := make(chan *http.Response, 1)
	go func() {
		res, err := server.Client().Do(req)
		if err != nil {
			t.Error(err)
		}
		answers <- res
	}()
	send := func(id string) {
		if _, err := io.WriteString(write, place(id)+"\n"); err != nil {
			t.Error(err)
		}
	}
	send("1")
	res := <-answers
	if res == nil {
		t.FailNow()
	}
	defer res.Body.Close()
	in := bufio.NewScanner(res.Body)
	for i := 1; i <= 3; i++ {
		if !in.Scan() {
			t.Fatalf("answer %d never came: %v", i, in.Err())
		}
		answered{t: t, status: res.StatusCode, body: in.Text()}.says("line", i, "status", 201, "aggregateId", strconv.Itoa(i))
		if i < 3 {
			send(strconv.Itoa(i + 1))
		}
	}
	write.Close()
	if in.Scan() {
		t.Errorf("one answer too many: %s", in.Text())
	}
}

// A client that reads nothing before it has written everything is served, too.
func TestBatch_with_a_client_that_writes_first(t *testing.T) {
	r := newRig(t)
	server := httptest.NewServer(r)
	defer server.Close()
	conn := dial(t, server)
	var body strings.Builder
	for range batchLinesMax {
		body.WriteString(`{"type":"CancelOrder","command":{"orderId":"1"}}` + "\n")
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", batchPath, body.Len())
	if _, err := io.WriteString(conn, body.String()); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := 0
	for in := bufio.NewScanner(res.Body); in.Scan(); lines++ {
	}
	if lines != batchLinesMax {
		t.Errorf("%d answers, want %d", lines, batchLinesMax)
	}
}

// A client that leaves in the middle loses its answers, and nobody else anything.
func TestBatch_with_a_client_that_leaves(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.hold = true })
	server := httptest.NewServer(r)
	defer server.Close()
	conn := dial(t, server)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n%s\n", batchPath, place("1"))
	eventually(t, "the command is sent", func() bool { return r.commandsSent() == 1 })
	conn.Close()
	eventually(t, "the batch ends", func() bool { return r.batches.inside() == 0 })
	r.clean()
}

// A defect of the domain's own code fails its line and nothing else.
func TestBatch_with_a_validation_that_panics(t *testing.T) {
	r := newRig(t)
	broken := *r.kinds["PlaceOrder"]
	broken.aggregate.Aggregate = nil
	r.kinds["Broken"] = &broken
	answers := r.batch(place("1"), `{"type":"Broken","id":"k","command":`+placeOrder+`}`, place("2"))
	answers[0].is(201)
	answers[1].is(500).says("code", "internal", "commandId", "k", "line", 2)
	answers[2].is(201)
	if !strings.Contains(r.logged.String(), "judging a command panicked") {
		t.Error("the panic was not logged")
	}
}

// What a batch read ahead must not keep the permits that it waits for itself.
func TestBatch_larger_than_the_room_for_all(t *testing.T) {
	r := newRig(t)
	r.lots = newGate(3)
	var lines []string
	for i := range 50 {
		lines = append(lines, place(strconv.Itoa(i)))
	}
	for i, a := range r.batch(lines...) {
		a.is(201).says("line", i+1)
	}
	r.clean()
}
