package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nexusblueprint/nexus/internal/elastictest"
	"github.com/nexusblueprint/nexus/internal/programtest"
)

// Several instances on one Kafka and one Elasticsearch. The parts build on each
// other; the last one judges what all of them have left.
func TestRun_many_instances(t *testing.T) {
	c := newCluster(t)
	c.search = "elasticsearch+" + elastictest.Start(t).URL
	c.register()
	a := c.start(t, "a", "gateway,processors,sink")
	b := c.start(t, "b", "gateway,processors,sink")
	a.holds("shop.stock", "a", "b")

	// On 8 partitions some of these are held by the other instance.
	skus := make([]string, 16)
	for i := range skus {
		skus[i] = fmt.Sprintf("sku-%d", i)
	}

	t.Run("the gateway that took a command gets its outcome, wherever it was decided", func(t *testing.T) {
		for _, sku := range skus {
			r := a.receive(sku, "first-"+sku)
			if r.status != http.StatusCreated {
				t.Fatalf("%s: %d %s", sku, r.status, r.text)
			}
			b.reads(sku, 1, fmt.Sprint(r.body["position"]))
			if known := b.call(http.MethodGet, "/api/commands/first-"+sku, ""); known.status != http.StatusOK || known.body["status"] != 201.0 {
				t.Errorf("the other gateway says of %s: %d %s", sku, known.status, known.text)
			}
			if again := b.receive(sku, "first-"+sku); again.status != http.StatusCreated {
				t.Errorf("repeated at the other gateway, %s: %d %s", sku, again.status, again.text)
			}
		}
	})

	t.Run("reads follow writes while partitions move", func(t *testing.T) {
		move := make(chan struct{})
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for version := 2.0; ; version++ {
					select {
					case <-move:
						return
					default:
					}
					sku := skus[w]
					r := a.receive(sku, fmt.Sprintf("move-%s-%v", sku, version))
					if r.status != http.StatusCreated || r.body["version"] != version {
						t.Errorf("%s at %v: %d %s", sku, version, r.status, r.text)
						return
					}
					b.reads(sku, version, fmt.Sprint(r.body["position"]))
				}
			})
		}
		third := c.start(t, "third", "processors,sink", "--leave-on-stop", "true")
		a.holds("shop.stock", "a", "b", "third")
		third.Stop(t)
		a.holds("shop.stock", "a", "b")
		close(move)
		wg.Wait()
	})

	t.Run("what a killed gateway was asked has one outcome, found at any other", func(t *testing.T) {
		var wg sync.WaitGroup
		answered := make(chan struct{}, 200)
		for n := range 200 {
			wg.Go(func() {
				// The gateway dies under some of these: they have no answer.
				a.receive(fmt.Sprintf("orphan-%d", n%20), fmt.Sprintf("orphan-%d", n))
				answered <- struct{}{}
			})
		}
		<-answered
		a.Kill(t)
		wg.Wait()
		for n := range 200 {
			id := fmt.Sprintf("orphan-%d", n)
			b.Eventually(t, id+" is settled", func() bool {
				if r := b.call(http.MethodGet, "/api/commands/"+id, ""); r.status == http.StatusOK {
					return true
				}
				// Never logged, or not decided yet: the same id counts once.
				return b.receive(fmt.Sprintf("orphan-%d", n%20), id).status == http.StatusCreated
			})
		}
		for n := range 20 {
			if r := b.call(http.MethodGet, fmt.Sprintf("/api/aggregates/stock/orphan-%d?minVersion=10", n), ""); r.body["version"] != 10.0 {
				t.Errorf("10 commands made version %v: %s", r.body["version"], r.text)
			}
		}
	})

	t.Run("of two processes with one name the older ends and says why", func(t *testing.T) {
		twin := c.start(t, "b", "gateway,processors,sink")
		if code := b.Exit(t); code != 1 || !strings.Contains(b.Log.String(), "another process runs under this instance's name") {
			t.Errorf("it ended with %d:\n%s", code, programtest.Tail(b.Log.String()))
		}
		if r := twin.receive(skus[0], "at-the-twin"); r.status != http.StatusCreated {
			t.Errorf("%d %s", r.status, r.text)
		}
		b = twin
	})

	if out, code := programtest.Run(t, "check", "--server", b.API()); code != 0 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	b.Stop(t)
}

// reads demands that state and read model at this instance are as of a write.
func (i *instance) reads(sku string, version float64, position string) {
	i.t.Helper()
	state := i.call(http.MethodGet, fmt.Sprintf("/api/aggregates/stock/%s?minVersion=%v", sku, version), "")
	if at, _ := state.body["version"].(float64); state.status != http.StatusOK || at < version {
		i.t.Errorf("%s: %s at version %v or later is %d %s", i.Name, sku, version, state.status, state.text)
	}
	doc := i.call(http.MethodGet, "/api/queries/products/"+sku+"?wait=30s&position="+position, "")
	if n, _ := doc.body["onHand"].(float64); doc.status != http.StatusOK || n < version {
		i.t.Errorf("%s: %s after %v pieces, at %s, is %d %s", i.Name, sku, version, position, doc.status, doc.text)
	}
}

// holds waits until exactly these instances share a group's partitions.
func (i *instance) holds(group string, names ...string) {
	i.t.Helper()
	var out string
	i.Eventually(i.t, fmt.Sprintf("%s is held by %v", group, names), func() bool {
		out = programtest.Must(i.t, "topology", "--server", i.API())
		var holders []string
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); f[0] == group && f[1] == "Stable" && len(f) == 5 {
				holders = append(holders, f[2])
			}
		}
		return strings.Join(holders, " ") == strings.Join(names, " ")
	})
}
