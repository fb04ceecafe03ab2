package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// at is the value at a path of keys, nil if there is none.
func at(v any, keys ...string) any {
	for _, key := range keys {
		switch c := v.(type) {
		case map[string]any:
			v = c[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(c) {
				return nil
			}
			v = c[i]
		default:
			return nil
		}
	}
	return v
}

// text is a scalar as text, "" for all else.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil, map[string]any, []any:
		return ""
	}
	return fmt.Sprint(v)
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// plain turns what YAML has and JSON has not into JSON's values.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = plain(value)
		}
		return v
	case map[any]any: // keys that are no text
		m := map[string]any{}
		for key, value := range v {
			m[fmt.Sprint(key)] = plain(value)
		}
		return m
	case []any:
		for i, value := range v {
			v[i] = plain(value)
		}
		return v
	case time.Time:
		return v.Format(time.RFC3339)
	case float64:
		if v != v || v > 1e308 || v < -1e308 { // JSON has no NaN and no infinity
			return fmt.Sprint(v)
		}
	}
	return v
}
