# METADATA
# title: no breaking schema change
# description: >-
#   The log is read for ever, and two releases run side by side: a schema must
#   read and be read by every version that was released or registered, an event
#   is never renamed or removed, and what was released is never edited.
# custom:
#   severity: error
#   needs: [history]
#   remedy: >-
#     Give new fields a default; never rename or retype a field, nor remove one
#     without a default, nor a schema; write a new event instead, and an upcaster
#     from the old one. Put a release that was edited back as it was.
package nexus.rules.schema_evolution

violations contains {
	"place": sprintf("schema %s", [change.subject]),
	"detail": sprintf("breaks with %s: %s; give new fields a default, and never rename or retype one%s", [change.with, change.reason, way_back(change.with)]),
} if {
	some change in input.history.incompatibilities
}

# A version that was registered by mistake stays in the way of the schema that is right.
way_back(older) := "; if nothing was written with that version, delete it from the registry (nexus dev: start with --reset, which empties its folder)" if endswith(older, " in the registry")

way_back(older) := "" if not endswith(older, " in the registry")

violations contains {
	"place": sprintf("schema %s", [removed.subject]),
	"detail": sprintf("was released in %s and is gone: events under it may be in the log, so it stays", [removed.release]),
} if {
	some removed in input.history.removed
}

violations contains {
	"place": sprintf("schema %s", [edited.subject]),
	"detail": sprintf("%s, in %s: the log holds what that release wrote, so put its folder back as it was", [edited.reason, edited.release]),
} if {
	some edited in input.history.edited
}
