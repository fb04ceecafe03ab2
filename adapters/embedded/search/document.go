package search

import "github.com/nexusblueprint/nexus/ports"

// stored is the value of field i as SQLite keeps it: nil, string, int64 or float64.
func (ix *index) stored(doc *ports.Document, i int) any {
	if doc.Deleted {
		return nil
	}
	return native(doc.Values[i])
}

func native(v any) any {
	if b, ok := v.(bool); ok {
		if b {
			return int64(1)
		}
		return int64(0)
	}
	return v
}

func storedJSON(doc *ports.Document) any {
	if doc.Deleted {
		return nil
	}
	return doc.JSON
}
