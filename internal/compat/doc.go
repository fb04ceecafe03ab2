// Package compat says whether data written with one Avro schema can be read
// with another, and why not.
//
// It is used by the embedded registry before a version is stored, and, without
// a server, by the schema checks of the command line and the policies. It
// works on text, knows nothing of Kafka or HTTP and keeps no state.
//
// [Check] follows "Schema Resolution" of the Avro specification 1.12 as a
// reader must live it, for every value the writer could write, not for the
// values it happens to write:
//
//   - Named types match by unqualified name or by one of the reader's aliases
//     (a full name). Promotions are int→long→float→double and string↔bytes.
//   - A writer's field is found by the reader field's name or aliases. Two
//     written fields that one reader field would answer to are refused:
//     implementations disagree about which of them wins.
//   - A writer's union is readable if each of its branches is. The branch of a
//     reader's union is chosen as readers choose it: same full name or alias,
//     else same unqualified name, else promotion, first in order; the chosen
//     branch must then be compatible all the way down. Avro Java's
//     SchemaCompatibility is looser here: it accepts any later branch that
//     would fit, although a reader stops at the first.
//   - A field whose union begins with null has no default unless it says so.
//   - A symbol the reader's enum lacks is covered by the enum's default, not by
//     the default of the field.
//   - Logical types do not matter, except that two decimals must agree in
//     precision and scale.
//
// internal/compattest holds its cases; docs/reference/registry-compatibility.md
// says where other implementations judge otherwise.
//
// [Parse] is as strict as the specification and the codec together (names
// before use, defaults that fit their type, aliases that do not collide,
// decimals that are possible), refuses duplicate keys, and bounds size and
// depth.
package compat
