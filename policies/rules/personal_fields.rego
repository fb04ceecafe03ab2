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

# Of names in camelCase or snake_case, as words in snake_case.
words(name) := lower(regex.replace(name, `([a-z0-9])([A-Z])`, "${1}_${2}"))

speaking := concat("", [
	`(^|_)(e_?mail|(tele_?)?phone|mobile|fax|(first|last|full|given|family|sur|nick|maiden|middle)_?name|maiden|`,
	`(customer|contact|person|recipient|employee|patient|user)_?name|birth|birth_?day|birth_?date|birth_?place|date_?of_?birth|place_?of_?birth|dob|`,
	`passport|iban|ssn|social_?security|national_?insurance|tax_?(id|number)|street|`,
	`(home|postal|delivery|shipping|billing|mailing|customer|contact|private)_?address|post_?code|zip_?code|(client_?|remote_?|user_?)?ip(_?address)?|`,
	`gender|religion|ethnicity|nationality|marital_?status|salary|credit_?card|card_?(number|holder)|licen[cs]e_?plate|latitude|longitude|geo_?location)`,
	`(_?(address|number|no|nr|name|day|date|line_?[0-9]?))?(e?s)?(_|$)|^address(es)?(_?line_?[0-9]?)?$`,
])

violations contains {
	"place": place(s, field.line),
	"file": s.file,
	"line": field.line,
	"detail": sprintf("the field %s of %s may hold personal data and does not say so: write \"personal\": true, or false if it does not", [field.name, s.name]),
} if {
	some s in input.schemas
	not s.platform
	some field in s.fields
	holds_values(field)
	regex.match(speaking, words(field.name))
	not has_mark(field)
}

# A map's keys are text; what a list holds may be a record, whose own fields say it.
holds_values(field) if field.type == "map"

holds_values(field) if object.get(field, "of", field.type) in {"string", "bytes", "int", "long", "float", "double", "fixed", "enum"}

violations contains {
	"place": place(s, s.line),
	"file": s.file,
	"line": s.line,
	"detail": sprintf("%s has personal fields and does not say whose they are: name the field with the data subject's id in \"subject\"", [s.name]),
} if {
	some s in input.schemas
	not s.platform
	not s.told
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
