package program

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/archive"
	"github.com/nexusblueprint/nexus/internal/datadir"
	"github.com/nexusblueprint/nexus/internal/eventid"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/internal/systemtest"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// exported is an export of the world, made after some orders of its own.
func exported(t *testing.T) string {
	t.Helper()
	order := "exp" + fmt.Sprint(time.Now().UnixNano())
	placeOrder(t, world.API, order)
	send(t, world.API, "CancelOrder", fmt.Sprintf(`{"orderId":%q}`, order))
	send(t, world.API, "AdjustLedger", fmt.Sprintf(`{"entryId":%q,"adjustedAt":"2011-05-04T10:00:00Z","amount":"-11062.06","description":"Adjust bad debt"}`, "A"+order))
	for i := range 3 {
		receive(t, world.API, order+"sku", 5, fmt.Sprint("r", i))
	}
	dir := filepath.Join(t.TempDir(), "backup")
	nx(t, "events", "export", dir, "--server", world.API).is(t, 0).has(t, "order.avro: ", " events, ")
	return dir
}

// documents are all read models of a system, once they have all events.
func documents(t *testing.T, server string) map[string][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	queries := api(server)
	eventually(t, "the read models have all events", func() bool {
		lag, err := queries.LagRecords(ctx)
		return err == nil && lag == 0
	})
	all := map[string][]string{}
	for _, p := range testTopology().Projections {
		if err := queries.Documents(ctx, p.Name(), "", func(doc []byte) error {
			all[p.Name()] = append(all[p.Name()], string(doc))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(all[p.Name()])
	}
	return all
}

func TestEventsImport_restores_the_system_that_was_exported(t *testing.T) {
	dir := exported(t)
	want := documents(t, world.API)
	data := filepath.Join(t.TempDir(), "restored")
	nx(t, "events", "import", dir, "--data", data).is(t, 0).has(t, "are whole and fit this program", "I9  ok", "restored into "+data)

	e := systemtest.Start(t, testTopology(), data)
	got := documents(t, e.API)
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s differs:\n%s\nwant\n%s", name, strings.Join(got[name], "\n"), strings.Join(want[name], "\n"))
		}
	}
	t.Run("with the place of every group whose table is filled", func(t *testing.T) {
		cl, err := kgo.NewClient(kgo.SeedBrokers(e.Bus))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		top := testTopology()
		for _, name := range []string{"order", "ledger", "stock"} {
			a, _ := top.Aggregate(name)
			offsets, err := kadm.NewClient(cl).FetchOffsets(context.Background(), top.Group(a))
			if err != nil {
				t.Fatalf("group %s: %v", top.Group(a), err)
			}
			for p := range top.PartitionCount() {
				if at, ok := offsets.Lookup(top.Commands(a), p); !ok || at.At < 0 {
					t.Errorf("group %s has no offset in partition %d of its commands", top.Group(a), p)
				}
			}
		}
	})
	t.Run("as the same files again", func(t *testing.T) {
		again := filepath.Join(t.TempDir(), "again")
		nx(t, "events", "export", again, "--server", e.API).is(t, 0)
		for _, a := range testTopology().Aggregates {
			first, second := readFile(t, dir, a.Name()), readFile(t, again, a.Name())
			if !bytes.Equal(first, second) {
				t.Errorf("%s: %d bytes come back as %d others", a.Name(), len(first), len(second))
			}
		}
	})
	t.Run("which goes on from where it was", func(t *testing.T) {
		placeOrder(t, e.API, "after")
		all := jsonLines(t, nx(t, "events", "show", "stock", "tail", "--json", "--server", world.API).out)
		receive(t, e.API, "tail", 1, "after")
		now := jsonLines(t, nx(t, "events", "show", "stock", "tail", "--json", "--server", e.API).is(t, 0).out)
		if len(now) != len(all)+1 || now[len(all)]["version"] != float64(len(all)+1) {
			t.Errorf("%d events, %d before: %v", len(now), len(all), now[len(now)-1])
		}
		nx(t, "check", "--server", e.API).is(t, 0)
	})
	t.Run("and is not restored over", func(t *testing.T) {
		nx(t, "events", "import", dir, "--data", data).is(t, 2).has(t, "is held by process")
	})
}

func readFile(t *testing.T, dir, aggregate string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, aggregate+archive.Extension))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// untouched runs a failing import and demands that it changes nothing near the
// folder.
func untouched(t *testing.T, data string, files ...string) ran {
	t.Helper()
	before := tree(t, filepath.Dir(data))
	r := nx(t, append([]string{"events", "import", "--data", data}, files...)...)
	if after := tree(t, filepath.Dir(data)); after != before {
		t.Errorf("the import left\n%s\nbefore it was\n%s", after, before)
	}
	return r
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode(), info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEventsImport_leaves_the_folder_as_it_was_when_it_fails(t *testing.T) {
	dir := exported(t)
	t.Run("because a file is cut off", func(t *testing.T) {
		raw := readFile(t, dir, "order")
		cut := filepath.Join(t.TempDir(), "cut.avro")
		if err := os.WriteFile(cut, raw[:len(raw)-40], 0o600); err != nil {
			t.Fatal(err)
		}
		untouched(t, filepath.Join(t.TempDir(), "data"), cut).is(t, 1).has(t, "cut.avro, record ", "the archive is damaged")
	})
	t.Run("because the folder holds a used system", func(t *testing.T) {
		data := filepath.Join(t.TempDir(), "data")
		log := filepath.Join(data, "broker", "partitions", "shop.order.events-1")
		if err := os.MkdirAll(log, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{filepath.Join(data, "format"): "1\n", filepath.Join(data, "lock"): fmt.Sprint(os.Getpid()), filepath.Join(log, "0.dat"): "a batch"} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		untouched(t, data, dir).is(t, 1).has(t, "is in use: its topic shop.order.events holds records")
	})
	t.Run("because the folder holds something else", func(t *testing.T) {
		data := filepath.Join(t.TempDir(), "data")
		if err := os.MkdirAll(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(data, "thesis.txt"), []byte("years of work"), 0o600); err != nil {
			t.Fatal(err)
		}
		untouched(t, data, dir).is(t, 2).has(t, datadir.ErrForeign.Error())
	})
	t.Run("because there is no file", func(t *testing.T) {
		untouched(t, filepath.Join(t.TempDir(), "data"), filepath.Join(dir, "orders.avro")).is(t, 2).has(t, "no such file")
	})
	t.Run("because it is interrupted", func(t *testing.T) {
		data := filepath.Join(t.TempDir(), "data")
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan ran, 1)
		go func() { done <- nxOn(ctx, testTopology(), "events", "import", dir, "--data", data) }()
		eventually(t, "the work has begun", func() bool {
			found, _ := filepath.Glob(filepath.Join(data+".import-*", "data", "broker", "partitions", "*"))
			return len(found) > 0
		})
		cancel()
		(<-done).is(t, 2).has(t, "nexus: the import was interrupted: nothing was kept of it; call it again, and it begins anew\n")
		if left := tree(t, filepath.Dir(data)); strings.Count(left, "\n") != 1 {
			t.Errorf("the import left\n%s", left)
		}
	})
}

// Whenever it comes, an interrupt is told as one.
func TestEventsImport_interrupted_says_how_to_go_on(t *testing.T) {
	dir := exported(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	nxOn(ctx, testTopology(), "events", "import", dir, "--data", filepath.Join(t.TempDir(), "data")).is(t, 2).has(t, "nexus: the import was interrupted: nothing was kept")
	_, file := emptyKafka(t)
	nxOn(ctx, testTopology(), "events", "import", dir, "--config", file).is(t, 2).has(t, "nexus: the import was interrupted: call it again with the same files, and it goes on where it was")
}

func TestEventsImport_takes_a_folder_that_was_never_used(t *testing.T) {
	dir := exported(t)
	for name, prepare := range map[string]func(data string){
		"an empty one": func(data string) {
			if err := os.MkdirAll(data, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"one of a system that took no command": func(data string) {
			d, err := system.Start(context.Background(), testTopology(), devConfig(data, nil))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Stop(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			prepare(data)
			r := nx(t, "events", "import", dir, "--data", data, "--json").is(t, 0)
			var report struct{ OK bool }
			if err := json.Unmarshal([]byte(r.out), &report); err != nil || !report.OK {
				t.Errorf("error %v, verdict %s", err, r.out)
			}
			entries, err := os.ReadDir(filepath.Dir(data))
			if err != nil || len(entries) != 1 {
				t.Errorf("beside the folder stands %v, error %v", entries, err)
			}
		})
	}
}

// An export of an earlier release holds events of schemas that this program has
// outgrown. They stay as they were written.
func TestEventsImport_restores_events_of_earlier_schemas(t *testing.T) {
	top := testTopology()
	text := func(name string) string { return top.Schemas.Find(name).Text }
	const reason = `,{"name":"reason","type":["null","string"],"doc":"Why, in the words of whoever cancelled.","default":null,"maxLength":1000}`
	newest := text("shop.order.OrderCancelled")
	oldest := strings.Replace(newest, reason, "", 1)
	if oldest == newest {
		t.Fatalf("the schema has changed: %s", newest)
	}
	placed := &retail.OrderPlaced{OrderID: "old", Country: "France", Lines: []retail.Line{{Sku: "22423", Quantity: 2, UnitPrice: 2550}}}
	cancelled := (&retail.OrderCancelled{OrderID: "old", Country: "France", Lines: placed.Lines}).AppendAvro(nil)
	events := []archive.Event{
		{Payload: placed.AppendAvro(nil)},
		{PayloadSchema: 1, Payload: cancelled[:len(cancelled)-1]}, // without the branch of the reason, null
	}
	var previous platform.Sha256
	for i := range events {
		meta := platform.Metadata{
			EventID: eventid.Of("order", "old", "c", i), AggregateType: "order", AggregateID: "old", Version: int64(i) + 1,
			At: avro.MillisOf(time.UnixMilli(1_300_000_000_000)), PreviousHash: previous,
		}
		events[i].Metadata = meta.AppendAvro(nil)
		previous = sha256.Sum256(slices.Concat(events[i].Metadata, events[i].Payload))
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "order.avro"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := archive.NewWriter(f, archive.Header{
		Context: "shop", Aggregate: "order", Metadata: []string{text("nexus.Metadata")},
		Events: []string{text("shop.order.OrderPlaced"), oldest},
	})
	for _, e := range events {
		if err == nil {
			err = w.Append(e)
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}

	data := filepath.Join(t.TempDir(), "data")
	nx(t, "events", "import", dir, "--data", data).is(t, 0)
	e := systemtest.Start(t, testTopology(), data)
	all := jsonLines(t, nx(t, "events", "show", "order", "old", "--json", "--server", e.API).is(t, 0).out)
	if _, has := all[1]["data"].(map[string]any)["reason"]; len(all) != 2 || has {
		t.Errorf("events %v", all)
	}
	again := filepath.Join(t.TempDir(), "again")
	nx(t, "events", "export", again, "--server", e.API, "--json").is(t, 0)
	in, err := os.Open(filepath.Join(again, "order.avro"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := archive.NewReader(in, "order.avro")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Header().Events; !slices.Equal(got, []string{oldest, newest, text("shop.order.OrderPlaced")}) {
		t.Errorf("schemas %v", got)
	}
	for i := range events {
		got, err := r.Next()
		if err != nil || !bytes.Equal(got.Payload, events[i].Payload) || !bytes.Equal(got.Metadata, events[i].Metadata) {
			t.Errorf("event %d comes back as %+v, error %v", i, got, err)
		}
	}
}

func TestEventsExport_overwrites_nothing(t *testing.T) {
	dir := exported(t)
	before := tree(t, dir)
	nx(t, "events", "export", dir, "--server", world.API).is(t, 2).has(t, "order.avro", "choose another folder")
	if after := tree(t, dir); after != before {
		t.Errorf("%s\nbefore\n%s", after, before)
	}
	nx(t, "events", "export", filepath.Join(dir, "some"), "--aggregate", "ledger,order", "--server", world.API).is(t, 0)
	entries, err := os.ReadDir(filepath.Join(dir, "some"))
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, error %v", entries, err)
	}
}

// What a killed import left goes with the next one; what somebody works at, and what is no import's, stays.
func TestEventsImport_clears_up_after_one_that_was_killed(t *testing.T) {
	data := filepath.Join(t.TempDir(), "restored")
	begin := func(filled bool) *target {
		t.Helper()
		tg, err := claim(data, testTopology(), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if !filled {
			return tg
		}
		for _, name := range []string{siteNew, siteOld} {
			if err := os.MkdirAll(filepath.Join(tg.site, name, "broker"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		return tg
	}
	living := begin(true)
	defer living.release()
	killed, early := begin(true), begin(false)
	for _, tg := range []*target{killed, early} {
		if err := tg.held.Close(); err != nil { // as the end of its process does
			t.Fatal(err)
		}
	}
	empty, mine := data+".import-1", data+".import-mine"
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := datadir.Open(mine, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.Path("broker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	var out bytes.Buffer
	next, err := claim(data, testTopology(), &out)
	if err != nil {
		t.Fatal(err)
	}
	for gone, why := range map[string]string{killed.site: "which an interrupted import left", early.site: "which an interrupted import left", empty: "which is empty"} {
		if _, err := os.Stat(gone); !os.IsNotExist(err) || !strings.Contains(out.String(), "removed "+gone+", "+why) {
			t.Errorf("%s: %v\n%s", gone, err, &out)
		}
	}
	next.release()
	for path, want := range map[string]int{living.site: 3, mine: 3, next.site: 0} {
		if entries, _ := os.ReadDir(path); len(entries) != want {
			t.Errorf("%s holds %v", path, entries)
		}
	}
}
