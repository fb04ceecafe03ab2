# METADATA
# title: projections can be rebuilt
# description: >-
#   A read model is rebuilt from the events: it reads event topics alone, which
#   are kept for ever, and its own table loses no document to a retention.
# custom:
#   severity: error
#   needs: [topology]
#   remedy: >-
#     Let projections read event topics of the topology that keep everything,
#     and keep their tables with cleanup.policy=compact and retention.ms=-1.
package nexus.rules.rebuildable_projections

topics := {t.name: t | some t in input.topology.topics}

violations contains {
	"place": sprintf("topology: projection %s", [p.name]),
	"detail": sprintf("reads %s, which is no event topic of the topology: only events can be read again from the first", [name]),
} if {
	some p in input.topology.projections
	some name in p.sources
	object.get(topics, [name, "kind"], "") != "events"
}

violations contains {
	"place": sprintf("topology: projection %s", [p.name]),
	"detail": sprintf("reads %s, whose retention.ms is %q: it could not be rebuilt from the first event", [name, kept]),
} if {
	some p in input.topology.projections
	some name in p.sources
	topics[name].kind == "events"
	kept := object.get(topics[name].config, "retention.ms", "")
	kept != "-1"
}

violations contains {
	"place": sprintf("topology: topic %s", [topic.name]),
	"detail": sprintf("is a table with %s=%q, must be %s: documents would be lost", [setting, have, value]),
} if {
	some topic in input.topology.topics
	topic.kind == "table"
	some setting, value in {"cleanup.policy": "compact", "retention.ms": "-1"}
	have := object.get(topic.config, setting, "")
	have != value
}
