package gateway

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/views"
)

// parameter is a query parameter of one route: how it is judged and how the
// OpenAPI document describes it. T collects the values.
type parameter[T any] struct {
	name   string
	doc    string
	schema schema
	// set judges one value and keeps it. Its error is a sentence for the client.
	set func(into *T, value string) error
}

// Codes of faults in parameters.
const (
	faultUnknownParameter  = "unknown-parameter"
	faultRepeatedParameter = "repeated-parameter"
	faultBadParameter      = "invalid-value"
	faultUnknownField      = "unknown-field"
)

// parseParameters judges a query string by the table. What the table does not
// name is offered to other, which may be nil.
func parseParameters[T any](into *T, query string, table []parameter[T], other func(name, value string) (known bool, err error)) *problem {
	if len(query) > queryBytesMax {
		return problemf(codeInvalidParameter, "the query string has %d bytes, at most %d are allowed", len(query), queryBytesMax)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return problemf(codeInvalidParameter, "the query string is not encoded properly: percent-encode what is not a letter or a digit")
	}
	var faults []domain.Fault
	add := func(name, code, detail string) {
		faults = append(faults, domain.Fault{Pointer: "/" + escapePointer(clip(name)), Code: code, Detail: detail})
	}
	for _, name := range sortedNames(values) {
		given := values[name]
		i := slices.IndexFunc(table, func(p parameter[T]) bool { return p.name == name })
		known, err := i >= 0, error(nil)
		switch {
		case len(given) > 1:
			add(name, faultRepeatedParameter, "the parameter "+clip(name)+" stands "+strconv.Itoa(len(given))+" times, once is allowed")
			continue
		case known:
			err = table[i].set(into, given[0])
		case other != nil:
			known, err = other(name, given[0])
		}
		switch {
		case !known && err != nil:
			add(name, faultUnknownField, err.Error())
		case !known:
			add(name, faultUnknownParameter, "there is no parameter "+clip(name)+" here; there are "+strings.Join(parameterNames(table), ", "))
		case err != nil:
			add(name, faultBadParameter, name+" "+err.Error())
		}
	}
	if len(faults) > 0 {
		return faulty(codeInvalidParameter, faults...)
	}
	return nil
}

const queryBytesMax = 16 << 10

func sortedNames(values url.Values) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func parameterNames[T any](table []parameter[T]) []string {
	names := make([]string, len(table))
	for i, p := range table {
		names[i] = p.name
	}
	return names
}

// Bounds of list queries.
const (
	limitDefault     = 20
	waitQueryDefault = 5 * time.Second
	cursorBytesMax   = 4 << 10
)

// waiting is what a query says about how new its answer must be.
type waiting struct {
	position    views.Position
	hasPosition bool
	wait        time.Duration
}

func waitParameter[T any](wait func(*T) *time.Duration) parameter[T] {
	return parameter[T]{
		name:   "wait",
		doc:    "How long to wait for what was asked to be visible, such as 5s or 500ms; at most 30s.",
		schema: schema{"type": "string", "pattern": `^[0-9]+(ms|s)$`, "default": "5s"},
		set: func(into *T, value string) (err error) {
			*wait(into), err = parseWait(value)
			return err
		},
	}
}

func positionParameter[T any](w func(*T) *waiting) parameter[T] {
	return parameter[T]{
		name:   "position",
		doc:    "The answer is no older than this position, which a command's answer gave. Topics of the system that the read model does not read are ignored.",
		schema: schema{"type": "string"},
		set: func(into *T, value string) error {
			position, err := views.ParsePosition(value)
			if err != nil {
				return sentence("must be topic/partition/offset, comma-separated if several")
			}
			w(into).position, w(into).hasPosition = position, true
			return nil
		},
	}
}

// listRequest is a list query.
type listRequest struct {
	waiting
	query ports.Query
}

// documentRequest is a query for one document.
type documentRequest struct{ waiting }

// listParameters makes the parameters of GET /api/queries/{name} besides filters.
func (m *readModel) listParameters() []parameter[listRequest] {
	return []parameter[listRequest]{
		{
			name: "limit", doc: "How many documents a page has.",
			schema: schema{"type": "integer", "minimum": 1, "maximum": ports.SearchLimitMax, "default": limitDefault},
			set: func(r *listRequest, value string) (err error) {
				r.query.Limit, err = parseWhole(value, 1, ports.SearchLimitMax)
				return err
			},
		},
		{
			name: "cursor", doc: "The next of the page before. All other parameters but limit must stay the same.",
			schema: schema{"type": "string", "minLength": 1, "maxLength": cursorBytesMax},
			set: func(r *listRequest, value string) error {
				if value == "" || len(value) > cursorBytesMax {
					return sentence("must be the next of the page before")
				}
				r.query.Cursor = value
				return nil
			},
		},
		{
			name: "sort", doc: "Fields to sort by, comma-separated, the most significant first; - before a field sorts downwards. Equal ones are sorted by id.",
			schema: schema{"type": "string", "pattern": m.sortPattern()},
			set:    func(r *listRequest, value string) (err error) { r.query.Sort, err = m.parseSort(value); return err },
		},
		{
			name: "q", doc: "Words that the document must hold; of the last one the beginning is enough.",
			schema: schema{"type": "string", "maxLength": ports.SearchTextBytesMax},
			set: func(r *listRequest, value string) error {
				if len(value) > ports.SearchTextBytesMax {
					return sentence("has more than %d bytes", ports.SearchTextBytesMax)
				}
				return validText(value, &r.query.Text)
			},
		},
		positionParameter(func(r *listRequest) *waiting { return &r.waiting }),
		waitParameter(func(r *listRequest) *time.Duration { return &r.wait }),
	}
}

// documentParameters are those of GET /api/queries/{name}/{id}.
var documentParameters = []parameter[documentRequest]{
	positionParameter(func(r *documentRequest) *waiting { return &r.waiting }),
	waitParameter(func(r *documentRequest) *time.Duration { return &r.wait }),
}

// parseList judges the query string of a list query.
func (m *readModel) parseList(query string) (*listRequest, *problem) {
	r := &listRequest{waiting: waiting{wait: waitQueryDefault}, query: ports.Query{Limit: limitDefault}}
	no := parseParameters(r, query, m.parameters, func(name, value string) (bool, error) {
		f, known, err := m.parseFilter(name, value)
		if known && err == nil {
			r.query.Filters = append(r.query.Filters, f)
		}
		return known, err
	})
	if no == nil && len(r.query.Filters) > ports.SearchFiltersMax {
		no = problemf(codeInvalidParameter, "the query has %d filters, at most %d are allowed", len(r.query.Filters), ports.SearchFiltersMax)
	}
	return r, no
}

func fault(pointer, detail string) domain.Fault {
	return domain.Fault{Pointer: pointer, Code: faultBadParameter, Detail: detail}
}
