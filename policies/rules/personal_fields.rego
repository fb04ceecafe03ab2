# METADATA
# title: personal fields are marked
# description: >-
#   Only what is marked can be encrypted and erased: a field whose name speaks
#   of a person says whether it is personal, and a record with personal fields
#   names the field that tells whose they are.
# custom:
#   severity: error
#   needs: [schemas]
#   remedy: >-
#     Say "personal": true or false on the field, and name the data subject's
#     field with "subject" on the record.
package nexus.rules.personal_fields

# Of names in camelCase or snake_case.
speaking := `(?i)(e_?mail|phone|mobile|^fax|first_?name|last_?name|full_?name|sur_?name|given_?name|maiden|birth|passport|iban|ssn|social_?security|tax_?(id|number)|street|^address|home_?address|postal_?address|post_?code|zip_?code|ip_?address|gender|religion|nationality|salary|credit_?card|card_?number|licen[cs]e_?plate|latitude|longitude)`

violations contains {
	"place": place(s, field.line),
	"file": s.file,
	"line": field.line,
	"detail": sprintf("the field %s of %s may hold personal data and does not say so: write \"personal\": true, or false if it does not", [field.name, s.name]),
} if {
	some s in input.schemas
	not s.platform
	some field in s.fields
	field.type in {"string", "bytes", "int", "long", "float", "double", "fixed", "map", "enum"}
	regex.match(speaking, field.name)
	not has_mark(field)
}

violations contains {
	"place": place(s, s.line),
	"file": s.file,
	"line": s.line,
	"detail": sprintf("%s has personal fields and does not say whose they are: name the field with the data subject's id in \"subject\"", [s.name]),
} if {
	some s in input.schemas
	not s.platform
	s.subject == ""
	some field in s.fields
	field.personal == true
}

violations contains {
	"place": place(s, s.line),
	"file": s.file,
	"line": s.line,
	"detail": sprintf("%s says that %s names the data subject, and has no such field", [s.name, s.subject]),
} if {
	some s in input.schemas
	s.subject != ""
	not s.subject in {f.name | some f in s.fields}
}

has_mark(field) if is_boolean(field.personal)

place(s, _) := sprintf("schema %s", [s.name]) if s.file == ""

place(s, line) := sprintf("%s:%d", [s.file, line]) if s.file != ""
