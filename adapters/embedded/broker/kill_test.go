package broker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/soak"
)

const killInputs = 2000 // records per partition

// TestKill kills a process at seeded random moments around commits, produces, repairs and compactions, and compares:
// every input is in both outputs once or in none, as the group's offset says, and the table holds the latest value.
func TestKill(t *testing.T) {
	rounds := soak.Rounds(t, 40)
	rng := soak.Seeded(t)
	var dir string
	var seen kills
	for round := range rounds {
		if round%40 == 0 { // before the inputs run out
			dir = t.TempDir()
			prepareKill(t, dir)
		}
		o := order{Dir: dir, Mode: []string{"limit", "endtxn", "produce", "limit", "start", "endtxn", "limit", "produce"}[round%8], Seed: rng.Uint64(), TxnID: "fixed"}
		if round%3 > 0 {
			o.TxnID = fmt.Sprint("fresh-", round)
		}
		runChild(t, o, &seen)
		if round%40 == 19 || round%40 == 39 {
			checkKill(t, dir, round+1)
		}
		if t.Failed() {
			t.Fatalf("stopped after round %d, %+v", round, o)
		}
	}
	t.Logf("%d kills: %+v", rounds, seen)
	if seen.InStart == 0 || seen.Completed < rounds/6 || seen.Aborted == 0 || seen.Compacted == 0 {
		t.Errorf("the kills missed what they are for: %+v", seen)
	}
}

// kills counts what the starts after the kills found.
type kills struct {
	Completed    int // commits of which markers were missing
	OffsetsMoved int
	Aborted      int // starts that ended open transactions
	Indexes      int // rebuilt
	Cut          int // torn ends
	Compacted    int // partitions
	InStart      int // kills inside a repair or compaction
}

func prepareKill(t *testing.T, dir string) {
	t.Helper()
	b := openBroker(t, Config{Dir: dir, tune: narrow})
	for _, name := range []string{"in", "a", "b"} {
		b.createTopic(t, name, killParts, nil)
	}
	b.createTopic(t, "table", killParts, map[string]string{"cleanup.policy": "compact"})
	cl := b.client(t, kgo.MaxBufferedRecords(50_000))
	for i := range killInputs {
		for p := range int32(killParts) {
			cl.Produce(t.Context(), record("in", p, "", fmt.Sprintf("%d-%d", p, i)), func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if i%2 == 1 { // two to a batch
			if err := cl.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeBroker(t, b)
}

func runChild(t *testing.T, o order, seen *kills) {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "BROKER_TEST_CHILD="+string(raw))
	cmd.Stderr = testWriter{t}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stuck := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	defer stuck.Stop()
	reported := false
	for sc := bufio.NewScanner(out); sc.Scan(); {
		line := sc.Text()
		if j, ok := strings.CutPrefix(line, "report "); ok {
			var r Report
			if err := json.Unmarshal([]byte(j), &r); err != nil {
				t.Fatal(err)
			}
			seen.add(r)
			reported = true
		} else {
			t.Errorf("child %+v says: %s", o, line)
		}
	}
	if !reported {
		seen.InStart++
	}
	err = cmd.Wait()
	if s := cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGKILL {
		t.Errorf("child %+v ended otherwise than by its kill after %v: %v", o, time.Since(began), err)
	}
}

func (k *kills) add(r Report) {
	if r.Decision == DecisionCompleted {
		k.Completed++
	}
	k.OffsetsMoved += min(1, r.OffsetsMoved)
	k.Aborted += min(1, r.AbortMarkers)
	k.Indexes += r.IndexesRebuilt
	k.Cut += int(min(1, r.CutBytes))
	k.Compacted += r.Compacted.Partitions
}

// checkKill opens a copy of the folder: a check is not a repair of the kill before it.
func checkKill(t *testing.T, dir string, round int) {
	t.Helper()
	b := openBroker(t, Config{Dir: copyDir(t, dir), tune: eager})
	defer closeBroker(t, b)
	opts := b.ClientOpts()
	offsets, err := kadm.NewClient(b.client(t)).FetchOffsets(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	in, a, bb, table := readAll(t, opts, "in"), readAll(t, opts, "a"), readAll(t, opts, "b"), readAll(t, opts, "table")
	done := 0
	for p := range int32(killParts) {
		if len(in[p]) != killInputs {
			t.Errorf("after %d kills, partition %d: %d inputs of %d", round, p, len(in[p]), killInputs)
		}
		o, _ := offsets.Lookup("in", p)
		want := inputsBelow(in[p], o.At)
		done += len(want)
		for topic, rs := range map[string][]*kgo.Record{"a": a[p], "b": bb[p]} {
			if diff := compareValues(want, rs); diff != "" {
				t.Errorf("after %d kills, %s/%d against offset %d: %s", round, topic, p, o.At, diff)
			}
		}
		last := map[string]string{}
		for _, r := range want {
			last[fmt.Sprint(r.Offset%5)] = string(r.Value)
		}
		for _, r := range table[p] {
			if last[string(r.Key)] == string(r.Value) {
				delete(last, string(r.Key))
			}
		}
		if len(last) > 0 {
			t.Errorf("after %d kills, table/%d lacks %v", round, p, last)
		}
	}
	t.Logf("after %d kills: %d of %d inputs done", round, done, killParts*killInputs)
}

func inputsBelow(in []*kgo.Record, offset int64) []*kgo.Record {
	for i, r := range in {
		if r.Offset >= offset {
			return in[:i]
		}
	}
	return in
}

// compareValues says how an output differs from the inputs that are done.
func compareValues(want, got []*kgo.Record) string {
	n := map[string]int{}
	for _, r := range got {
		n[string(r.Value)]++
	}
	for _, r := range want {
		if c := n[string(r.Value)]; c != 1 {
			return fmt.Sprintf("input %s is there %d times", r.Value, c)
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d records of %d inputs", len(got), len(want))
	}
	return ""
}
