package gateway

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/bodyhash"
	"github.com/nexusblueprint/nexus/ports"
)

// FuzzCommand sends any body as every command. What is let through is right in
// itself, and its hash is that of the bytes the processor will see; what is not
// is answered with a body that can be read.
func FuzzCommand(f *testing.F) {
	f.Add([]byte(placeOrder))
	f.Add([]byte(`{"sku":"a","description":"","quantity":1,"reference":"r"}`))
	f.Add([]byte(`{"entryId":"A1","adjustedAt":"2011-08-12T14:50:00Z","amount":"-11062.06","description":"Adjust bad debt"}`))
	f.Add([]byte(`{"orderId":"\ud800"}`))
	f.Add([]byte(strings.Repeat(`{"lines":[`, 40)))
	r := newRig(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range r.kinds {
			o, no := kind.decode(body, "k", expectation{}, nil)
			if no != nil {
				if no.status() != http.StatusBadRequest || len(no.faults) == 0 {
					t.Errorf("%s: %d %s with %d faults", kind.short, no.status(), no.detail, len(no.faults))
				}
				if text := append(no.appendMembers([]byte{'{'}), '}'); !json.Valid(text) || !utf8.Valid(text) {
					t.Errorf("%s: the answer cannot be read: %q", kind.short, text)
				}
				continue
			}
			if faults := kind.aggregate.Validate(o.command); len(faults) > 0 {
				t.Errorf("%s: let through with %v", kind.short, faults)
			}
			if faults := domain.ValidID(o.aggregateID); len(faults) > 0 {
				t.Errorf("%s: let through with id %q: %v", kind.short, o.aggregateID, faults)
			}
			if seen := bodyhash.Sum(kind.full, 0, 0, o.command.AppendAvro(nil)); seen != o.hash {
				t.Errorf("%s: hash %x, the processor's is %x", kind.short, o.hash, seen)
			}
		}
	})
}

// FuzzBatch sends any body as a batch: a readable answer per command, in the
// order of the lines, and nothing logged that was refused by the gateway.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(place("1") + "\n\n" + place("2")))
	f.Add([]byte(`{"type":"CancelOrder","id":"k","expectedVersion":1,"command":{"orderId":"1"}}` + "\r\n{"))
	f.Add([]byte("{}\n[]\nnull\n\"\"\n"))
	r := newRig(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		before := r.commandsSent()
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, request(http.MethodPost, batchPath, string(body), "Content-Type", "application/x-ndjson"))
		if rec.Code != http.StatusOK {
			t.Fatalf("status %d", rec.Code)
		}
		last, logged := int64(0), 0
		for line := range strings.SplitSeq(strings.TrimSuffix(rec.Body.String(), "\n"), "\n") {
			if line == "" {
				continue
			}
			var a struct {
				Line   int64  `json:"line"`
				Status int    `json:"status"`
				Type   string `json:"type"`
			}
			if err := json.Unmarshal([]byte(line), &a); err != nil || a.Line <= last || a.Status < 200 || a.Type == "" {
				t.Fatalf("after line %d: %v: %s", last, err, line)
			}
			last = a.Line
			switch a.Status {
			case http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge:
			default:
				logged++
			}
		}
		if n := r.commandsSent() - before; n > logged {
			t.Errorf("%d commands were logged, only %d answered so", n, logged)
		}
	})
}

// FuzzQueryParams sends any query string to every read model: what is let
// through keeps the store's bounds and types.
func FuzzQueryParams(f *testing.F) {
	for _, seed := range []string{
		"limit=5&cursor=x&sort=-unitsSold,sku&q=a&position=a/1/2&wait=5s", "filter[sales][gte]=1.5&filter[onHand]=-3", "filter[placedAt][lt]=2011-01-01T00:00:00Z",
		"%zz", "a;b", "filter[", "filter[]=", "filter[a][b][c]=", "limit=1&limit=2",
	} {
		f.Add(seed)
	}
	r := newRig(f)
	f.Fuzz(func(t *testing.T, query string) {
		for _, m := range r.models {
			got, no := m.parseList(query)
			if no != nil {
				if no.status() != http.StatusBadRequest || no.detail == "" {
					t.Errorf("%s: %d %q", m.Name, no.status(), no.detail)
				}
				if text := append(no.appendMembers([]byte{'{'}), '}'); !json.Valid(text) || !utf8.Valid(text) {
					t.Errorf("%s: the answer cannot be read: %q", m.Name, text)
				}
				continue
			}
			q := got.query
			if q.Limit < 1 || q.Limit > ports.SearchLimitMax || len(q.Text) > ports.SearchTextBytesMax || !utf8.ValidString(q.Text) ||
				len(q.Sort) > ports.SearchSortMax || len(q.Filters) > ports.SearchFiltersMax || got.wait < 0 || got.wait > waitMax {
				t.Errorf("%s: out of bounds: %+v", m.Name, got)
			}
			for _, s := range q.Sort {
				if !slices.Contains(m.names, s.Field) {
					t.Errorf("%s: sorts by %q", m.Name, s.Field)
				}
			}
			for _, filter := range q.Filters {
				if kind, ok := m.kindOf(filter.Field); !ok || !typed(kind, filter.Value) {
					t.Errorf("%s: filter %+v", m.Name, filter)
				}
			}
		}
	})
}

func typed(kind ports.Kind, value any) (ok bool) {
	switch kind {
	case ports.KindKeyword:
		_, ok = value.(string)
	case ports.KindLong, ports.KindMoney, ports.KindTimestamp:
		_, ok = value.(int64)
	case ports.KindDouble:
		_, ok = value.(float64)
	case ports.KindBool:
		_, ok = value.(bool)
	}
	return ok
}
