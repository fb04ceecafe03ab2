package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// RecordName is the full name of a file's record: an event with its metadata.
const RecordName = "nexus.RecordedEvent"

// fileSchema is the schema of a file's records, for readers that know nothing of
// this program. A schema may define a name only once; where the log has several
// versions of a record, the older keeps the name and the others get _v2, _v3.
// Names have no part in the encoding, so the bytes fit all the same.
func fileSchema(h Header) (string, error) {
	m := merger{taken: map[string]bool{RecordName: true}, emitted: map[string]string{}}
	metadata, err := m.union(h.Metadata)
	if err != nil {
		return "", err
	}
	events, err := m.union(h.Events)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{
		"type": "record", "name": RecordName, "doc": "An event as it was recorded, with its metadata.",
		"fields": []any{
			map[string]any{"name": "metadata", "type": metadata, "doc": "What stands beside the event in the log."},
			map[string]any{"name": "event", "type": events, "doc": "The event."},
		},
	})
	return string(text), err
}

// merger puts schemas side by side into one.
type merger struct {
	taken   map[string]bool   // names given out
	emitted map[string]string // by definition: the name it was given
}

// union is one schema, or the union of several.
func (m *merger) union(texts []string) (any, error) {
	var branches []any
	for _, text := range texts {
		var schema any
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&schema); err != nil {
			return nil, fmt.Errorf("schema %.60q: %w", text, err)
		}
		v := version{merger: m, definitions: map[string]string{}, names: map[string]string{}}
		v.identify(schema)
		branches = append(branches, v.emit(schema))
	}
	if len(branches) == 1 {
		return branches[0], nil
	}
	return branches, nil
}

// version is one self-contained schema on its way into the merged one.
type version struct {
	*merger
	definitions map[string]string // by full name: the hash of the definition and all others it uses
	names       map[string]string // by full name: the name in the merged schema
}

func fullName(definition map[string]any) (name string, named bool) {
	switch definition["type"] {
	case "record", "error", "enum", "fixed":
	default:
		return "", false
	}
	name, _ = definition["name"].(string)
	if space, _ := definition["namespace"].(string); space != "" && !strings.Contains(name, ".") {
		name = space + "." + name
	}
	return name, true
}

// identify gathers the definitions of a schema and returns the schema's text
// with each name replaced by its definition's hash, save where it uses itself.
func (v *version) identify(schema any) string {
	switch s := schema.(type) {
	case string:
		if d, ok := v.definitions[s]; ok {
			return d
		}
		return s
	case []any:
		parts := make([]string, len(s))
		for i, branch := range s {
			parts[i] = v.identify(branch)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		return v.identifyObject(s)
	}
	return ""
}

func (v *version) identifyObject(s map[string]any) string {
	name, named := fullName(s)
	if named {
		v.definitions[name] = name
	}
	flat := map[string]any{}
	for key, value := range s {
		switch key {
		case "items", "values", "type":
			flat[key] = v.identify(value)
		case "fields":
			flat[key] = v.identifyFields(value)
		default:
			flat[key] = value
		}
	}
	text, _ := json.Marshal(flat) // it was JSON
	if !named {
		return string(text)
	}
	// A hash stays short where definitions use each other many times over.
	sum := sha256.Sum256(text)
	v.definitions[name] = hex.EncodeToString(sum[:])
	return v.definitions[name]
}

func (v *version) identifyFields(fields any) (texts []string) {
	all, _ := fields.([]any)
	for _, field := range all {
		f, _ := field.(map[string]any)
		flat := map[string]any{}
		for key, value := range f {
			flat[key] = value
		}
		flat["type"] = v.identify(f["type"])
		text, _ := json.Marshal(flat)
		texts = append(texts, string(text))
	}
	return texts
}

// emit returns the schema with the names of the merged one.
func (v *version) emit(schema any) any {
	switch s := schema.(type) {
	case string:
		if name, ok := v.names[s]; ok {
			return name
		}
		return s
	case []any:
		branches := make([]any, len(s))
		for i, branch := range s {
			branches[i] = v.emit(branch)
		}
		return branches
	case map[string]any:
		return v.emitObject(s)
	}
	return schema
}

func (v *version) emitObject(s map[string]any) any {
	out := map[string]any{}
	if name, named := fullName(s); named {
		definition := v.definitions[name]
		if known, ok := v.emitted[definition]; ok {
			v.names[name] = known
			v.adopt(s)
			return known
		}
		given := v.free(name)
		v.emitted[definition], v.names[name] = given, given
		out["name"] = given
	}
	for key, value := range s {
		switch key {
		case "name", "namespace":
		case "items", "values", "type":
			out[key] = v.emit(value)
		case "fields":
			all, _ := value.([]any)
			fields := make([]any, len(all))
			for i, field := range all {
				f, _ := field.(map[string]any)
				copied := map[string]any{}
				for k, x := range f {
					copied[k] = x
				}
				copied["type"] = v.emit(f["type"])
				fields[i] = copied
			}
			out[key] = fields
		default:
			out[key] = value
		}
	}
	return out
}

// adopt learns the names of the definitions inside one that is left out because
// the merged schema has it: what follows may refer to them.
func (v *version) adopt(s map[string]any) {
	all, _ := s["fields"].([]any)
	for _, field := range all {
		if f, ok := field.(map[string]any); ok {
			v.emit(f["type"])
		}
	}
}

func (v *version) free(name string) string {
	given := name
	for n := 2; v.taken[given]; n++ {
		given = fmt.Sprintf("%s_v%d", name, n)
	}
	v.taken[given] = true
	return given
}
