package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
)

// These answers a healthy server on one machine does not give: they are played to the adapter.

// played is a store whose index x.v1 exists, on a server that answers bulk requests so.
func played(t *testing.T, bulk http.HandlerFunc) *Store {
	t.Helper()
	server := serve(t, "7.17.28", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/_bulk"):
			bulk(w, r)
		case strings.HasSuffix(r.URL.Path, "/_refresh"):
			fmt.Fprint(w, `{"_shards":{"total":1,"successful":1,"failed":0}}`)
		case strings.HasSuffix(r.URL.Path, "/_search"):
			fmt.Fprint(w, `{"hits":{"total":{"value":1,"relation":"eq"},"hits":[]}}`)
		default:
			fmt.Fprint(w, `{"x.v1~g":{"mappings":{"_meta":{"nexus":{"layout":1,"fields":[]}}}}}`)
		}
	})
	s := openAt(t, server.URL)
	if _, err := s.EnsureIndex(t.Context(), ports.IndexSpec{Name: "x.v1"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func docs(n int) []ports.Document {
	all := make([]ports.Document, n)
	for i := range all {
		all[i] = ports.Document{ID: fmt.Sprint(i), Version: 1, JSON: []byte(`{}`)}
	}
	return all
}

func TestBulk_ItemAnswers(t *testing.T) {
	s := played(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"items":[{"index":{"status":200}},{"index":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"older"}}},
			{"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"bad"}}},
			{"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"queue full"}}},
			{"index":{"status":503,"error":{"type":"unavailable_shards_exception","reason":"primary shard is not active"}}},
			{"index":{"status":403,"error":{"type":"cluster_block_exception","reason":"read-only"}}}]}`)
	})
	r, err := s.Bulk(t.Context(), "x.v1", docs(6))
	if err != nil {
		t.Fatal(err)
	}
	if r[0] != (ports.ItemResult{}) || r[1] != (ports.ItemResult{Stale: true}) || !errors.Is(r[2].Err, ports.ErrRejected) {
		t.Errorf("written, stale, rejected: %+v", r[:3])
	}
	for i := 3; i < 6; i++ {
		if r[i].Err == nil || errors.Is(r[i].Err, ports.ErrRejected) {
			t.Errorf("item %d: %+v, want an error that may pass", i, r[i])
		}
	}
	if !errors.Is(r[3].Err, ErrUnavailable) || !strings.Contains(r[3].Err.Error(), "queue full") {
		t.Errorf("429: %v", r[3].Err)
	}
}

func TestBulk_TriesAgainAfter429(t *testing.T) {
	var calls atomic.Int32
	s := played(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) < triesMax {
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"error":{"type":"circuit_breaking_exception","reason":"Data too large"},"status":429}`)
			return
		}
		fmt.Fprint(w, `{"items":[{"index":{"status":201}}]}`)
	})
	if r, err := s.Bulk(t.Context(), "x.v1", docs(1)); err != nil || r[0] != (ports.ItemResult{}) {
		t.Errorf("after %d calls: %+v %v", calls.Load(), r, err)
	}
	calls.Store(-100)
	if r, err := s.Bulk(t.Context(), "x.v1", docs(1)); !errors.Is(err, ErrUnavailable) || r != nil || calls.Load() != triesMax-100 {
		t.Errorf("refused each time, after %d calls: %+v %v", calls.Load()+100, r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s = played(t, func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	if _, err := s.Bulk(ctx, "x.v1", docs(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled between two tries: %v", err)
	}
}

func TestBulk_DocumentLargerThanTheServerTakes(t *testing.T) {
	s := played(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 16<<20 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		fmt.Fprint(w, `{"items":[{"index":{"status":201}}]}`)
	})
	all := docs(2)
	all[1].JSON = []byte(`"` + strings.Repeat("x", 17<<20) + `"`)
	r, err := s.Bulk(t.Context(), "x.v1", all[1:])
	if err != nil || !errors.Is(r[0].Err, ports.ErrRejected) || !strings.Contains(r[0].Err.Error(), "http.max_content_length") {
		t.Errorf("%+v %v", r, err)
	}
	if r, err = s.Bulk(t.Context(), "x.v1", all); err != nil || r[0] != (ports.ItemResult{}) || !errors.Is(r[1].Err, ports.ErrRejected) {
		t.Errorf("beside a small one: %+v %v", r, err)
	}
}

func TestBulk_AnswerOfAnotherLength(t *testing.T) {
	s := played(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[{"index":{"status":201}}]}`) })
	if r, err := s.Bulk(t.Context(), "x.v1", docs(2)); err == nil || r != nil {
		t.Errorf("%+v %v", r, err)
	}
}
