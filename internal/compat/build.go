package compat

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// builder turns decoded JSON into nodes and, in the same walk, writes the
// normal form behind [Schema.Fingerprint]: full names, sorted keys, primitives
// in their short spelling.
type builder struct {
	known  map[string]*node // of referenced schemas
	own    map[string]*node
	normal []byte
}

func (b *builder) build(v any, space, at string) (*node, error) {
	switch v := v.(type) {
	case string:
		return b.buildName(v, space, at)
	case []any:
		return b.buildUnion(v, space, at)
	case map[string]any:
		return b.buildObject(v, space, at)
	}
	return nil, fmt.Errorf("at %q: a type is a string, an array or an object", at)
}

func (b *builder) buildName(name, space, at string) (*node, error) {
	if primitives[name] {
		b.writeString(name)
		return &node{kind: name}, nil
	}
	n := b.lookup(qualify(name, space))
	if n == nil {
		n = b.lookup(name) // a name without dots may also mean the null namespace
	}
	if n == nil {
		return nil, fmt.Errorf("at %q: type %.100q is not defined before it is used here", at, name)
	}
	b.writeString(n.name)
	return n, nil
}

func (b *builder) lookup(full string) *node {
	if n := b.own[full]; n != nil {
		return n
	}
	return b.known[full]
}

func (b *builder) buildUnion(branches []any, space, at string) (*node, error) {
	n := &node{kind: "union"}
	b.write("[")
	for i, v := range branches {
		if i > 0 {
			b.write(",")
		}
		branch, err := b.build(v, space, at+"/"+strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		n.branches = append(n.branches, branch)
	}
	b.write("]")
	return n, nil
}

func (b *builder) buildObject(m map[string]any, space, at string) (*node, error) {
	kind, ok := m["type"].(string)
	if !ok {
		return nil, fmt.Errorf("at %q: \"type\" must be a string", at)
	}
	switch kind {
	case "record", "error", "enum", "fixed":
		return b.buildNamed(m, kind, space, at)
	case "array", "map":
		return b.buildContainer(m, kind, space, at)
	}
	return b.buildAnnotated(m, kind, space, at)
}

// buildAnnotated handles a primitive or a reference in object spelling.
func (b *builder) buildAnnotated(m map[string]any, kind, space, at string) (*node, error) {
	if len(m) == 1 {
		return b.buildName(kind, space, at)
	}
	b.write(`{"type":`)
	n, err := b.buildName(kind, space, at)
	if err != nil {
		return nil, err
	}
	if primitives[kind] {
		n.setDecimal(m)
	}
	b.writeRest(m, "type")
	b.write("}")
	return n, nil
}

var itemsKey = map[string]string{"array": "items", "map": "values"}

func (b *builder) buildContainer(m map[string]any, kind, space, at string) (*node, error) {
	key := itemsKey[kind]
	b.write(`{"type":"` + kind + `","` + key + `":`)
	items, err := b.build(m[key], space, at+"/"+key)
	if err != nil {
		return nil, err
	}
	b.writeRest(m, "type", key)
	b.write("}")
	return &node{kind: kind, items: items}, nil
}

func (b *builder) buildNamed(m map[string]any, kind, space, at string) (*node, error) {
	name, _ := m["name"].(string)
	if ns, ok := m["namespace"].(string); ok && !strings.Contains(name, ".") {
		space = ns
	}
	full := qualify(name, space)
	if b.lookup(full) != nil || primitives[full] || full == "" {
		return nil, fmt.Errorf("at %q: name %.100q cannot be defined here: it is empty, a primitive, or defined already", at, full)
	}
	n := &node{kind: kind, name: full}
	if kind == "error" {
		n.kind = "record"
	}
	for _, a := range stringsOf(m["aliases"]) {
		n.aliases = append(n.aliases, qualify(a, namespaceOf(full)))
	}
	b.own[full] = n
	b.write(`{"type":"` + kind + `","name":`)
	b.writeString(full)
	if len(n.aliases) > 0 {
		b.write(`,"aliases":`)
		b.writeJSON(n.aliases)
	}
	if err := b.buildBody(n, m, at); err != nil {
		return nil, err
	}
	b.writeRest(m, "type", "name", "namespace", "aliases", "fields")
	b.write("}")
	return n, nil
}

func (b *builder) buildBody(n *node, m map[string]any, at string) error {
	switch n.kind {
	case "enum":
		n.symbols = stringsOf(m["symbols"])
		_, n.enumDefault = m["default"].(string)
	case "fixed":
		n.size = intOf(m["size"])
		n.setDecimal(m)
	case "record":
		return b.buildFields(n, m, at)
	}
	return nil
}

func (b *builder) buildFields(n *node, m map[string]any, at string) error {
	list, _ := m["fields"].([]any)
	b.write(`,"fields":[`)
	for i, v := range list {
		where := at + "/fields/" + strconv.Itoa(i)
		fm, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("at %q: a field is an object", where)
		}
		if i > 0 {
			b.write(",")
		}
		f, err := b.buildField(fm, namespaceOf(n.name), where)
		if err != nil {
			return err
		}
		n.fields = append(n.fields, f)
	}
	b.write("]")
	return nil
}

func (b *builder) buildField(m map[string]any, space, at string) (field, error) {
	f := field{aliases: stringsOf(m["aliases"])}
	f.name, _ = m["name"].(string)
	_, f.hasDefault = m["default"]
	b.write(`{"name":`)
	b.writeString(f.name)
	b.write(`,"type":`)
	var err error
	if f.typ, err = b.build(m["type"], space, at+"/type"); err != nil {
		return field{}, err
	}
	b.writeRest(m, "name", "type")
	b.write("}")
	return f, nil
}

// setDecimal notes a decimal; the codec's parser has judged its parameters.
func (n *node) setDecimal(m map[string]any) {
	if m["logicalType"] == "decimal" && (n.kind == "bytes" || n.kind == "fixed") {
		n.decimal, n.precision, n.scale = true, intOf(m["precision"]), intOf(m["scale"])
	}
}

func (b *builder) write(s string) { b.normal = append(b.normal, s...) }

// writeString writes a JSON string; most are plain names.
func (b *builder) writeString(s string) {
	plain := func(r rune) bool {
		return r == '_' || r == '.' || ('a' <= r|0x20 && r|0x20 <= 'z') || ('0' <= r && r <= '9')
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		b.writeJSON(s)
		return
	}
	b.normal = append(append(append(b.normal, '"'), s...), '"')
}

func (b *builder) writeJSON(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("compat: decoded JSON does not encode: " + err.Error())
	}
	b.normal = append(b.normal, text...)
}

// writeRest appends the attributes that were not written yet, sorted.
func (b *builder) writeRest(m map[string]any, done ...string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if slices.Contains(done, k) || isDefaultAttribute(k, m[k]) {
			continue
		}
		b.write(",")
		b.writeString(k)
		b.write(":")
		b.writeJSON(m[k])
	}
}

// isDefaultAttribute reports an attribute that says what its absence says.
func isDefaultAttribute(key string, v any) bool {
	if key == "order" {
		return v == "ascending"
	}
	list, ok := v.([]any)
	return key == "aliases" && ok && len(list) == 0
}

func qualify(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}

func stringsOf(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func intOf(v any) int {
	num, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, err := strconv.Atoi(num.String())
	if err != nil {
		return 0
	}
	return i
}
