package searchstore

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/nexusblueprint/nexus/ports"
)

// Place is the place of a field in spec.Fields, -1 if it has none of this name.
func Place(spec ports.IndexSpec, field string) int {
	return slices.IndexFunc(spec.Fields, func(f ports.Field) bool { return f.Name == field })
}

// CheckQuery names the first rule that the query breaks, its cursor left aside; it wraps ports.ErrBadQuery.
func CheckQuery(spec ports.IndexSpec, q ports.Query) error {
	if q.Limit < 1 || q.Limit > ports.SearchLimitMax {
		return fmt.Errorf("%w: limit %d is not between 1 and %d", ports.ErrBadQuery, q.Limit, ports.SearchLimitMax)
	}
	if len(q.Filters) > ports.SearchFiltersMax || len(q.Sort) > ports.SearchSortMax || len(q.Text) > ports.SearchTextBytesMax {
		return fmt.Errorf("%w: more than %d filters, %d sort fields or %d bytes of text", ports.ErrBadQuery,
			ports.SearchFiltersMax, ports.SearchSortMax, ports.SearchTextBytesMax)
	}
	if !utf8.ValidString(q.Text) {
		return fmt.Errorf("%w: the text is not UTF-8", ports.ErrBadQuery)
	}
	for _, f := range q.Filters {
		if err := checkFilter(spec, f); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for _, by := range q.Sort {
		if Place(spec, by.Field) < 0 || seen[by.Field] {
			return fmt.Errorf("%w: %s has no field %q to sort by, or it is named twice", ports.ErrBadQuery, spec.Name, by.Field)
		}
		seen[by.Field] = true
	}
	return nil
}

func checkFilter(spec ports.IndexSpec, f ports.Filter) error {
	i := Place(spec, f.Field)
	if i < 0 {
		return fmt.Errorf("%w: %s has no field %q to filter by", ports.ErrBadQuery, spec.Name, f.Field)
	}
	switch f.Op {
	case ports.OpEq, ports.OpGt, ports.OpGte, ports.OpLt, ports.OpLte:
	default:
		return fmt.Errorf("%w: field %s cannot be compared by %q", ports.ErrBadQuery, f.Field, f.Op)
	}
	if err := checkValue(spec.Fields[i].Kind, f.Value); err != nil {
		return fmt.Errorf("%w: filter of field %s: %w", ports.ErrBadQuery, f.Field, err)
	}
	return nil
}
