package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/views"
)

func TestCommand_repeated_gets_its_first_answer(t *testing.T) {
	r := newRig(t)
	first := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(201).has("Idempotency-Replayed", "")
	r.do(http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"536365"}`).is(201)
	again := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(201).has("Idempotency-Replayed", "true").has("ETag", `"1"`)
	for _, member := range []string{"commandId", "version", "type", "aggregateId"} {
		again.says(member, jsonObject(t, first.body)[member])
	}
	if n := r.commandsSent(); n != 2 {
		t.Errorf("%d commands were sent, want 2", n)
	}
}

func TestCommand_repeated_rejection(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"1"}`, "Idempotency-Key", "k").is(422)
	r.do(http.MethodPost, placePath, orderBody("1")).is(201)
	r.do(http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"1"}`, "Idempotency-Key", "k").is(422).has("Idempotency-Replayed", "true").says("code", "order-not-placed")
}

func TestCommand_repeated_with_a_difference_is_refused(t *testing.T) {
	for name, send := range map[string]func(r *rig) answered{
		"another body": func(r *rig) answered {
			return r.do(http.MethodPost, placePath, strings.Replace(placeOrder, "2.55", "2.56", 1), "Idempotency-Key", "k")
		},
		"another type": func(r *rig) answered {
			return r.do(http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"536365"}`, "Idempotency-Key", "k")
		},
		"another expected version": func(r *rig) answered {
			return r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k", "If-Match", `"0"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(201)
			send(r).is(409).says("code", "command-id-reused", "commandId", "k").has("Idempotency-Replayed", "")
			if n := r.commandsSent(); n != 1 {
				t.Errorf("%d commands were sent, want 1", n)
			}
		})
	}
}

// A view that does not know the id yet leaves the decision to the processor,
// which answers with an outcome marked as repeated.
func TestCommand_repeated_before_the_view_knows(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(201)
	r.bus = forgetful{r.world}
	r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(201).has("Idempotency-Replayed", "true")
	r.do(http.MethodPost, placePath, strings.Replace(placeOrder, "2.55", "2.56", 1), "Idempotency-Key", "k").is(409).says("code", "command-id-reused").has("Idempotency-Replayed", "")
}

type noPositions struct{ *world }

func (noPositions) After(context.Context, []views.TopicPartition) (views.Position, error) {
	return nil, views.ErrUnavailable
}

func TestCommand_that_cannot_be_sent(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
		retry  string
	}{
		{ports.ErrOverloaded, 429, "overloaded", "1"},
		{ports.ErrBusUnavailable, 503, "unavailable", "2"},
		{ports.ErrBusClosed, 503, "unavailable", "2"},
		{fmt.Errorf("%w: %w", ports.ErrRefused, ports.ErrTooLarge), 413, "body-too-large", ""},
		{ports.ErrRefused, 500, "internal", ""},
		{ports.ErrInDoubt, 503, "outcome-unknown", "2"},
	} {
		t.Run(c.code, func(t *testing.T) {
			r := newRig(t)
			r.change(func() { r.sendErr = fmt.Errorf("sending: %w", c.err) })
			a := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k", "Prefer", "wait=1").is(c.status)
			a.says("code", c.code, "commandId", "k").has("Retry-After", c.retry).has("Idempotency-Key", "k")
			// Nothing stays behind: the next one with this id is sent again.
			r.change(func() { r.sendErr = nil })
			r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(201).has("Idempotency-Replayed", "")
		})
	}
}

// Whether the log has a command may become clear after all.
func TestCommand_in_doubt_and_answered(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.sendErr = ports.ErrInDoubt })
	done := make(chan answered, 1)
	go func() {
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, request(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k"))
		done <- answered{t: t, status: rec.Code, header: rec.Header(), body: rec.Body.String()}
	}()
	eventually(t, "the command is in doubt", func() bool { return strings.Contains(r.logged.String(), "may or may not") })
	r.deliver(&platform.Outcome{
		CommandID: "k", CommandType: "shop.order.PlaceOrder", AggregateType: "order", AggregateID: "536365", BodyHash: hashOf(t, r, placeOrder), Version: 1,
	})
	(<-done).is(200).says("version", 1)
}

type forgetful struct{ *world }

func (forgetful) Outcome(context.Context, string) (*platform.Outcome, bool, error) {
	return nil, false, nil
}

func TestCommand_concurrent_requests_with_one_id(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.hold = true })
	const same, other = 4, 2
	answers := make(chan answered, same+other)
	var parties sync.WaitGroup
	ask := func(body string) {
		parties.Go(func() {
			rec := httptest.NewRecorder()
			r.ServeHTTP(rec, request(http.MethodPost, placePath, body, "Idempotency-Key", "k"))
			answers <- answered{t: t, status: rec.Code, header: rec.Header(), body: rec.Body.String()}
		})
	}
	for range same {
		ask(placeOrder)
	}
	eventually(t, "all requests wait", func() bool { return r.singles.inside() == same })
	eventually(t, "all expect the outcome", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.waiting["k"]) == same
	})
	for range other {
		ask(strings.Replace(placeOrder, "2.55", "2.56", 1))
	}
	for range other {
		(<-answers).is(409).says("code", "command-id-reused")
	}
	r.release()
	parties.Wait()
	close(answers)
	replayed := 0
	for a := range answers {
		a.is(201).says("version", 1)
		if a.header.Get("Idempotency-Replayed") == "true" {
			replayed++
		}
	}
	if n := r.commandsSent(); n != 1 || replayed != same-1 {
		t.Errorf("%d commands were sent and %d answers replayed, want 1 and %d", n, replayed, same-1)
	}
	r.clean()
}

func TestCommand_without_outcome_in_time(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.hold = true })
	const id = "a/b %c"
	a := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", id, "Prefer", "respond-async, wait=0").is(202)
	a.has("Location", "/api/commands/a%2Fb%20%25c").has("Preference-Applied", "wait=0").has("ETag", "")
	a.says("commandId", id, "type", "PlaceOrder", "aggregateType", "order", "aggregateId", "536365")
	where := a.header.Get("Location")
	r.do(http.MethodGet, where, "").is(202).says("commandId", id, "status", 202)
	r.release()
	r.do(http.MethodGet, where, "").is(200).says("status", 201, "version", 1, "type", "PlaceOrder").has("ETag", `"1"`)
	r.clean()
}

func TestGetCommand(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodGet, "/api/commands/none", "").is(404).says("code", "unknown-command-id", "commandId", "none")
	r.do(http.MethodPost, "/api/commands/CancelOrder", `{"orderId":"1"}`, "Idempotency-Key", "no").is(422)
	r.do(http.MethodGet, "/api/commands/no", "").is(200).says("status", 422, "code", "order-not-placed", "commandId", "no")
	for _, bad := range []string{"a%01b", "%FF", strings.Repeat("k", 129)} {
		r.do(http.MethodGet, "/api/commands/"+bad, "").is(400).says("code", "invalid-id")
	}
}

func TestCommand_is_late_no_longer_than_outcomes_are_kept(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.lost = true })
	r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k", "Prefer", "wait=0").is(202)
	r.do(http.MethodGet, "/api/commands/k", "").is(202)
	r.now.Add(time.Hour.Milliseconds())
	r.do(http.MethodGet, "/api/commands/k", "").is(404)
}

func TestOverdue_is_bounded(t *testing.T) {
	f := newFlights()
	now := time.Unix(1_000_000, 0)
	for i := range overdueMax + 10 {
		f.late(string(rune('a'+i%26))+time.Duration(i).String(), now)
	}
	if len(f.overdue.since) != overdueMax || len(f.overdue.ring) != overdueMax {
		t.Errorf("%d ids in %d places, want %d", len(f.overdue.since), len(f.overdue.ring), overdueMax)
	}
	if f.pending("a0s", now) || !f.pending("k"+time.Duration(10).String(), now) {
		t.Error("the oldest must be forgotten first")
	}
}

// Each outcome the platform gives instead of the domain.
func TestCommand_refusals(t *testing.T) {
	for _, c := range []struct {
		kind   platform.OutcomeKind
		code   string
		status int
		want   string
	}{
		{platform.OutcomeKindRefused, "version-conflict", 412, "version-conflict"},
		{platform.OutcomeKindRefused, "command-id-reused", 409, "command-id-reused"},
		{platform.OutcomeKindRefused, "stale-command", 409, "stale-command"},
		{platform.OutcomeKindRefused, "state-too-large", 422, "state-too-large"},
		{platform.OutcomeKindRefused, "invalid-command", 400, "invalid-command"},
		{platform.OutcomeKindRefused, "of-a-newer-release", 422, "of-a-newer-release"},
		{platform.OutcomeKindDead, "dead-letter", 500, "dead-letter"},
	} {
		t.Run(c.code, func(t *testing.T) {
			r := newRig(t)
			out := &platform.Outcome{
				CommandID: "k", Kind: c.kind, Code: c.code, Detail: "because", Version: 3,
				AggregateType: "order", AggregateID: "536365", CommandType: "shop.order.PlaceOrder",
				Faults: []platform.OutcomeFault{{Pointer: "/lines/0", Code: "x", Detail: "y"}},
			}
			out.BodyHash = hashOf(t, r, placeOrder)
			r.first["k"] = out
			a := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(c.status)
			a.says("code", c.want, "version", 3, "aggregateId", "536365", "commandId", "k", "detail", "because")
			if got := a.faults(); len(got) != 1 || got[0] != "/lines/0 x" {
				t.Errorf("faults %q", got)
			}
		})
	}
}

func hashOf(t *testing.T, r *rig, body string) platform.BodyHash {
	t.Helper()
	o, no := r.kinds["PlaceOrder"].decode([]byte(body), "k", expectation{}, nil)
	if no != nil {
		t.Fatal(no.detail)
	}
	return o.hash
}

// A command that could not be read has an outcome without type and hash.
func TestCommand_dead_and_unreadable(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.lost = true })
	done := make(chan answered, 1)
	go func() {
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, request(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k"))
		done <- answered{t: t, status: rec.Code, header: rec.Header(), body: rec.Body.String()}
	}()
	eventually(t, "the command is sent", func() bool { return r.commandsSent() == 1 })
	// Someone else's answer under the same id settles nothing.
	r.deliver(&platform.Outcome{CommandID: "k", AggregateType: "order", AggregateID: "other", BodyHash: platform.BodyHash{9}})
	r.deliver(&platform.Outcome{CommandID: "k", AggregateType: "order", AggregateID: "536365", BodyHash: platform.BodyHash{9}, Repeated: true})
	r.deliver(&platform.Outcome{CommandID: "k", AggregateType: "order", AggregateID: "536365", Kind: platform.OutcomeKindDead, Code: "dead-letter", Detail: "set aside"})
	(<-done).is(500).says("code", "dead-letter", "detail", "set aside")
}

func TestCommand_when_things_fail(t *testing.T) {
	t.Run("the outcomes view", func(t *testing.T) {
		r := newRig(t)
		r.change(func() { r.viewErr = errors.New("secret of the disk") })
		a := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(503).says("code", "unavailable", "commandId", "k").has("Retry-After", "2")
		if strings.Contains(a.body, "secret") || !strings.Contains(r.logged.String(), "secret") {
			t.Error("the cause belongs into the log and not into the answer")
		}
		r.do(http.MethodGet, "/api/commands/k", "").is(503)
		if n := r.commandsSent(); n != 0 {
			t.Errorf("%d commands were sent", n)
		}
	})
	t.Run("too many commands", func(t *testing.T) {
		r := newRig(t)
		r.singles = newGate(0)
		r.do(http.MethodPost, placePath, placeOrder).is(429).says("code", "overloaded").has("Retry-After", "1")
	})
	t.Run("positions", func(t *testing.T) {
		r := newRig(t)
		r.positions = noPositions{r.world}
		a := r.do(http.MethodPost, placePath, placeOrder, "Idempotency-Key", "k").is(202).has("Location", "/api/commands/k")
		if strings.Contains(a.body, "position") {
			t.Errorf("body %s", a.body)
		}
	})
}
