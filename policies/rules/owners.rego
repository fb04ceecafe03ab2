# METADATA
# title: everything has an owner
# description: >-
#   An aggregate, a projection or a topic that nobody owns, nobody answers for.
# custom:
#   severity: error
#   needs: [topology]
#   remedy: >-
#     Name an Owner in the topology: the team that is asked before it changes.
package nexus.rules.owners

violations contains {
	"place": sprintf("topology: %s %s", [kind, thing.name]),
	"detail": "has no owner: name the team that answers for it",
} if {
	some kind, things in {"aggregate": input.topology.aggregates, "projection": input.topology.projections, "topic": input.topology.topics}
	some thing in things
	trim_space(object.get(thing, "owner", "")) == ""
}
