package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/soak"
	"github.com/nexusblueprint/nexus/shop/data"
)

// The system is killed (-9) at random moments in the middle of a load, again and
// again on one data folder; each time it starts by itself and the load is begun
// anew. In the end every figure is the oracle's and every invariant holds.
func TestKill_in_the_middle_of_a_load_loses_and_doubles_nothing(t *testing.T) {
	rounds := soak.Rounds(t, 40)
	random := soak.Seeded(t)

	n := newNode(t)
	inFlight, inCommit := 0, 0
	// A kill that meets nothing proves nothing: go on until enough have met something.
	for round := 0; round < rounds || inFlight < rounds/4 && round < 3*rounds; round++ {
		e := n.start(t)
		if round > 0 {
			inFlight += count(hitTransaction, n)
			inCommit += count(hitCommit, n)
		}
		load := programtest.Command(context.Background(), "load", "online-retail", "--server", e.API)
		if err := load.Start(); err != nil {
			t.Fatal(err)
		}
		stop := rejections(t, e)
		wait(time.Duration(100+random.IntN(1400)) * time.Millisecond)
		n.Kill(t)
		stop()
		_ = load.Process.Kill() // its server is gone
		_ = load.Wait()
		if round%10 == 9 {
			check(t, n)
		}
	}
	e := n.start(t)
	programtest.Must(t, "load", "online-retail", "--server", e.API)
	sameFigures(t, programtest.Must(t, "figures", "--json", "--server", e.API))
	programtest.Must(t, "check", "--server", e.API)
	n.stop(t)
	t.Logf("%d of %d kills hit a transaction in flight, %d of them in the middle of its commit", inFlight, rounds, inCommit)
	if inFlight < rounds/4 {
		t.Errorf("%d of %d kills hit a transaction in flight: too few to prove anything", inFlight, rounds)
	}
}

// rejections keeps transactions going beside the load, also once everything is
// loaded: commands that the domain rejects leave outcomes but change no figure.
func rejections(t *testing.T, e programtest.Endpoints) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var senders sync.WaitGroup
	for sender := range 32 {
		senders.Go(func() {
			body := fmt.Sprintf(`{"orderId":"never placed %d"}`, sender)
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.API+"/api/commands/CancelOrder", strings.NewReader(body))
				if err != nil {
					return
				}
				req.Header.Set("Content-Type", "application/json")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return // the server is gone
				}
				_ = resp.Body.Close()
			}
		})
	}
	return func() { cancel(); senders.Wait() }
}

var (
	// hitTransaction finds a start that had to end a transaction, either way.
	hitTransaction = regexp.MustCompile(`msg="broker is up".*(decision=completed|aborted=[1-9])`)
	// hitCommit finds one that had to complete a commit that was decided.
	hitCommit = regexp.MustCompile(`msg="broker is up".*decision=completed`)
)

func count(what *regexp.Regexp, n *node) int {
	if what.MatchString(n.Log.String()) {
		return 1
	}
	return 0
}

// check starts the system and demands that all invariants hold.
func check(t *testing.T, n *node) {
	t.Helper()
	e := n.start(t)
	programtest.Must(t, "check", "--server", e.API)
	n.Kill(t)
}

// sameFigures compares with the oracle, numbers as numbers.
func sameFigures(t *testing.T, printed string) {
	t.Helper()
	var want, got map[string]any
	if err := json.Unmarshal(data.Figures, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(printed), &got); err != nil {
		t.Fatalf("figures: %v\n%s", err, printed)
	}
	for key, value := range want {
		if !sameNumber(value, got[key]) {
			t.Errorf("%s is %v, the oracle says %v", key, got[key], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d figures, the oracle has %d", len(got), len(want))
	}
}

func sameNumber(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		other, ok := b.(map[string]any)
		for key, value := range a {
			ok = ok && sameNumber(value, other[key])
		}
		return ok && len(a) == len(other)
	case []any:
		other, ok := b.([]any)
		ok = ok && len(a) == len(other)
		for i := range a {
			ok = ok && sameNumber(a[i], other[i])
		}
		return ok
	}
	x, okX := milli(a)
	y, okY := milli(b)
	if okX && okY {
		return x == y
	}
	return a == b
}

// milli reads a number or a decimal string in thousandths, exactly.
func milli(v any) (int64, bool) {
	switch v := v.(type) {
	case float64:
		return int64(v) * 1000, v == float64(int64(v))
	case string:
		m := regexp.MustCompile(`^(-?)(\d+)(?:\.(\d{1,3}))?$`).FindStringSubmatch(v)
		if m == nil {
			return 0, false
		}
		whole, err := strconv.ParseInt(m[2]+(m[3] + "000")[:3], 10, 64)
		if m[1] == "-" {
			whole = -whole
		}
		return whole, err == nil
	}
	return 0, false
}
