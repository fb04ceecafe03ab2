package avro

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// memberList holds the members of a JSON object that nobody has taken yet.
type memberList map[string]jsontext.Value

func members(raw jsontext.Value) (memberList, error) {
	if raw.Kind() != '{' {
		return nil, fmt.Errorf("%s is no object", raw)
	}
	m := memberList{}
	var key string
	err := each(raw, func(v jsontext.Value) error {
		if key == "" {
			k, err := unquote(string(v))
			key = "k" + k // never empty, so that the empty key is a key
			return err
		}
		m[key[1:]], key = v, ""
		return nil
	})
	return m, err
}

func elements(raw jsontext.Value) (out []jsontext.Value, err error) {
	if raw.Kind() != '[' {
		return nil, errors.New("not an array")
	}
	err = each(raw, func(v jsontext.Value) error {
		out = append(out, v)
		return nil
	})
	return out, err
}

// each calls f with every value within a JSON array or object, keys included.
func each(raw jsontext.Value, f func(jsontext.Value) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' && d.PeekKind() != '}' {
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := f(v.Clone()); err != nil {
			return err
		}
	}
	return nil
}

// take removes a member and returns its value, nil if there is none.
func (m memberList) take(name string) jsontext.Value {
	v := m[name]
	delete(m, name)
	return v
}

// text takes a member that is a string, "" if there is none.
func (m memberList) text(name string) (string, error) {
	v := m.take(name)
	if v == nil {
		return "", nil
	}
	s, err := unquote(string(v))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// attributes returns what was not taken, sorted by name.
func (m memberList) attributes() []Attribute {
	var out []Attribute
	for k, v := range m {
		out = append(out, Attribute{Name: k, Value: string(v)})
	}
	slices.SortFunc(out, func(a, b Attribute) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// fullName reads the name of a definition without taking it. space is the enclosing namespace.
func (m memberList) fullName(space string) (string, error) {
	name, err := unquote(string(m["name"]))
	if err != nil {
		return "", fmt.Errorf("name: %w", err)
	}
	if own, ok := m["namespace"]; ok {
		if space, err = unquote(string(own)); err != nil {
			return "", fmt.Errorf("namespace: %w", err)
		}
	}
	full := qualify(name, space)
	for part := range strings.SplitSeq(full, ".") {
		if !isName(part) {
			return "", fmt.Errorf("name %q: each part must be letters, digits and underscores and not start with a digit", full)
		}
	}
	return full, nil
}

func qualify(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}

// splitName returns the namespace and the simple name of a full name.
func splitName(full string) (space, name string) {
	i := strings.LastIndexByte(full, '.')
	return full[:max(i, 0)], full[i+1:]
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
		if !letter && (i == 0 || !isDigit(c)) {
			return false
		}
	}
	return s != ""
}

// unquote returns the text of a JSON string.
func unquote(raw string) (string, error) {
	if raw == "" || raw[0] != '"' {
		return "", errors.New("not a string")
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	return string(b), err
}
