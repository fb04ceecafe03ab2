package program

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/datadir"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// examined runs doctor and returns its findings by name.
func examined(t *testing.T, top *topology.Topology, code int, args ...string) map[string]finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r := nxOn(ctx, top, append([]string{"doctor", "--json"}, args...)...).is(t, code)
	var answer struct {
		OK       bool
		Findings []finding
	}
	if err := json.Unmarshal([]byte(r.out), &answer); err != nil {
		t.Fatalf("%v: %s", err, r.out)
	}
	if answer.OK != (code == 0) {
		t.Errorf("ok is %v with exit code %d", answer.OK, code)
	}
	found := map[string]finding{}
	for _, f := range answer.Findings {
		found[f.Name] = f
		if f.Verdict != fine && f.Advice == "" {
			t.Errorf("%s: no word of what to do", f.Name)
		}
	}
	return found
}

func found(t *testing.T, all map[string]finding, name, verdict, says string) {
	t.Helper()
	if f := all[name]; f.Verdict != verdict || !strings.Contains(f.Detail+f.Advice, says) {
		t.Errorf("%s: %+v, want %s and %q", name, f, verdict, says)
	}
}

func TestDoctor_finds_nothing_wrong_with_a_healthy_system(t *testing.T) {
	all := examined(t, testTopology(), 0, "--server", world.API, "--data", world.data)
	for _, name := range []string{"data folder", "disk", "log size", "API", "governance", "clock", "broker", "topics", "registry", "compatibility"} {
		found(t, all, name, fine, "")
	}
	found(t, all, "data folder", fine, fmt.Sprintf("is held by process %d, format 1, and answers at %s", os.Getpid(), world.API))
	nx(t, "doctor", "--server", world.API, "--data", world.data).is(t, 0).has(t, "ok    topics        all 28 are as the topology wants them")
}

func TestDoctor_finds_what_is_wrong_with(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "none")
	t.Run("a system that does not run, where others use its ports", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() { // it takes connections and says nothing
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
		all := examined(t, testTopology(), 1, "--server", "http://"+l.Addr().String(), "--data", empty)
		found(t, all, "API", fails, "nothing answers at")
		found(t, all, "ports", fails, l.Addr().String()+" (--listen)")
		found(t, all, "data folder", fine, "does not exist yet")
	})
	t.Run("a server of another kind", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
		defer s.Close()
		found(t, examined(t, testTopology(), 1, "--server", s.URL, "--data", empty), "API", fails, "not as a system of this kind does")
	})
	t.Run("a system that is not ready, and clocks", func(t *testing.T) {
		for skew, verdict := range map[time.Duration]string{0: fine, -time.Minute: warns, time.Hour: fails} {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"ready":false,"checks":[{"name":"serving","ok":true,"detail":""},{"name":"processors","ok":false,"detail":"group shop.stock recovers its table"}]}`)
			}))
			all := examined(t, testTopology(), 1, "--server", s.URL, "--data", empty)
			s.Close()
			found(t, all, "API", fails, "is not ready: processors: group shop.stock recovers its table")
			found(t, all, "clock", verdict, "")
			found(t, all, "endpoints", fails, "does not say where its parts are")
		}
	})
	t.Run("a system that started with violations of the policies", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"ready":true,"checks":[],"governance":{"mode":"warn","violations":[{"rule":"append-only","severity":"error","place":"broker: topic shop.order.events","detail":"it forgets"}],"notJudged":["direct-calls"]}}`)
		}))
		defer s.Close()
		found(t, examined(t, testTopology(), 1, "--server", s.URL, "--data", empty), "governance", warns, "1 violations of the policies:\nbroker: topic shop.order.events: append-only: it forgets")
	})
	t.Run("topics of another topology", func(t *testing.T) {
		other := testTopology()
		other.Partitions = 3
		found(t, examined(t, other, 1, "--server", world.API, "--data", empty), "topics", fails, "topic shop.order.events has 2 partitions, the topology says 3")
	})
	t.Run("topics that are missing", func(t *testing.T) {
		other := testTopology()
		other.Context = "bank"
		found(t, examined(t, other, 1, "--server", world.API, "--data", empty), "topics", fails, "topic bank.order.events is missing")
	})
	t.Run("schemas that are not registered", func(t *testing.T) {
		other := testTopology()
		one := other.Schemas.Find("shop.order.OrderPlaced")
		changed := &avro.Entry{Name: one.Name, New: one.New, Text: strings.Replace(one.Text, "An order was placed.", "Someone ordered.", 1)}
		other.Schemas = avro.Sets{replaced(other.Schemas[0], changed), replaced(other.Schemas[1], changed)}
		found(t, examined(t, other, 1, "--server", world.API, "--data", empty), "registry", fails, "shop.order.OrderPlaced")
	})
	t.Run("a registry that checks nothing, or too little", func(t *testing.T) {
		defer registrytest.SetLevel(t, world.Registry, "", "BACKWARD_TRANSITIVE")
		registrytest.SetLevel(t, world.Registry, "", "NONE")
		found(t, examined(t, testTopology(), 1, "--server", world.API, "--data", empty), "compatibility", fails, "level NONE")
		registrytest.SetLevel(t, world.Registry, "", "BACKWARD")
		found(t, examined(t, testTopology(), 1, "--server", world.API, "--data", empty), "compatibility", fails, "too weak")
	})
	t.Run("a folder of a newer release", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "format"), []byte("99\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		found(t, examined(t, testTopology(), 1, "--server", world.API, "--data", dir), "data folder", fails, datadir.ErrNewer.Error())
	})
	t.Run("a folder of somebody else", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		found(t, examined(t, testTopology(), 1, "--server", world.API, "--data", dir), "data folder", fails, datadir.ErrForeign.Error())
	})
	t.Run("a folder whose process was killed", func(t *testing.T) {
		dir := t.TempDir()
		for name, text := range map[string]string{"format": "1\n", "lock": "4711", "endpoints.json": "{}"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		found(t, examined(t, testTopology(), 0, "--server", world.API, "--data", dir), "data folder", fine, "was killed, and the next start repairs")
	})
}

func replaced(set avro.Set, by *avro.Entry) avro.Set {
	out := append(avro.Set{}, set...)
	for i, e := range out {
		if e.Name == by.Name {
			out[i] = by
		}
	}
	return out
}

func TestDoctor_judges_free_space_by_what_the_broker_needs(t *testing.T) {
	for free, verdict := range map[int64]string{100 << 20: fails, 300 << 20: warns, 5 << 30: fine} {
		d := &doctor{}
		d.space(free)
		if got := d.findings[0]; got.Verdict != verdict || !strings.Contains(got.Detail, fmt.Sprint(free>>20, " MiB free")) {
			t.Errorf("%d bytes: %+v, want %s", free, got, verdict)
		}
	}
}
