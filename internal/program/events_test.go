package program

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/internal/programtest"
)

func TestEventsShow(t *testing.T) {
	placeOrder(t, world.API, "show1")
	send(t, world.API, "CancelOrder", `{"orderId":"show1","reason":"too <late>"}`)

	t.Run("prints all events of an aggregate", func(t *testing.T) {
		r := nx(t, "events", "show", "order", "show1", "--server", world.API).is(t, 0)
		r.has(t, "OrderPlaced", "OrderCancelled", "order show1", "version        2", `"unitPrice": "2.55"`, `"reason": "too <late>"`,
			"previous hash  0000000000000000000000000000000000000000000000000000000000000000", "actor          -")
	})
	var position string
	t.Run("prints them as JSON, one per line", func(t *testing.T) {
		all := jsonLines(t, nx(t, "events", "show", "order", "show1", "--json", "--server", world.API).is(t, 0).out)
		if len(all) != 2 || all[0]["type"] != "OrderPlaced" || all[1]["version"] != 2.0 || all[1]["aggregateId"] != "show1" {
			t.Fatalf("%v", all)
		}
		lines := all[0]["data"].(map[string]any)["lines"].([]any)
		if got := lines[1].(map[string]any)["description"]; got != "<ÜBER>" {
			t.Errorf("description %q", got)
		}
		position = all[1]["position"].(string)
	})
	t.Run("prints one by its position", func(t *testing.T) {
		all := jsonLines(t, nx(t, "events", "show", position, "--json", "--server", world.API).is(t, 0).out)
		if len(all) != 1 || all[0]["position"] != position || all[0]["type"] != "OrderCancelled" {
			t.Errorf("%v", all)
		}
	})
	t.Run("says what is not there", func(t *testing.T) {
		nx(t, "events", "show", "order", "nobody", "--server", world.API).is(t, 1).has(t, `there is no order "nobody"`)
		nx(t, "events", "show", "orders", "1", "--server", world.API).is(t, 2).has(t, `no aggregate type "orders": order, creditnote, ledger, stock are known`)
		nx(t, "events", "show", "shop.order.events/0/999999", "--server", world.API).is(t, 1).has(t, "there is nothing at 999999")
		nx(t, "events", "show", "shop.order.events/77/0", "--server", world.API).is(t, 1).has(t, "there is no partition shop.order.events/77")
		nx(t, "events", "show", "shop.dlq/0/0", "--server", world.API).is(t, 2).has(t, "shop.dlq holds no events")
		nx(t, "events", "show", "shop.order.events/0", "--server", world.API).is(t, 2).has(t, "is no position: want topic/partition/offset")
		// A transaction ends with a mark, right behind its last event.
		p, err := parsePlace(position)
		if err != nil {
			t.Fatal(err)
		}
		marker := fmt.Sprintf("%s/%d", p.TopicPartition, p.offset+1)
		nx(t, "events", "show", marker, "--server", world.API).is(t, 1).has(t, "the mark of a transaction")
		nx(t, "events", "show", "order", "x", "--server", "http://127.0.0.1:1").is(t, 2).has(t, "is the system running?")
	})
}

func TestEventsTail(t *testing.T) {
	receive(t, world.API, "tail", 4, "r1")
	tail := func(args ...string) (*programtest.Transcript, func() int) {
		ctx, cancel := context.WithCancel(context.Background())
		var out, errs programtest.Transcript
		done := make(chan int, 1)
		go func() {
			done <- run(ctx, testTopology(), Options{}, append([]string{"events", "tail", "--server", world.API}, args...), strings.NewReader(""), &out, &errs)
		}()
		return &out, func() int { cancel(); return <-done }
	}
	t.Run("begins at the start and goes on", func(t *testing.T) {
		out, stop := tail("--from", "start", "--aggregate", "stock")
		eventually(t, "the first event is printed", func() bool { return strings.Contains(out.String(), "StockReceived  stock tail  v1\n") })
		receive(t, world.API, "tail", 4, "r2")
		eventually(t, "the second event is printed", func() bool { return strings.Contains(out.String(), "StockReceived  stock tail  v2\n") })
		if strings.Contains(out.String(), "  order ") {
			t.Errorf("events of other aggregates:\n%s", out)
		}
		if code := stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("begins now, as JSON", func(t *testing.T) {
		out, stop := tail("--json")
		n := 0
		eventually(t, "an event is printed", func() bool {
			n++
			receive(t, world.API, "tailjson", 1, "r"+strings.Repeat("x", n)) // it begins at some moment after its start
			return strings.Contains(out.String(), "\n")
		})
		stop()
		for _, e := range jsonLines(t, out.String()) {
			if e["aggregateId"] != "tailjson" || e["data"].(map[string]any)["quantity"] != 1.0 {
				t.Errorf("%v", e)
			}
		}
	})
	t.Run("refuses what it does not know", func(t *testing.T) {
		nx(t, "events", "tail", "--from", "noon", "--server", world.API).is(t, 2).has(t, "start and now are known")
		nx(t, "events", "tail", "--aggregate", "orders", "--server", world.API).is(t, 2).has(t, "no aggregate type")
	})
}

func TestDlq(t *testing.T) {
	var list string
	eventually(t, "both commands are set aside", func() bool {
		list = nx(t, "dlq", "list", "--server", world.API).is(t, 0).out
		return strings.Count(list, "shop.stock.commands/") == 2
	})
	ran{out: list}.has(t, "POSITION", "undecodable", "wrong-key", "shop.stock", "dead", "unreadable: dead letter at shop.dlq/")

	positions := map[string]string{}
	for _, l := range jsonLines(t, nx(t, "dlq", "list", "--json", "--server", world.API).is(t, 0).out) {
		if l["unreadable"] != nil {
			continue
		}
		positions[l["reason"].(string)] = l["position"].(string)
	}
	t.Run("shows what cannot be decoded, byte for byte", func(t *testing.T) {
		r := nx(t, "dlq", "show", positions["undecodable"], "--server", world.API).is(t, 0)
		r.has(t, "reason       undecodable", "key          dead", "header nexus-meta", `"commandId": "poison-1"`, "cannot be decoded", "|", "attempts     1")
		l := jsonLines(t, nx(t, "dlq", "show", positions["undecodable"], "--json", "--server", world.API).is(t, 0).out)[0]
		value := l["value"].(map[string]any)
		if hex := value["hex"].(string); !strings.HasPrefix(hex, "00000000") || value["unread"] == nil || value["json"] != nil {
			t.Errorf("value %v", value)
		}
	})
	t.Run("shows what can be decoded", func(t *testing.T) {
		l := jsonLines(t, nx(t, "dlq", "show", positions["wrong-key"], "--json", "--server", world.API).is(t, 0).out)[0]
		if got := l["value"].(map[string]any)["json"].(map[string]any)["sku"]; got != "dead" || l["key"] != "other" {
			t.Errorf("%v", l)
		}
	})
	t.Run("says what is not there", func(t *testing.T) {
		nx(t, "dlq", "show", "shop.order.events/0/0", "--server", world.API).is(t, 2).has(t, "they are on shop.dlq")
		nx(t, "dlq", "show", "shop.dlq/0/12345", "--server", world.API).is(t, 1)
		nx(t, "dlq", "show", "12", "--server", world.API).is(t, 2).has(t, "is no position")
	})
}

func TestCheck_json_has_the_shape_that_scripts_rely_on(t *testing.T) {
	r := nx(t, "check", "--json", "--server", world.API).is(t, 0)
	var keys []string
	for line := range strings.Lines(r.out) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), `":`); ok && len(keys) < 8 {
			keys = append(keys, strings.Trim(name, `"{ `))
		}
	}
	if got := strings.Join(keys, " "); got != "ok invariants id verdict checked violations examples id" {
		t.Errorf("keys %s in\n%s", got, r.out)
	}
	r.has(t, `"id": "I9"`, `"examples": []`)
	nx(t, "check", "--server", "http://127.0.0.1:1").is(t, 2)
}
