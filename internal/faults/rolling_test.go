package faults

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
)

// rollout is a small system in two releases, built from testdata/rolling, on its way from one to the other and back.
type rollout struct {
	*stage
	before, after   string // programs
	front, one, two *programtest.Process
	filled          *fillings
}

// A release with a new optional field, an upcaster and another fold number is rolled out, instance by instance, while
// commands come in, and rolled back. Instances of both share groups all the time, and read what the other has written:
// events, changes, table records. At the end each release finds every invariant intact, and nothing was set aside.
func TestRollingUpgrade(t *testing.T) {
	r := newRollout(t)
	run(t, r.front, r.one, r.two)

	end := r.filled.begin(t, r.front)
	r.goesOn(t)
	programtest.MustOf(t, r.after, "schemas", "register", "--registry", r.registry)
	r.becomes(t, r.two, r.after)
	r.becomes(t, r.front, r.after)
	r.becomes(t, r.one, r.after)
	end(t)
	r.verdict(t, r.after)
	r.readsTheNewest(t)

	end = r.filled.begin(t, r.front)
	r.goesOn(t)
	r.becomes(t, r.one, r.before)
	r.becomes(t, r.front, r.before)
	r.becomes(t, r.two, r.before)
	end(t)
	r.verdict(t, r.before)
	r.tookTurns(t)
}

func newRollout(t *testing.T) *rollout {
	t.Helper()
	kafka := kafkatest.Dedicated(t)
	s := &stage{kafka: kafka, admin: kadm.NewClient(kafka.Client(t)), dir: t.TempDir(), registry: registrytest.Embedded(t, kafka.Addrs...)}
	r := &rollout{stage: s, filled: &fillings{litres: map[string]int64{}}}
	r.before, r.after = releases(t)
	programtest.MustOf(t, r.before, "schemas", "register", "--registry", s.registry)
	r.front = r.instance(t, "front", programtest.Settings{"roles": "gateway,sink", "search": "embedded:"})
	r.one = r.instance(t, "one", programtest.Settings{"roles": "processors"})
	r.two = r.instance(t, "two", programtest.Settings{"roles": "processors"})
	return r
}

// releases builds the programs of both releases.
func releases(t *testing.T) (before, after string) {
	t.Helper()
	return programtest.Build(t, "./testdata/rolling/before"), programtest.Build(t, "./testdata/rolling/after")
}

// instance makes a name for processes, of the release before at first.
func (r *rollout) instance(t *testing.T, name string, more programtest.Settings) *programtest.Process {
	t.Helper()
	all := programtest.Settings{"bus": "kafka://" + strings.Join(r.kafka.Addrs, ","), "registry": r.registry}
	maps.Copy(all, more)
	i := programtest.Instance(t, r.dir, name, all)
	i.Program = r.before
	r.instances = append(r.instances, i)
	return i
}

// becomes replaces the process of an instance by one of the other release, on its folder and under its name.
func (r *rollout) becomes(t *testing.T, i *programtest.Process, program string) {
	t.Helper()
	i.Stop(t)
	i.Program = program
	run(t, i)
	programtest.Eventually(t, "both instances decide", func() bool {
		owners := r.owners("water.tank")
		return owners[r.one.Name] > 0 && owners[r.two.Name] > 0
	})
	r.goesOn(t)
}

func (r *rollout) goesOn(t *testing.T) {
	t.Helper()
	from := r.filled.acked.Load()
	programtest.Eventually(t, "commands are acknowledged", func() bool { return r.filled.acked.Load() >= from+60 })
}

// verdict demands, of the system at rest, that one release finds everything in order: every acknowledged command counts
// once, in the state and in the read model.
func (r *rollout) verdict(t *testing.T, program string) {
	t.Helper()
	api := r.front.API()
	t.Logf("%s: %s", filepath.Base(program), programtest.MustOf(t, program, "check", "--server", api))
	if letters := programtest.MustOf(t, program, "dlq", "list", "--server", api, "--json"); letters != "" {
		t.Errorf("dead letters:\n%s", letters)
	}
	for _, f := range r.filled.faults {
		t.Error(f)
	}
	totals := map[string]int64{}
	for tank, want := range r.filled.litres {
		totals[tank[:1]] += want
		state, _ := ask(t.Context(), http.MethodGet, api+"/api/aggregates/tank/"+tank, "").body["state"].(map[string]any)
		if got, _ := state["litres"].(float64); int64(got) != want {
			t.Errorf("tank %s holds %v litres, %d were acknowledged", tank, state["litres"], want)
		}
	}
	for district, want := range totals {
		total := ask(t.Context(), http.MethodGet, api+"/api/queries/totals/"+district, "")
		if got, _ := total.body["litres"].(float64); int64(got) != want {
			t.Errorf("district %s has %s, want %d litres", district, total.text, want)
		}
	}
	for _, i := range r.instances {
		if log := i.Log.String(); strings.Contains(log, "WARNING: DATA RACE") || strings.Contains(log, "panic:") {
			t.Errorf("%s:\n%s", i.Name, programtest.Tail(log))
		}
	}
}

// readsTheNewest demands that the release after shows every event as its second version, whoever recorded it, and that
// its new read model has all of the log.
func (r *rollout) readsTheNewest(t *testing.T) {
	t.Helper()
	api := r.front.API()
	sources := map[any]int{}
	for tank := range r.filled.litres {
		items, _ := ask(t.Context(), http.MethodGet, api+"/api/aggregates/tank/"+tank+"/events?limit=1000", "").body["items"].([]any)
		for _, item := range items {
			event, _ := item.(map[string]any)
			data, _ := event["data"].(map[string]any)
			if event["type"] != "FilledV2" {
				t.Errorf("an event of %s is shown as %v", tank, event)
			}
			sources[data["source"]]++
		}
	}
	if len(sources) != 2 || sources["unknown"] == 0 || sources["river"] == 0 {
		t.Errorf("the sources of the events are %v", sources)
	}
	supplied, all := int64(0), int64(0)
	for _, source := range []string{"unknown", "river"} {
		litres, _ := ask(t.Context(), http.MethodGet, api+"/api/queries/supplies/"+source, "").body["litres"].(float64)
		supplied += int64(litres)
	}
	for _, litres := range r.filled.litres {
		all += litres
	}
	if supplied != all {
		t.Errorf("the new read model has %d litres of %d", supplied, all)
	}
}

// tookTurns proves that the releases were together: the log has events of the one between events of the other, on the
// way there and on the way back.
func (r *rollout) tookTurns(t *testing.T) {
	t.Helper()
	ranges, err := logread.Settled(t.Context(), r.admin, "water.tank.events")
	if err != nil {
		t.Fatal(err)
	}
	type written struct {
		at     int64
		schema [4]byte
	}
	var log []written
	if err := logread.Each(t.Context(), ranges, func(rec *kgo.Record) error {
		log = append(log, written{rec.Timestamp.UnixMilli(), [4]byte(rec.Value[1:])})
		return nil
	}, kgo.SeedBrokers(r.kafka.Addrs...)); err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(log, func(a, b written) int { return cmp.Compare(a.at, b.at) })
	isNew := func(w written) bool { return w.schema != log[0].schema }
	first := slices.IndexFunc(log, isNew)
	if first < 0 {
		t.Fatalf("all %d events are of one release", len(log))
	}
	last := len(log) - 1
	for !isNew(log[last]) {
		last--
	}
	count := func(some []written) (before, after int) {
		for _, w := range some {
			if isNew(w) {
				after++
			} else {
				before++
			}
		}
		return before, after
	}
	before, after := count(log)
	middle := (first + last) / 2
	there, _ := count(log[first:middle])
	back, _ := count(log[middle:last])
	if there == 0 || back == 0 {
		t.Errorf("%d events of the release before stand among those of the one after on the way there, %d on the way back: they were never together", there, back)
	}
	t.Logf("%d events by the release before, %d by the one after, %d and %d of the former in turns", before, after, there, back)
}

// fillings is what clients know of their commands.
type fillings struct {
	mu     sync.Mutex
	litres map[string]int64 // acknowledged, by tank
	faults []string
	issued atomic.Int64
	acked  atomic.Int64
}

// begin starts clients that fill tanks all the time. The function it returns ends them, once each has the outcome of
// its last command.
func (f *fillings) begin(t *testing.T, gateway *programtest.Process) (end func(*testing.T)) {
	t.Helper()
	var clients sync.WaitGroup
	var stopping atomic.Bool
	ctx, cancel := context.WithCancel(context.Background())
	for range clientCount {
		clients.Go(func() {
			for !stopping.Load() {
				f.fill(ctx, gateway)
				wait(clientPause)
			}
		})
	}
	t.Cleanup(func() {
		stopping.Store(true)
		cancel()
		clients.Wait()
	})
	return func(t *testing.T) {
		t.Helper()
		stopping.Store(true)
		done := make(chan struct{})
		go func() { clients.Wait(); close(done) }()
		programtest.Eventually(t, "clients have the outcomes of their last commands", func() bool {
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
	}
}

// fill sends one command until it has its outcome.
func (f *fillings) fill(ctx context.Context, gateway *programtest.Process) {
	n := f.issued.Add(1)
	tank := fmt.Sprintf("%c%d", 'a'+rune(n%3), n%12)
	for ctx.Err() == nil {
		a := ask(ctx, http.MethodPost, gateway.API()+"/api/commands/Fill", fmt.Sprintf(`{"tankId":%q,"litres":%d,"source":"river"}`, tank, n),
			"Idempotency-Key", fmt.Sprint("fill-", n))
		switch a.status {
		case http.StatusCreated, http.StatusOK:
			f.mu.Lock()
			f.litres[tank] += n
			f.mu.Unlock()
			f.acked.Add(1)
			return
		case 0, http.StatusAccepted, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			wait(4 * clientPause)
		default:
			f.mu.Lock()
			f.faults = append(f.faults, fmt.Sprintf("filling %s is answered with %d %s", tank, a.status, a.text))
			f.mu.Unlock()
			return
		}
	}
}

// The page shows code of the release after, and what its program says.
func TestDocs_evolve_an_event_does_what_it_says(t *testing.T) {
	page, err := os.ReadFile("../../docs/how-to/evolve-an-event.md")
	if err != nil {
		t.Fatal(err)
	}
	var source []byte
	for _, name := range []string{"main.go", "Filled.avsc"} {
		text, err := os.ReadFile(filepath.Join("testdata", "rolling", "after", name))
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	before, after := releases(t)
	dir, ran := t.TempDir(), 0
	for _, block := range regexp.MustCompile("(?s)```(go|json|console)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		kind, text := block[1], block[2]
		if kind != "console" {
			if !strings.Contains(string(source), strings.TrimSuffix(text, "\n")) {
				t.Errorf("the release after has other code than the page shows:\n%s", text)
			}
			continue
		}
		program := after
		if ran++; ran == 1 {
			program = before // it freezes itself
		}
		line, want, _ := strings.Cut(text, "\n")
		cmd := exec.Command(program, strings.Fields(strings.TrimPrefix(line, "$ waterworks "))...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		got := string(out)
		if shown, open := strings.CutSuffix(want, "…\n"); open {
			got, want = got[:min(len(got), len(shown))], shown
		}
		if err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", line, err, out, want)
		}
	}
	if ran != 3 {
		t.Errorf("%d commands ran", ran)
	}
}
