package shop_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// server speaks the platform's HTTP contract over a world, so far as the
// shop's subcommands use it. It refuses what the contract does not know.
type server struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	world    *world
	requests int
	waited   []string // positions that queries waited for
	behind   int      // so many waits more are answered 503

	// before may answer a request itself. n counts requests from 1.
	before func(n int, w http.ResponseWriter, r *http.Request) (answered bool)
	// line may answer a line in the server's place: a status instead of handling
	// it, 202 after handling it, 0 for the usual, -1 to end the connection.
	line func(id string) int
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, world: newWorld()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/commands", s.batch)
	mux.HandleFunc("GET /api/commands/{id}", s.outcome)
	mux.HandleFunc("GET /api/queries", s.models)
	mux.HandleFunc("GET /api/queries/{model}", s.query)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		n := s.requests
		s.mu.Unlock()
		if s.before == nil || !s.before(n, w, r) {
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"about:blank","title":"no","status":%d,"code":%q,"detail":%q}`, status, code, detail)
}

func (s *server) batch(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/x-ndjson" {
		problem(w, http.StatusUnsupportedMediaType, "unsupported-media-type", "want NDJSON")
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		answer := s.handle(lines.Bytes())
		if answer == nil {
			panic(http.ErrAbortHandler)
		}
		answer["line"] = n
		text, err := json.Marshal(answer)
		if err != nil {
			s.t.Error(err)
		}
		w.Write(append(text, '\n'))
		if n%100 == 0 {
			w.(http.Flusher).Flush()
		}
	}
}

// handle answers one line; nil means that the connection breaks here.
func (s *server) handle(raw []byte) map[string]any {
	var line struct {
		Type, ID string
		Command  json.RawMessage
	}
	if err := json.Unmarshal(raw, &line); err != nil {
		s.t.Errorf("the loader sent a bad line: %v: %.200s", err, raw)
	}
	injected := 0
	if s.line != nil {
		injected = s.line(line.ID)
	}
	switch injected {
	case 0, http.StatusAccepted:
	case -1:
		return nil
	default:
		return map[string]any{"status": injected, "code": "injected", "detail": "injected by the test"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, name, ok := s.world.topology.AggregateOfCommand(line.Type)
	if !ok {
		s.t.Errorf("the loader sent the unknown command %s", line.Type)
	}
	entry := s.world.topology.Schemas.Find(name)
	encoded, faults := avro.JSONToAvro(nil, entry.Schema(), line.Command)
	if len(faults) > 0 {
		return map[string]any{"status": 400, "code": "invalid-command", "detail": "the command is invalid", "errors": faults}
	}
	command := entry.New().(domain.Command)
	if err := command.DecodeAvro(encoded); err != nil {
		s.t.Error(err)
	}
	out, replayed, reused := s.world.handle(line.ID, command)
	if reused {
		return map[string]any{"status": 409, "code": "command-id-reused", "detail": "the id was used for another command"}
	}
	if injected == http.StatusAccepted {
		return map[string]any{"status": 202, "commandId": line.ID}
	}
	answer := out.answer(line.ID)
	if replayed {
		answer["replayed"] = true
	}
	return answer
}

func (o outcome) answer(id string) map[string]any {
	switch {
	case len(o.faults) > 0:
		var errors []map[string]string
		for _, f := range o.faults {
			errors = append(errors, map[string]string{"pointer": f.Pointer, "code": f.Code, "detail": f.Detail})
		}
		return map[string]any{"status": 400, "code": "invalid-command", "detail": "the command is invalid", "errors": errors, "commandId": id}
	case o.no != nil:
		return map[string]any{"status": 422, "code": o.no.Code, "detail": o.no.Detail, "commandId": id}
	}
	events := []map[string]any{}
	for _, e := range o.events {
		events = append(events, map[string]any{"type": topology.ShortName(e.AvroName())})
	}
	return map[string]any{"status": 201, "commandId": id, "events": events, "position": o.position}
}

func (s *server) outcome(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	out, ok := s.world.outcomes[id]
	switch {
	case !ok:
		problem(w, http.StatusNotFound, "unknown-command-id", "no outcome is known under this id")
	case !out.wasPending: // the first time it is asked for
		out.wasPending = true
		s.world.outcomes[id] = out
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"commandId":%q,"status":202}`, id)
	default:
		json.NewEncoder(w).Encode(out.answer(id))
	}
}

func (s *server) models(w http.ResponseWriter, _ *http.Request) {
	var items []map[string]any
	for _, p := range s.world.topology.Projections {
		items = append(items, map[string]any{"name": p.Name(), "version": p.Version()})
	}
	json.NewEncoder(w).Encode(map[string]any{"items": items})
}

func (s *server) query(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	docs, ok := s.world.documents[r.PathValue("model")]
	if !ok {
		problem(w, http.StatusNotFound, "unknown-read-model", "there is no such read model")
		return
	}
	q := r.URL.Query()
	for name := range q {
		if !slices.Contains([]string{"limit", "cursor", "sort", "position", "wait", "filter[status]"}, name) {
			problem(w, http.StatusBadRequest, "invalid-parameter", "unknown parameter "+name)
			return
		}
	}
	if q.Has("position") {
		if s.behind > 0 {
			s.behind--
			problem(w, http.StatusServiceUnavailable, "behind", "not there yet")
			return
		}
		s.waited = append(s.waited, q.Get("position"))
		docs = nil // who waits does not look at documents
	}
	items := s.items(docs, q)
	total := len(items)
	limit, _ := strconv.Atoi(q.Get("limit"))
	if limit < 1 || limit > 1000 {
		problem(w, http.StatusBadRequest, "invalid-parameter", "limit")
		return
	}
	start, _ := strconv.Atoi(q.Get("cursor"))
	end := min(start+limit, total)
	var next any
	if end < total {
		next = strconv.Itoa(end)
	}
	json.NewEncoder(w).Encode(map[string]any{"items": items[start:end], "total": total, "next": next, "lag": 0, "lagRecords": 0, "position": ""})
}

// items are the documents as JSON objects, filtered and sorted.
func (s *server) items(docs map[string]domain.Record, q url.Values) []map[string]any {
	items := []map[string]any{}
	for _, key := range slices.Sorted(mapsKeys(docs)) {
		shown, err := avro.ReadDocument(s.world.topology.Schemas.Find(docs[key].AvroName()).Schema(), docs[key].AppendAvro(nil))
		if err != nil {
			s.t.Error(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(shown.JSON))
		decoder.UseNumber()
		item := map[string]any{}
		if err := decoder.Decode(&item); err != nil {
			s.t.Error(err)
		}
		if status := q.Get("filter[status]"); status == "" || item["status"] == status {
			items = append(items, item)
		}
	}
	slices.SortStableFunc(items, func(a, b map[string]any) int {
		for field := range strings.SplitSeq(q.Get("sort"), ",") {
			name, down := strings.CutPrefix(field, "-")
			if c := compareValues(a[name], b[name]); c != 0 && down {
				return -c
			} else if c != 0 {
				return c
			}
		}
		return 0
	})
	return items
}

// compareValues compares money and numbers as numbers, else as texts.
func compareValues(a, b any) int {
	x, y := fmt.Sprint(a), fmt.Sprint(b)
	m, err1 := avro.ParseMilli(x)
	n, err2 := avro.ParseMilli(y)
	if err1 == nil && err2 == nil {
		return int(max(-1, min(1, m-n)))
	}
	return strings.Compare(x, y)
}
