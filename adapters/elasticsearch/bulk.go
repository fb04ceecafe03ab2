package elasticsearch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// requestBytes is how large a bulk request gets. Elasticsearch's documentation advises a few MB; a larger document goes
// alone, so that a server that does not take it refuses no other with it.
const requestBytes = 4 << 20

// Bulk writes the documents, in one request or in several of some megabytes.
func (s *Store) Bulk(ctx context.Context, name string, docs []ports.Document) ([]ports.ItemResult, error) {
	ix, err := s.writable(name)
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	results := make([]ports.ItemResult, len(docs))
	b := &batch{store: s, ix: ix, results: results}
	for i := range docs {
		if results[i].Err = searchstore.CheckDocument(ix.spec.Fields, &docs[i]); results[i].Err != nil {
			continue
		}
		if len(b.body)+len(docs[i].JSON)+len(docs[i].Text) > requestBytes {
			err = b.send(ctx)
		}
		if err == nil {
			err = b.add(i, &docs[i])
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = b.send(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("writing %d documents to index %s: %w", len(docs), name, s.lost(ix, err))
	}
	return results, nil
}

// batch is one call of Bulk under way.
type batch struct {
	store   *Store
	ix      *index
	results []ports.ItemResult
	body    []byte // of the next request
	items   []int  // places in results of the documents in it
}

// add appends a checked document to the next request.
func (b *batch) add(i int, doc *ports.Document) error {
	q := quoter{out: b.body}
	q.raw(`{"index":{"_id":`)
	q.text(doc.ID)
	q.raw(`,"version":` + strconv.FormatUint(doc.Version, 10) + `,"version_type":"external"}}` + "\n" + `{"id":`)
	q.text(doc.ID)
	if doc.Deleted {
		q.raw(`,"deleted":true`)
	} else {
		q.document(b.ix.spec.Fields, doc)
	}
	q.raw("}\n")
	if q.err != nil {
		return fmt.Errorf("document %q: %w", doc.ID, q.err)
	}
	b.body, b.items = q.out, append(b.items, i)
	return nil
}

// quoter writes JSON.
type quoter struct {
	out []byte
	err error
}

func (q *quoter) raw(s string) { q.out = append(q.out, s...) }

func (q *quoter) text(s string) {
	out, err := jsontext.AppendQuote(q.out, s)
	q.out, q.err = out, errors.Join(q.err, err)
}

func (q *quoter) document(fields []ports.Field, doc *ports.Document) {
	q.raw(`,"json":`)
	out, err := jsontext.AppendQuote(q.out, doc.JSON)
	q.out, q.err = out, errors.Join(q.err, err)
	folded, words := searchstore.Fold(doc.Text)
	q.raw(`,"words":` + strconv.Itoa(words))
	if words > 0 {
		q.raw(`,"text":`)
		q.text(folded)
	}
	var edges strings.Builder
	comma := ""
	q.raw(`,"values":{`)
	for i, f := range fields {
		v := doc.Values[i]
		if v == nil {
			continue
		}
		q.raw(comma + `"` + f.Name + `":`) // a name has nothing to escape
		q.value(v)
		comma = ","
		if v == int64(math.MaxInt64) || v == int64(math.MinInt64) {
			if edges.Len() > 0 {
				edges.WriteString(",")
			}
			edges.WriteString(`"` + f.Name + `":1`)
		}
	}
	q.raw(`}`)
	if edges.Len() > 0 {
		q.raw(`,"edges":{` + edges.String() + `}`)
	}
}

func (q *quoter) value(v any) {
	switch v := native(v).(type) {
	case string:
		q.text(v)
	case int64:
		q.out = strconv.AppendInt(q.out, v, 10)
	case float64:
		q.out = strconv.AppendFloat(q.out, v, 'g', -1, 64)
	}
}

// native is a value as Elasticsearch keeps it: string, int64 or float64.
func native(v any) any {
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case float64:
		if v == 0 {
			return 0.0 // Elasticsearch tells -0 from 0, and sorts it before
		}
	}
	return v
}

// bulkAnswer says for each item of a request what became of it.
type bulkAnswer struct {
	Items []struct {
		Index struct {
			Status int `json:"status"`
			Error  struct {
				Type   string `json:"type"`
				Reason string `json:"reason"`
			} `json:"error"`
		} `json:"index"`
	} `json:"items"`
}

// send sends the next request, if there is anything in it.
func (b *batch) send(ctx context.Context) error {
	if len(b.items) == 0 {
		return nil
	}
	var got bulkAnswer
	err := b.store.client.do(ctx, esapi.BulkRequest{
		Index: b.ix.writes(), RequireAlias: new(true), Body: bytes.NewReader(b.body),
		FilterPath: []string{"items.*.status", "items.*.error.type", "items.*.error.reason"},
	}, &got)
	var refused *answerError
	if errors.As(err, &refused) && refused.Status == http.StatusRequestEntityTooLarge && len(b.items) == 1 {
		b.results[b.items[0]].Err = fmt.Errorf("%w: %w", ports.ErrRejected, err)
		err = nil
	} else if err == nil {
		err = b.settle(got)
	}
	b.body, b.items = b.body[:0], b.items[:0]
	return err
}

// settle notes what became of each document.
func (b *batch) settle(got bulkAnswer) error {
	if len(got.Items) != len(b.items) {
		return fmt.Errorf("elasticsearch answered %d items to a bulk request of %d", len(got.Items), len(b.items))
	}
	for i, item := range got.Items {
		status := item.Index.Status
		err := &answerError{Status: status, Type: item.Index.Error.Type, Reason: item.Index.Error.Reason}
		result := &b.results[b.items[i]]
		switch {
		case status < http.StatusMultipleChoices:
		case status == http.StatusConflict:
			result.Stale = true
		case err.missing():
			return err // and so are all others
		case status == http.StatusBadRequest:
			result.Err = fmt.Errorf("%w: %w", ports.ErrRejected, err)
		default:
			result.Err = err
		}
	}
	return nil
}
