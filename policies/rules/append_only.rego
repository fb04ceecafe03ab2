# METADATA
# title: the event store is append-only
# description: >-
#   Events are kept for ever and never compacted, in the topology, in the
#   deploy files and on the broker, no broker that lags may become the leader
#   and forget them, and no port offers to change or remove them.
# custom:
#   severity: error
#   needs: [topology]
#   admission: [KafkaTopic.kafka.strimzi.io, Pod, Deployment.apps, StatefulSet.apps, DaemonSet.apps, ReplicaSet.apps, Job.batch, CronJob.batch]
#   remedy: >-
#     Set cleanup.policy=delete, retention.ms=-1 and retention.bytes=-1 on
#     every event topic, leave unclean.leader.election.enable=false, and offer
#     only append and read in the port.
package nexus.rules.append_only

import data.nexus.commands
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
	"detail": sprintf("the port of the event store offers %s: events are appended and read, never changed or removed", [method.name]),
} if {
	some method in input.source.eventStoreMethods
	regex.match(taking_back, lower_first(method.name))
}

# The verb ends where the next word begins: Updates and Settled take nothing back.
taking_back := concat("", [
	`^(update|delete|remove|truncate|replace|purge|prune|trim|erase|forget|expire|shred|wipe|destroy|undo|revert|roll[bB]ack|redact|amend|`,
	`modify|reset|set|edit|re[wW]rite|over[wW]rite|compact|drop|clear)([A-Z_0-9]|$)`,
])

lower_first(name) := concat("", [lower(substring(name, 0, 1)), substring(name, 1, -1)])

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

violations contains {
	"file": command.file,
	"line": command.line,
	"detail": sprintf("the command line sets %s=%v on %s, must be %s: an event store keeps every event", [setting, have, name, required[setting]]),
} if {
	some command in commands.lines
	regex.match(`kafka-(topics|configs)`, command.text)
	some name in commands.topics(command.text)
	strimzi.event_topic(name)
	some [setting, have] in commands.settings(command.text)
	have != required[setting]
}

violations contains {
	"file": command.file,
	"line": command.line,
	"detail": sprintf("the command line deletes %s: an event store keeps every event", [name]),
} if {
	some command in commands.lines
	regex.match(`kafka-topics\S*\s.*--delete\b`, command.text)
	some name in commands.topics(command.text)
	strimzi.event_topic(name)
}

violations contains {
	"file": command.file,
	"line": command.line,
	"detail": "the command line deletes records of topics: an event store keeps every event",
} if {
	some command in commands.lines
	contains(command.text, "kafka-delete-records")
}
