# METADATA
# title: the event store is append-only
# description: >-
#   Events are kept for ever and never compacted, in the topology, in the
#   deploy files and on the broker, no broker that lags may become the leader
#   and forget them, and no port offers to change or remove them.
# custom:
#   severity: error
#   needs: [topology]
#   admission: [KafkaTopic.kafka.strimzi.io]
#   remedy: >-
#     Set cleanup.policy=delete, retention.ms=-1 and retention.bytes=-1 on
#     every event topic, leave unclean.leader.election.enable=false, and offer
#     only append and read in the port.
package nexus.rules.append_only

import data.nexus.strimzi

required := {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

violations contains {
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
	"place": sprintf("broker: topic %s", [topic.name]),
	"detail": "unclean.leader.election.enable is true: a broker that lags may become the leader and forget events; set it to false",
} if {
	some topic in input.topology.topics
	topic.kind == "events"
	input.live.topics[topic.name].config["unclean.leader.election.enable"] == "true"
}

violations contains {
	"file": method.file,
	"line": method.line,
	"detail": sprintf("the port EventStore offers %s: events are appended and read, never changed or removed", [method.name]),
} if {
	some method in input.source.eventStoreMethods
	regex.match(`^(?i)(update|delete|remove|truncate|replace|purge|set|edit|rewrite|overwrite|compact|drop|clear)`, method.name)
}

violations contains {
	"file": doc.file,
	"line": strimzi.line(doc, sprintf("/spec/config/%s", [setting])),
	"detail": sprintf("the KafkaTopic of %s has %s=%v, must be %s: an event store keeps every event", [name, setting, have, value]),
} if {
	some doc in input.deploy.documents
	name := strimzi.topic(doc)
	strimzi.event_topic(name)
	some setting, value in required
	have := object.get(doc.content.spec, ["config", setting], "nothing")
	sprintf("%v", [have]) != value
}
