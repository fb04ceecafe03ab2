package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
)

func TestBatch_says_which_answers_are_repeated(t *testing.T) {
	r := newRig(t)
	line := func(id, command string) string {
		return `{"type":"CancelOrder","id":"` + id + `","command":` + command + `}`
	}
	order := `{"type":"PlaceOrder","id":"p","command":` + orderBody("1") + `}`
	refused := line("c", `{"orderId":"2"}`)
	for _, a := range r.batch(order, refused) {
		a.says("replayed", nil)
	}
	again := r.batch(order, refused, line("p", `{"orderId":"1"}`), place("3"))
	again[0].is(201).says("replayed", true, "commandId", "p", "version", 1)
	again[1].is(422).says("replayed", true, "commandId", "c")
	again[2].is(409).says("replayed", nil)
	again[3].is(201).says("replayed", nil)
}

func TestCommand_says_that_the_log_is_full(t *testing.T) {
	r := newRig(t)
	r.change(func() { r.sendErr = fmt.Errorf("%w: %w", ports.ErrBusUnavailable, ports.ErrLogFull) })
	const detail = "logging the command failed: the log has no room for more; send the request again when its disk has free space and /readyz answers 200"
	r.do(http.MethodPost, placePath, placeOrder).is(503).says("code", "unavailable", "detail", detail).has("Retry-After", "2")
	r.batch(place("1"))[0].is(503).says("code", "unavailable", "detail", detail)
	r.change(func() { r.sendErr = nil })
	r.do(http.MethodPost, placePath, placeOrder).is(201)
	r.batch(place("2"))[0].is(201)
	log := r.logged.String()
	if strings.Count(log, "commands are refused") != 1 || strings.Count(log, "commands are taken again") != 1 || strings.Count(log, "\n") != 2 {
		t.Errorf("want one line when it is full and one when it has room:\n%s", log)
	}
}
