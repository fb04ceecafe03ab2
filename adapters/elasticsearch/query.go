package elasticsearch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// plan is a checked query as Elasticsearch is asked it.
type plan struct {
	body     object
	limit    int
	identity []byte
}

// alive is the condition that every search of documents has.
var alive = []object{{"term": object{"deleted": true}}}

// newPlan checks the query against the index.
func newPlan(ix *index, q ports.Query) (*plan, error) {
	if err := searchstore.CheckQuery(ix.spec, q); err != nil {
		return nil, err
	}
	folded, count := searchstore.Fold(q.Text)
	sort := sortOf(ix, q, count > 0)
	p := &plan{limit: q.Limit, identity: searchstore.Identity("elasticsearch 1", ix.spec, q)}
	p.body = object{
		"size":             q.Limit + 1, // one more tells whether there is another page
		"track_total_hits": true,
		"version":          true,
		"_source":          []string{"json"},
		"query":            object{"bool": object{"filter": conditions(q, strings.Fields(folded)), "must_not": alive}},
		"sort":             sort,
	}
	if q.Cursor == "" {
		return p, nil
	}
	place, err := searchstore.OpenCursor(q.Cursor, p.identity)
	if err != nil {
		return nil, err
	}
	// Anybody can make a cursor with a right checksum; what goes to the server is a list of plain values all the same.
	var values []jsontext.Value
	if json.Unmarshal(place, &values) != nil || len(values) != len(sort) || slices.ContainsFunc(values, notPlain) {
		return nil, fmt.Errorf("%w: it does not fit the order asked for: start again without a cursor", ports.ErrBadCursor)
	}
	p.body["search_after"] = values
	return p, nil
}

func notPlain(v jsontext.Value) bool {
	kind := v.Kind()
	return kind != 'n' && kind != '0' && kind != '"'
}

// conditions are those of the filters and of the words: all of them, and of the last one the beginning.
func conditions(q ports.Query, words []string) []object {
	all := []object{}
	for _, f := range q.Filters {
		field, value := "values."+f.Field, native(f.Value)
		if f.Op == ports.OpEq {
			all = append(all, object{"term": object{field: value}})
		} else {
			all = append(all, object{"range": object{field: object{string(f.Op): value}}})
		}
	}
	for i, w := range words {
		switch {
		case i == len(words)-1:
			all = append(all, object{"prefix": object{"text": w}})
		case slices.Index(words, w) == i: // Elasticsearch bounds the number of conditions: none twice
			all = append(all, object{"term": object{"text": w}})
		}
	}
	return all
}

// sortOf is the order: that of the query, or the share that the words make up of the text; then the id.
func sortOf(ix *index, q ports.Query, text bool) []object {
	var terms []object
	for _, by := range q.Sort {
		order := "asc"
		if by.Desc {
			order = "desc"
		}
		terms = append(terms, object{"values." + by.Field: object{"order": order, "missing": "_last"}})
		if whole(ix.spec.Fields[searchstore.Place(ix.spec, by.Field)].Kind) {
			terms = append(terms, object{"edges." + by.Field: object{"order": "asc", "missing": "_last"}})
		}
	}
	if text && len(terms) == 0 {
		// Every document found holds every word: the shorter its text, the more of it they make up. Elasticsearch's own score
		// moves with every write of any document, and pages with it.
		terms = append(terms, object{"words": "asc"})
	}
	return append(terms, object{"id": "asc"})
}
