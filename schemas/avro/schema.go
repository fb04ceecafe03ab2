package avro

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind is the shape of a schema.
type Kind uint8

// The kinds of the Avro specification.
const (
	KindNull Kind = iota
	KindBoolean
	KindInt
	KindLong
	KindFloat
	KindDouble
	KindBytes
	KindString
	KindRecord
	KindEnum
	KindArray
	KindMap
	KindFixed
	KindUnion
)

var kindNames = [...]string{
	"null", "boolean", "int", "long", "float", "double", "bytes", "string",
	"record", "enum", "array", "map", "fixed", "union",
}

// String returns the kind's name in Avro, such as "long".
func (k Kind) String() string { return kindNames[k] }

// The logical types the platform knows. Others are kept as attributes and change nothing.
const (
	// LogicalTimestamp on a long is [Millis], in JSON an RFC 3339 string.
	LogicalTimestamp = "timestamp-millis"
	// LogicalMoney on a long is [Milli], in JSON a decimal string.
	LogicalMoney = "money-milli"
	// LogicalUUID on a fixed of 16 bytes is [UUID], in JSON its canonical text.
	LogicalUUID = "uuid"
)

// MaxLengthDefault bounds a string, bytes or map key that comes in as JSON, unless the attribute maxLength says
// another number: characters of a string, bytes of bytes.
const MaxLengthDefault = 10_000

// Schema is a parsed schema, compiled for [JSONToAvro] and [AppendJSON]. It is immutable and safe for
// concurrent use. What its methods return belongs to it and must not be changed.
type Schema struct {
	kind      Kind
	logical   string // one of the Logical constants and on the right kind, else ""
	name      string // full name of a record, enum or fixed
	doc       string
	attrs     []Attribute // sorted by name
	fields    []Field
	symbols   []string
	items     *Schema   // of an array or map; of a union of null and one type, that type
	branches  []*Schema // of a union
	nullIndex int64     // of a union of null and one type; else -1
	size      int       // of a fixed
	maxLength int
	least     int // bytes that the shortest value takes, capped at leastMax; leastUnknown while parsing
}

// Attribute is a property of a schema or field that Avro itself does not define, or that only tools read:
// owner, personal, subject, logicalType, maxLength, aliases.
type Attribute struct {
	// Name is its name, Value its compact JSON text.
	Name, Value string
}

// Field is a field of a record.
type Field struct {
	// Name and Doc are as in the schema.
	Name, Doc string
	// Schema is the declared type, with null where the field is nullable.
	Schema *Schema
	// Default is the compact JSON text of the default in Avro's own form, "" where there is none.
	Default string

	attrs  []Attribute
	preset []byte // the default in Avro
}

// Kind returns the shape of s.
func (s *Schema) Kind() Kind { return s.kind }

// Logical returns one of the Logical constants, or "".
func (s *Schema) Logical() string { return s.logical }

// Name returns the full name of a record, enum or fixed, such as "shop.order.OrderPlaced"; else "".
func (s *Schema) Name() string { return s.name }

// Doc returns the doc of a record, enum or fixed.
func (s *Schema) Doc() string { return s.doc }

// Owner returns the attribute owner: the team that answers for the schema.
func (s *Schema) Owner() string { return textOf(s.attrs, "owner") }

// Subject returns the attribute subject: the name of the field that holds the id of the data subject.
func (s *Schema) Subject() string { return textOf(s.attrs, "subject") }

// Attribute returns the JSON text of an attribute, "" where s has none of that name.
func (s *Schema) Attribute(name string) string { return valueOf(s.attrs, name) }

// Attributes returns all attributes, sorted by name.
func (s *Schema) Attributes() []Attribute { return s.attrs }

// Fields returns the fields of a record in the order of the schema.
func (s *Schema) Fields() []Field { return s.fields }

// Field returns the field of a record by name, or nil.
func (s *Schema) Field(name string) *Field {
	i := slices.IndexFunc(s.fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &s.fields[i]
}

// Symbols returns the symbols of an enum.
func (s *Schema) Symbols() []string { return s.symbols }

// Items returns the type of the items of an array or the values of a map, else nil.
func (s *Schema) Items() *Schema {
	if s.kind == KindArray || s.kind == KindMap {
		return s.items
	}
	return nil
}

// Branches returns the types of a union, else nil.
func (s *Schema) Branches() []*Schema { return s.branches }

// Nullable reports whether s is a union of null and one other type.
func (s *Schema) Nullable() bool { return s.kind == KindUnion && s.nullIndex >= 0 }

// NonNull returns the other type of a union of null and one type, and s itself for everything else.
func (s *Schema) NonNull() *Schema {
	if s.Nullable() {
		return s.items
	}
	return s
}

// Size returns the number of bytes of a fixed.
func (s *Schema) Size() int { return s.size }

// MaxLength returns the greatest length of a string (characters) or bytes (bytes) that JSON may bring in.
func (s *Schema) MaxLength() int { return s.maxLength }

// Type returns the type of the field without null.
func (f *Field) Type() *Schema { return f.Schema.NonNull() }

// Nullable reports whether the field may be null.
func (f *Field) Nullable() bool { return f.Schema.Nullable() }

// Optional reports whether the field may be left out of a JSON body because it has a default.
func (f *Field) Optional() bool { return f.Default != "" }

// Personal reports whether the field holds personal data: the attribute personal is true.
func (f *Field) Personal() bool { return valueOf(f.attrs, "personal") == "true" }

// Attribute returns the JSON text of an attribute, "" where the field has none of that name.
func (f *Field) Attribute(name string) string { return valueOf(f.attrs, name) }

// Attributes returns all attributes, sorted by name.
func (f *Field) Attributes() []Attribute { return f.attrs }

func valueOf(attrs []Attribute, name string) string {
	for _, a := range attrs {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

func textOf(attrs []Attribute, name string) string {
	s, err := unquote(valueOf(attrs, name))
	if err != nil {
		return ""
	}
	return s
}

// MinBytes returns the number of bytes that the shortest value takes, 0 for null and records of nothing.
func (s *Schema) MinBytes() int { return s.least }

// Aliases returns the full names that a record, enum or fixed went by before.
func (s *Schema) Aliases() []string {
	raw := s.Attribute("aliases")
	if raw == "" {
		return nil
	}
	items, _ := elements(jsontext.Value(raw))
	space, _ := splitName(s.name)
	var out []string
	for _, item := range items {
		if name, err := unquote(string(item)); err == nil {
			out = append(out, qualify(name, space))
		}
	}
	return out
}
