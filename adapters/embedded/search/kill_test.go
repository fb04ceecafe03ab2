package search

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/ports"
)

const (
	childPath = "NEXUS_SEARCH_TEST_CHILD" // makes this test binary a writer into that file
	killDocs  = 50                        // documents that every batch raises by one version
)

// killBatch is batch b: killDocs documents at version b and one new, all with the batch's number in their text.
func killBatch(b uint64) []ports.Document {
	var docs []ports.Document
	for i := range killDocs {
		doc := testDoc(i, b)
		doc.Text = fmt.Sprintf("batch%d thing", b)
		docs = append(docs, doc)
	}
	once := testDoc(0, 1)
	once.ID = fmt.Sprintf("once-%d", b)
	once.Values[1] = nil
	return append(docs, once)
}

// writeUntilKilled goes on after the last batch stored, and says each number once it is written.
func writeUntilKilled(path string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	s, _, err := Open(ctx, Config{Path: path})
	fail(err)
	s.scanMax = 0
	_, err = s.EnsureIndex(ctx, testSpec)
	fail(err)
	_, err = s.Search(ctx, testSpec.Name, ports.Query{Sort: []ports.Sort{{Field: "units"}}, Limit: 1}) // makes a column index
	fail(err)
	doc, _, err := s.Get(ctx, testSpec.Name, testDoc(0, 1).ID)
	fail(err)
	for b := doc.Version + 1; ; b++ {
		_, err := s.Bulk(ctx, testSpec.Name, killBatch(b))
		fail(err)
		fmt.Println(b)
	}
}

// A kill -9 at any moment leaves whole batches: all that were acknowledged, at most one more, and nothing to be refilled.
func TestStore_SurvivesKills(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	path := newPath(t)
	s, _ := openAt(t, path)
	shut(t, s)
	for round := range 8 {
		acked := killWriter(t, path, time.Duration(r.Int64N(int64(60*time.Millisecond))))
		t.Run(fmt.Sprintf("round %d, %d batches", round, acked), func(t *testing.T) {
			s, report := openAt(t, path)
			if report.Recreated {
				t.Fatalf("report %+v", report)
			}
			checkBatches(t, s, acked)
		})
	}
}

// killWriter starts a writer, kills it some time after its first batch, and returns the last batch it acknowledged.
func killWriter(t *testing.T, path string, after time.Duration) (acked uint64) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childPath+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if acked, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Errorf("writer: %s", lines.Text())
		}
		if kill == nil {
			kill = time.AfterFunc(after, func() { _ = child.Process.Kill() })
			defer kill.Stop()
		}
	}
	_ = child.Wait() // killed
	if acked == 0 {
		t.Fatal("the writer wrote nothing")
	}
	return acked
}

func checkBatches(t *testing.T, s *Store, acked uint64) {
	t.Helper()
	search := func(q ports.Query) ports.Page {
		t.Helper()
		q.Limit = killDocs + 1
		page, err := s.Search(t.Context(), testSpec.Name, q)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	last, _, err := s.Get(t.Context(), testSpec.Name, testDoc(0, 1).ID)
	if err != nil || last.Version < acked || last.Version > acked+1 {
		t.Fatalf("at version %d %v, want %d or one more", last.Version, err, acked)
	}
	whole := search(ports.Query{Filters: []ports.Filter{{Field: "units", Op: ports.OpGte, Value: int64(last.Version) * 1000}}})
	if whole.Total != killDocs {
		t.Errorf("%d documents at version %d, want %d", whole.Total, last.Version, killDocs)
	}
	if page := search(ports.Query{Text: fmt.Sprintf("thing batch%d", last.Version)}); page.Total != killDocs {
		t.Errorf("%d documents have the text of version %d, want %d", page.Total, last.Version, killDocs)
	}
	if page := search(ports.Query{Text: fmt.Sprintf("batch%d ", last.Version-1) + "thing"}); page.Total != 0 {
		t.Errorf("%d documents have the text of version %d still", page.Total, last.Version-1)
	}
	if n := count(t, s); n != killDocs+int64(last.Version) {
		t.Errorf("%d documents, want %d", n, killDocs+last.Version)
	}
}
