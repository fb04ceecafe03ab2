# METADATA
# title: the event store is append-only
# description: >-
#   Events are kept for ever and never compacted, in the topology and on the
#   broker, and no port offers to change or remove them.
package nexus.rules.append_only

needs := {"topology"}

required := {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

violations contains {
	"severity": "error",
	"place": sprintf("topology: topic %s", [topic.name]),
	"detail": sprintf("%s must be %s, not %q: an event store keeps every event", [setting, value, have]),
} if {
	some topic in input.topology.topics
	topic.kind == "events"
	some setting, value in required
	have := object.get(topic.config, setting, "")
	have != value
}

violations contains {
	"severity": "error",
	"place": sprintf("broker: topic %s", [topic.name]),
	"detail": sprintf("%s is %q on the broker, must be %s: correct it, and find out what was lost meanwhile", [setting, have, value]),
} if {
	some topic in input.topology.topics
	topic.kind == "events"
	live := input.live.topics[topic.name]
	some setting, value in required
	have := object.get(live.config, setting, "")
	have != value
}

violations contains {
	"severity": "error",
	"place": sprintf("%s:%d", [method.file, method.line]),
	"detail": sprintf("the port EventStore offers %s: events are appended and read, never changed or removed", [method.name]),
} if {
	some method in input.source.event_store_methods
	regex.match(`^(?i)(update|delete|remove|truncate|replace|purge|set)`, method.name)
}
