# METADATA
# title: every event, command and document has a registered schema with an owner and a doc
# description: >-
#   What no schema describes, nobody can read in ten years; a schema nobody
#   owns, nobody may change.
# custom:
#   severity: error
#   needs: [topology]
#   remedy: >-
#     Write the record's .avsc with owner and doc, run go generate, and
#     register it with nexus schemas register.
package nexus.rules.registered_schemas

subjects contains s.subject if some s in input.topology.schemas

violations contains {
	"place": sprintf("topology: topic %s", [topic.name]),
	"detail": sprintf("carries %s, which has no schema: write its .avsc and run go generate", [name]),
} if {
	some topic in input.topology.topics
	some name in topic.schemas
	not name in subjects
}

violations contains {
	"place": sprintf("schema %s", [s.subject]),
	"detail": sprintf("has no %s: name it in the .avsc", [attribute]),
} if {
	some s in input.topology.schemas
	some attribute in ["owner", "doc"]
	trim_space(object.get(s, attribute, "")) == ""
}

violations contains {
	"place": sprintf("registry: subject %s", [s.subject]),
	"detail": "is not registered: run nexus schemas register",
} if {
	input.live.registry.subjects
	some s in input.topology.schemas
	not s.subject in input.live.registry.subjects
}
