package portstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/ports"
)

var searchFaultCases = []searchCase{
	{"a call whose context has ended does nothing and says so", func(t *searchTest) {
		t.ensure()
		t.write(plain("a", 1, ""))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		spec := ports.IndexSpec{Name: t.index, Fields: []ports.Field{{Name: "units", Kind: ports.KindLong}}}
		for call, err := range t.everyCall(ctx, spec, []ports.Document{plain("a", 2, "")}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: error %v, want %v", call, err, context.Canceled)
			}
		}
		t.holds("a", 1, `{"v":1}`)
	}},
	{"a write that is cancelled leaves each document as it was or as it should be, and can be sent again", func(t *searchTest) {
		t.ensure()
		const rounds, each = 20, 200
		before := map[string]uint64{}
		for version := uint64(1); version <= rounds; version++ {
			var docs []ports.Document
			for i := range each {
				docs = append(docs, plain(fmt.Sprint(i), version, "red lamp"))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(10_000))*time.Microsecond)
			results, err := t.store.Bulk(ctx, t.index, docs)
			cancel()
			if err != nil && results != nil {
				t.Errorf("a write that failed (%v) has results", err)
			}
			if err := t.store.Refresh(t.Context(), t.index); err != nil {
				t.Fatal(err)
			}
			for i, r := range results {
				if r == (ports.ItemResult{}) {
					before[docs[i].ID] = version
				}
			}
			for _, doc := range t.search(ports.Query{Limit: each}).Documents {
				if doc.Version < before[doc.ID] || doc.Version > version || string(doc.JSON) != string(plain("", doc.Version, "").JSON) {
					t.Errorf("round %d: %s has version %d, %s, after version %d", version, doc.ID, doc.Version, doc.JSON, before[doc.ID])
				}
				before[doc.ID] = doc.Version
			}
		}
		for i := range each {
			t.bulk(plain(fmt.Sprint(i), rounds, "red lamp"))
			t.holds(fmt.Sprint(i), rounds, fmt.Sprintf(`{"v":%d}`, rounds))
			if i == 3 {
				break // one by one is slow
			}
		}
	}},
	{"a document as large as may be comes back, and a larger one is rejected", func(t *searchTest) {
		t.ensure()
		json := bytes.Repeat([]byte(`"é"`), ports.SearchJSONBytesMax/4)
		large := ports.Document{ID: "a", Version: 1, JSON: json}
		t.write(plain("b", 1, ""), large, plain("c", 1, ""))
		doc, ok, err := t.store.Get(t.Context(), t.index, "a")
		if err != nil || !ok || !bytes.Equal(doc.JSON, json) {
			t.Errorf("get: %v %v %d bytes, want %d as they were", err, ok, len(doc.JSON), len(json))
		}
		large.Version, large.JSON = 2, append(json, '"', '"', '"', '"', ' ')[:ports.SearchJSONBytesMax+1]
		wordy := ports.Document{ID: "c", Version: 2, JSON: []byte(`{}`), Text: strings.Repeat("x", ports.SearchJSONBytesMax+1)}
		r := t.bulk(plain("b", 2, ""), large, wordy, plain("d", 1, ""))
		if !errors.Is(r[1].Err, ports.ErrRejected) || !errors.Is(r[2].Err, ports.ErrRejected) {
			t.Errorf("larger: errors %v and %v, want %v", r[1].Err, r[2].Err, ports.ErrRejected)
		}
		if r[0] != (ports.ItemResult{}) || r[3] != (ports.ItemResult{}) {
			t.Errorf("neighbours: %+v and %+v, want both written", r[0], r[3])
		}
		t.holds("c", 1, `{"v":1}`)
	}},
	{"of several writers of one document the highest version stays", func(t *searchTest) {
		t.ensure()
		const writers, rounds = 4, 25
		var writing sync.WaitGroup
		var mu sync.Mutex
		highest, written := uint64(0), 0
		for w := range writers {
			writing.Go(func() {
				for i := range uint64(rounds) {
					version := i*writers + uint64(w) + 1
					doc := plain("a", version, "")
					doc.Deleted = version%7 == 0
					results, err := t.store.Bulk(t.Context(), t.index, []ports.Document{doc})
					if err != nil || results[0].Err != nil {
						t.Errorf("version %d: %+v %v", version, results, err)
						return
					}
					mu.Lock()
					if !results[0].Stale {
						highest, written = max(highest, version), written+1
					} else if highest < version && i == rounds-1 && w == writers-1 {
						t.Errorf("version %d, the highest of all, is stale", version)
					}
					mu.Unlock()
				}
			})
		}
		writing.Wait()
		if err := t.store.Refresh(t.Context(), t.index); err != nil {
			t.Fatal(err)
		}
		if highest != writers*rounds || written == 0 {
			t.Errorf("version %d is the highest that was written, want %d", highest, writers*rounds)
		}
		t.holds("a", writers*rounds, fmt.Sprintf(`{"v":%d}`, writers*rounds))
		t.counts(1)
	}},
}

// everyCall makes each call of a store once and returns their errors.
func (t *searchTest) everyCall(ctx context.Context, spec ports.IndexSpec, docs []ports.Document) map[string]error {
	t.Helper()
	_, errEnsure := t.store.EnsureIndex(ctx, spec)
	results, errBulk := t.store.Bulk(ctx, t.index, docs)
	if results != nil {
		t.Errorf("bulk: results %+v beside error %v", results, errBulk)
	}
	errRefresh := t.store.Refresh(ctx, t.index)
	_, _, errGet := t.store.Get(ctx, t.index, "a")
	_, errSearch := t.store.Search(ctx, t.index, ports.Query{Limit: 1})
	_, errCount := t.store.Count(ctx, t.index)
	return map[string]error{
		"ensure": errEnsure, "bulk": errBulk, "refresh": errRefresh, "get": errGet, "search": errSearch, "count": errCount,
	}
}

// SearchOutage is how a suite takes a store away and brings it back.
type SearchOutage struct {
	Stop  func()                   // it answers no more
	Start func() ports.SearchStore // it is there again with what was written; perhaps as another value
}

// SearchStoreOutage checks what an adapter says while its store is away, while somebody writes, and that everything that
// was said to be written is there when it is back.
func SearchStoreOutage(t *testing.T, store ports.SearchStore, outage SearchOutage) {
	t.Helper()
	s := &searchTest{T: t, store: store, index: "outage.v1"}
	s.ensure()
	s.write(plain("a", 1, "red"), plain("b", 1, "red"), deleted("c", 5))
	held := s.writeUntilError(outage.Stop)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for call, err := range s.everyCall(ctx, ports.IndexSpec{Name: s.index}, []ports.Document{plain("a", 2, "")}) {
		if err == nil || errors.Is(err, ports.ErrNoIndex) || errors.Is(err, ports.ErrRejected) || errors.Is(err, ports.ErrBadQuery) || ctx.Err() != nil {
			t.Errorf("%s while the store is away: error %v, want one that may pass, in time", call, err)
		}
	}

	s.store = outage.Start()
	deadline := time.Now().Add(2 * time.Minute)
	for empty, err := s.store.EnsureIndex(t.Context(), ports.IndexSpec{Name: s.index}); ; empty, err = s.store.EnsureIndex(t.Context(), ports.IndexSpec{Name: s.index}) {
		if err == nil && empty {
			t.Fatal("the index is empty after an outage")
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the store does not come back: %v", err)
		}
	}
	s.holds("a", 1, `{"v":1}`)
	doc, ok, err := s.store.Get(t.Context(), s.index, "w")
	if err != nil || !ok || doc.Version < held {
		t.Errorf("version %d was said to be written, the store has %d (%v)", held, doc.Version, err)
	}
	if r := s.bulk(plain("c", 4, "")); !r[0].Stale {
		t.Errorf("version 4 over delete 5, after the outage: %+v, want stale", r[0])
	}
	s.write(plain("a", 2, "blue"), plain("w", 1<<40, ""))
	s.finds(ports.Query{Text: "red"}, "b")
	s.counts(3)
}

// writeUntilError raises the version of one document all the time, stops the store meanwhile, and returns the last version
// that was said to be written.
func (t *searchTest) writeUntilError(stop func()) (held uint64) {
	t.Helper()
	begun, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for v := uint64(1); ; v++ {
			results, err := t.store.Bulk(t.Context(), t.index, []ports.Document{plain("w", v, "")})
			if err != nil || results[0].Err != nil {
				break
			}
			held = v
			if v == 3 {
				close(begun)
			}
		}
	}()
	<-begun
	stop()
	<-done
	return held
}
