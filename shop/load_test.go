package shop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/data"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

func mapsKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

const header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

// lines is a source of these CSV lines.
func lines(text ...string) retailcsv.Source {
	content := header + strings.Join(text, "\n") + "\n"
	return retailcsv.Source{Name: "test.csv", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

func load(t testing.TB, s *server, sources ...retailcsv.Source) shop.LoadReport {
	t.Helper()
	report, err := shop.Load(t.Context(), shop.LoadOptions{Server: s.URL, Sources: sources, Patience: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func readFigures(t testing.TB, s *server) shop.Figures {
	t.Helper()
	f, err := shop.ReadFigures(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLoad_TheSixMonthsGiveEveryFigure(t *testing.T) {
	s := newServer(t)
	report := load(t, s)
	if report.Failed > 0 || report.AlreadyThere > 0 || report.Accepted != 8455+1677+651 || report.Events != report.Accepted {
		t.Errorf("report %+v", report)
	}
	before := s.requests
	var text bytes.Buffer
	if err := readFigures(t, s).WriteJSON(&text); err != nil || !bytes.Equal(text.Bytes(), data.Figures) {
		t.Errorf("the figures differ from the shipped ones: %v\n%s", err, text.String())
	}
	if asked := s.requests - before; asked > 8 {
		t.Errorf("the figures took %d requests", asked)
	}
}

func TestLoad_TwiceIsOnce(t *testing.T) {
	s := newServer(t)
	month := shop.Sample("2010-12")
	report := load(t, s, month...)
	t.Run("every read model was waited for", func(t *testing.T) {
		var ends []string
		for part, offset := range s.world.offsets {
			ends = append(ends, fmt.Sprintf("%s/%d", part, offset))
		}
		slices.Sort(ends)
		if want := strings.Join(ends, ","); len(s.waited) < 6 || s.waited[0] != want {
			t.Errorf("waited %d times, first for\n%v\nwant\n%s", len(s.waited), s.waited[:min(1, len(s.waited))], want)
		}
	})
	t.Run("loading again changes nothing", func(t *testing.T) {
		documents := s.world.bytes()
		again := load(t, s, month...)
		if again.Accepted > 0 || again.Failed > 0 || again.Events > 0 || again.AlreadyThere != report.Accepted {
			t.Errorf("report %+v", again)
		}
		sameDocuments(t, documents, s.world.bytes())
	})
	t.Run("not even when the platform has forgotten the commands", func(t *testing.T) {
		documents := s.world.bytes()
		clear(s.world.outcomes)
		again := load(t, s, month...)
		if again.Accepted > 0 || again.Failed > 0 || again.AlreadyThere != report.Accepted {
			t.Errorf("report %+v", again)
		}
		sameDocuments(t, documents, s.world.bytes())
	})
}

func TestLoad_AnyMonthOnItsOwn(t *testing.T) {
	for _, month := range []string{"2010-12", "2011-04"} { // both credit countries that bought nothing
		s := newServer(t)
		load(t, s, shop.Sample(month)...)
		sameFigures(t, figuresOf(t, shop.Sample(month)...), readFigures(t, s))
	}
}

// odd has what the shipped months have not: ledger entries, one product
// written off twice by one document, prices of three decimals in sums.
var odd = lines(
	`1,A,first,3,2011-08-01 08:26:00,0.333,17850.0,EIRE`,
	`2,B,other,3,2011-08-31 23:59:00,0.001,,Malta`,
	`1,A,second,4,2011-09-01 00:00:00,0.333,17850.0,EIRE`,
	`C3,A,first,-3,2011-09-01 08:26:00,0.333,17850.0,Japan`,
	`4,X,lost,-3,2011-09-01 08:26:00,0,,United Kingdom`,
	`4,X,lost,-3,2011-09-01 08:26:00,0,,United Kingdom`,
	`A563185,B,Adjust bad debt,1,2011-08-12 14:50:00,11062.06,,United Kingdom`,
	`A563186,B,Adjust bad debt,1,2011-08-12 14:51:00,-11062.06,,United Kingdom`,
	`A563187,B,Adjust bad debt,1,2011-08-12 14:52:00,-11062.06,,United Kingdom`,
)

func TestLoad_OddInvoices(t *testing.T) {
	s := newServer(t)
	report := load(t, s, odd)
	if report.Accepted != 8 {
		t.Errorf("report %+v", report)
	}
	f := readFigures(t, s)
	sameFigures(t, figuresOf(t, odd), f)
	if f.Adjustments != "-11062.06" || f.Sales != "2.334" || f.SalesByMonth["2011-08"] != "2.334" || f.Skus != 3 {
		t.Errorf("figures %+v", f)
	}
}

func TestReadFigures_OfAnEmptyShop(t *testing.T) {
	f := readFigures(t, newServer(t))
	if f.Sales != "0" || f.LargestOrder != nil || f.Rows != 0 {
		t.Errorf("figures %+v", f)
	}
}

func TestLoad_FaultsOnTheWayChangeNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	chance := func(oneIn int) bool {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(oneIn) == 0
	}
	s := newServer(t)
	s.behind = 4
	refusedModels := false
	s.before = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/api/queries" && !refusedModels:
			refusedModels = true
			problem(w, http.StatusTooManyRequests, "overloaded", "send this one again in a moment")
		case n == 1:
			problem(w, http.StatusServiceUnavailable, "unavailable", "starting")
		case n == 2:
			problem(w, http.StatusRequestEntityTooLarge, "batch-too-large", "send less at once")
		case n == 3:
			w.WriteHeader(http.StatusBadGateway) // a proxy's, without a body
		case chance(10):
			w.Header().Set("Retry-After", "0")
			problem(w, http.StatusTooManyRequests, "overloaded", "send this one again in a moment")
		case chance(20):
			panic(http.ErrAbortHandler)
		default:
			return false
		}
		return true
	}
	s.line = func(string) int {
		switch {
		case chance(400):
			return http.StatusTooManyRequests
		case chance(400): //nolint:gocritic // another throw of the dice
			return http.StatusServiceUnavailable
		case chance(200):
			return http.StatusAccepted
		case chance(1000):
			return -1
		}
		return 0
	}
	month := shop.Sample("2010-12")
	report := load(t, s, month...)
	if report.Failed > 0 || report.Commands() != 1629+326+70 {
		t.Errorf("report %+v", report)
	}
	s.before, s.line = nil, nil
	sameFigures(t, figuresOf(t, month...), readFigures(t, s))
}

func TestLoad_CountsAndListsWhatFails(t *testing.T) {
	s := newServer(t)
	load(t, s, lines(`1,A,,1,2011-08-01 08:26:00,1,,EIRE`))
	changed := []string{`1,A,,2,2011-08-01 08:26:00,1,,EIRE`}
	for n := range 20 {
		changed = append(changed, fmt.Sprintf(`%d,A,,1000,2011-08-01 08:26:00,1000000000,,EIRE`, 100+n))
	}
	var out bytes.Buffer
	report, err := shop.Load(t.Context(), shop.LoadOptions{Server: s.URL, Sources: []retailcsv.Source{lines(append(changed, `2,A,,1,2011-08-01 08:26:00,1,,EIRE`)...)}, Out: &out})
	if err != nil || report.Failed != 21 || report.Accepted != 1 || len(report.Failures) != 10 {
		t.Fatalf("report %+v, error %v", report, err)
	}
	for _, part := range []string{
		"1 accepted, 0 already there, 21 failed",
		"load:order:1: 409 command-id-reused",
		"load:order:100: 400 invalid-command: the command is invalid (too-large at /lines/0/unitPrice: ",
		"and 11 more",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("the output does not say %q:\n%s", part, out.String())
		}
	}
}

func TestLoad_WhatSomebodyElseDidIsAlreadyThere(t *testing.T) {
	s := newServer(t)
	load(t, s, odd)
	renamed := map[string]outcome{}
	for id, out := range s.world.outcomes {
		renamed["other:"+id] = out
	}
	s.world.outcomes = renamed
	if report := load(t, s, odd); report.AlreadyThere != 8 || report.Failed > 0 || report.Accepted > 0 {
		t.Errorf("report %+v", report)
	}
}

func TestLoad_StopsWhereItCannotGoOn(t *testing.T) {
	t.Run("no server", func(t *testing.T) {
		s := newServer(t)
		s.Close()
		_, err := shop.Load(t.Context(), shop.LoadOptions{Server: s.URL, Sources: []retailcsv.Source{odd}, Patience: 300 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "nothing was loaded: asking "+s.URL) || !strings.Contains(err.Error(), "connection refused: start it with nexus dev") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a server that dies in the middle", func(t *testing.T) {
		s := newServer(t)
		var lines atomic.Int64
		s.line = func(string) int {
			if lines.Add(1) == 1500 {
				go s.CloseClientConnections()
				_ = s.Listener.Close()
			}
			return 0
		}
		var out bytes.Buffer
		_, err := shop.Load(t.Context(), shop.LoadOptions{Server: s.URL, Sources: shop.Sample("2010-12"), Out: &out, Patience: 300 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "loading stopped after ") || !strings.Contains(err.Error(), "asking "+s.URL) ||
			!strings.HasSuffix(err.Error(), "start it again and run the same command: it goes on where it stopped") {
			t.Errorf("error %v", err)
		}
		if told := strings.Count(out.String(), "the server does not answer"); told == 0 || !strings.Contains(out.String(), "trying again for 300ms") {
			t.Errorf("it told %d times that the server is gone:\n%s", told, out.String())
		}
	})
	t.Run("a server that takes nothing for a while", func(t *testing.T) {
		s := newServer(t)
		var mu sync.Mutex
		tries := map[string]int{}
		s.line = func(id string) int {
			mu.Lock()
			defer mu.Unlock()
			if tries[id]++; tries[id] <= 6 { // the pauses before the sixth are 775 ms at least, a quarter of the patience less
				return http.StatusServiceUnavailable
			}
			return 0
		}
		var out bytes.Buffer
		report, err := shop.Load(t.Context(), shop.LoadOptions{Server: s.URL, Sources: []retailcsv.Source{odd}, Out: &out, Patience: 3 * time.Second})
		if err != nil || report.Accepted == 0 {
			t.Errorf("report %+v, error %v", report, err)
		}
		if told := strings.Count(out.String(), "503"); told != 1 || !strings.Contains(out.String(), "trying again for 3s") {
			t.Errorf("it told %d times why nothing is taken:\n%s", told, out.String())
		}
	})
	t.Run("another server", func(t *testing.T) {
		s := newServer(t)
		s.before = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "what?", http.StatusNotFound)
			return true
		}
		_, err := shop.Load(t.Context(), shop.LoadOptions{Server: s.URL, Sources: []retailcsv.Source{odd}})
		if err == nil || !strings.Contains(err.Error(), "404 Not Found") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no address", func(t *testing.T) {
		_, err := shop.Load(t.Context(), shop.LoadOptions{Server: "localhost:8080"})
		if err == nil || !strings.Contains(err.Error(), "want one such as http://127.0.0.1:8080") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a broken file", func(t *testing.T) {
		s := newServer(t)
		_, err := shop.Load(t.Context(), shop.LoadOptions{Server: s.URL, Sources: []retailcsv.Source{lines(`1,A,,one,2011-08-01 08:26:00,1,,EIRE`)}})
		var content *retailcsv.Error
		if !errors.As(err, &content) || content.Line != 2 || content.Column != "Quantity" {
			t.Errorf("error %v", err)
		}
	})
	t.Run("an order to stop", func(t *testing.T) {
		s := newServer(t)
		ctx, cancel := context.WithCancel(t.Context())
		s.before = func(int, http.ResponseWriter, *http.Request) bool { cancel(); return false }
		_, err := shop.Load(ctx, shop.LoadOptions{Server: s.URL})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func run(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	var out bytes.Buffer
	for _, c := range shop.Commands() {
		if c.Name() != args[0] {
			continue
		}
		c.SetOut(&out)
		c.SetErr(&out)
		c.SetArgs(args[1:])
		err := c.ExecuteContext(t.Context())
		var exit interface{ ExitCode() int }
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			code = -1
		}
	}
	return out.String(), code
}

func TestCommands(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.csv", header+"1,A,MUG,3,2011-08-01 08:26:00,1.5,17850.0,EIRE\n")
	broken := write("broken.csv", "no header\n")
	changed := write("changed.csv", header+"1,A,MUG,4,2011-08-01 08:26:00,1.5,17850.0,EIRE\n")
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a load", []string{"load", "online-retail", good, "--server", s.URL}, 0, "0 failed\n"},
		{"a load of a change", []string{"load", "online-retail", changed, "--server", s.URL}, 1, "load:order:1: 409"},
		{"a broken file", []string{"load", "online-retail", broken, "--server", s.URL}, 1, "want the header"},
		{"a file that is not", []string{"load", "online-retail", filepath.Join(dir, "none.csv"), "--server", s.URL}, 2, "no such file"},
		{"the help", []string{"load", "online-retail", "--help"}, 0, "nexus load online-retail 2011-06.csv.gz"},
		{"figures of no server", []string{"figures", "--server", "http://127.0.0.1:1"}, 2, "start it with nexus dev, or name another with --server"},
	} {
		if out, code := run(t, c.args...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%s: code %d, want %d, output\n%s", c.name, code, c.code, out)
		}
	}
	if out, code := run(t, "figures", "--json", "--server", s.URL); code != 0 || !strings.Contains(out, `"largest_order": [
  "1",
  "4.50"
 ]`) || !strings.HasPrefix(out, "{\n \"rows\": 1,\n") {
		t.Errorf("figures --json: code %d\n%s", code, out)
	}
	if out, code := run(t, "figures", "--server", s.URL); code != 0 || !strings.Contains(out, "largest order       1 (4.50)") {
		t.Errorf("figures: code %d\n%s", code, out)
	}
}
