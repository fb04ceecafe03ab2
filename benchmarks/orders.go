package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// realOrders reads the shipped orders, or the first of them.
func realOrders(most int) (orders []*retail.PlaceOrder, meanLines float64, err error) {
	lines := 0
	for c, err := range retailcsv.Commands(shop.Sample()...) {
		if err != nil {
			return nil, 0, err
		}
		if o, ok := c.Record.(*retail.PlaceOrder); ok {
			orders, lines = append(orders, o), lines+len(o.Lines)
		}
		if len(orders) == most {
			break
		}
	}
	return orders, float64(lines) / float64(len(orders)), nil
}

// benchOrders places real orders, one request each.
func benchOrders(ctx context.Context, r *runner) (rep report, err error) {
	rate, warm, seconds := pick(r, 500, 50), pick(r, 10, 1), pick(r, 60, 1)
	orders, meanLines, err := realOrders(pick(r, 1<<30, 100))
	if err != nil {
		return rep, err
	}
	folder, err := r.temp("data")
	if err != nil {
		return rep, err
	}
	d, err := r.startDev(ctx, folder)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	r.begin("%d orders/s for %d s after %d s of warm-up", rate, seconds, warm)
	start := time.Now().Add(100 * time.Millisecond)
	l := &orderLoad{orders: orders, answers: delays{from: start.Add(time.Duration(warm) * time.Second)}, schedule: schedule{
		start: start, every: time.Second / time.Duration(rate), n: rate * (warm + seconds), workers: 64,
	}}
	if err := l.drive(ctx, d); err != nil {
		return rep, err
	}
	t, err := d.awaitTotals(ctx, "all orders", func(t totals) bool { return t.Orders >= int64(l.n) })
	if err != nil {
		return rep, err
	}
	if t.Orders != int64(l.n) {
		return rep, fmt.Errorf("%d orders were placed, the read model counts %d", l.n, t.Orders)
	}
	ms := l.answers.all
	r.say("  %d answers: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, worst %.1f ms", len(ms), median(ms), quantile(ms, 0.9), quantile(ms, 0.99), quantile(ms, 1))
	rep.claims = []claim{
		atMost("due time to answer, p50", "%.1f ms", 15, median(ms)),
		atMost("due time to answer, p99", "%.1f ms", 60, quantile(ms, 0.99)),
		figure("due time to answer, p90 / worst", "%.1f ms / %.1f ms", quantile(ms, 0.9), quantile(ms, 1)),
	}
	rep.notes = []string{fmt.Sprintf("PlaceOrder at %d/s for %d s, each sent when it is due, over up to %d keep-alive connections, after %d s of warm-up; the shipped orders (mean %.1f lines, mean body %d bytes) under new ids, "+
		"all projections running, the load generator on the same cores. Every answer 201; the read model counts them all.", rate, seconds, l.workers, warm, meanLines, l.bytes.Load()/int64(l.n))}
	return rep, nil
}

// orderLoad is an open loop of single requests.
type orderLoad struct {
	schedule
	orders  []*retail.PlaceOrder
	answers delays
	bytes   atomic.Int64
}

var placeOrderSchema = avro.Sets{retail.Schemas}.Find("shop.order.PlaceOrder").Schema()

func (l *orderLoad) drive(ctx context.Context, d *dev) error {
	return l.run(ctx, func(ctx context.Context, i int) error {
		order := *l.orders[i%len(l.orders)]
		order.OrderID = fmt.Sprintf("%s-%d", order.OrderID, i/len(l.orders))
		body, err := avro.AppendJSON(nil, placeOrderSchema, order.AppendAvro(nil))
		if err != nil {
			return err
		}
		l.bytes.Add(int64(len(body)))
		status, answer, err := d.do(ctx, http.MethodPost, "/api/commands/PlaceOrder", "application/json", body)
		l.answers.add(l.due(i))
		if err == nil && status != http.StatusCreated {
			err = fmt.Errorf("order %s: %d %s", order.OrderID, status, answer)
		}
		return err
	})
}
