package elasticsearch

import (
	"context"
	"fmt"
	"slices"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// layout is raised when documents come to lie otherwise in an index. An index of another layout is emptied by who writes
// it, as if it had other fields.
const layout = 1

// index is one generation of an index.
type index struct {
	spec     ports.IndexSpec
	concrete string // the index that the alias spec.Name stands for
	layout   int
}

// writes is the alias through which the generation is written.
func (ix *index) writes() string { return ix.concrete + "~w" }

func (ix *index) same(spec ports.IndexSpec) bool {
	return ix.layout == layout && slices.Equal(ix.spec.Fields, spec.Fields)
}

// meta is what the mapping says of itself.
type meta struct {
	Nexus *metaNexus `json:"nexus"`
}

type metaNexus struct {
	Layout int         `json:"layout"`
	Fields []metaField `json:"fields"`
}

type metaField struct {
	Name string     `json:"name"`
	Kind ports.Kind `json:"kind"`
}

func metaOf(spec ports.IndexSpec) meta {
	m := metaNexus{Layout: layout, Fields: []metaField{}}
	for _, f := range spec.Fields {
		m.Fields = append(m.Fields, metaField(f))
	}
	return meta{&m}
}

type object map[string]any

// settings of the index; the package's documentation says why.
var settings = object{
	"number_of_shards":     1,
	"auto_expand_replicas": "0-1",
	"refresh_interval":     "-1",
	"translog.durability":  "request",
}

// mapping of an index with these fields.
func mapping(spec ports.IndexSpec) object {
	values, edges := object{}, object{}
	for _, f := range spec.Fields {
		values[f.Name] = object{"type": typeOf(f.Kind)}
		if whole(f.Kind) {
			edges[f.Name] = object{"type": "byte", "index": false}
		}
	}
	return object{
		"dynamic": "strict",
		"_meta":   metaOf(spec),
		"properties": object{
			"id":      object{"type": "keyword", "index": false},
			"json":    object{"type": "object", "enabled": false},
			"values":  object{"properties": values},
			"edges":   object{"properties": edges},
			"text":    object{"type": "text", "analyzer": "whitespace", "norms": false, "index_options": "docs"},
			"words":   object{"type": "integer", "index": false},
			"deleted": object{"type": "boolean", "doc_values": false},
		},
	}
}

// typeOf is Elasticsearch's type for a kind.
func typeOf(kind ports.Kind) string {
	switch kind {
	case ports.KindKeyword:
		return "keyword"
	case ports.KindDouble:
		return "double"
	case ports.KindBool:
		return "byte" // of a boolean the form of sort values and ranges differs from version to version
	default:
		return "long"
	}
}

// whole says whether values of the kind fill all 64 bits.
func whole(kind ports.Kind) bool { return typeOf(kind) == "long" }

// lookup asks the cluster which index the alias stands for.
// Errors: ErrNoIndex, ErrForeign.
func (s *Store) lookup(ctx context.Context, name string) (*index, error) {
	if !searchstore.ValidName(name) {
		return nil, fmt.Errorf("%w: %q", ports.ErrNoIndex, name)
	}
	found := map[string]struct {
		Mappings struct {
			Meta meta `json:"_meta"`
		} `json:"mappings"`
	}{}
	request := esapi.IndicesGetRequest{Index: []string{name}, FilterPath: []string{"*.mappings._meta", "*.aliases"}}
	if err := s.client.do(ctx, request, &found); err != nil {
		return nil, fmt.Errorf("looking up index %s: %w", name, err)
	}
	for concrete, at := range found {
		m := at.Mappings.Meta.Nexus
		if m == nil || concrete == name || len(found) > 1 {
			return nil, fmt.Errorf("%w: %q is an index or alias that something else made (%s): remove it, or rename the read model", ErrForeign, name, concrete)
		}
		ix := &index{concrete: concrete, layout: m.Layout, spec: ports.IndexSpec{Name: name}}
		for _, f := range m.Fields {
			ix.spec.Fields = append(ix.spec.Fields, ports.Field(f))
		}
		return ix, nil
	}
	return nil, fmt.Errorf("%w: %q", ports.ErrNoIndex, name)
}
