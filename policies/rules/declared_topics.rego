# METADATA
# title: only the topology makes topics
# description: >-
#   A broker that makes a topic for whoever names it gives it the wrong number
#   of partitions and lets its records expire, and nothing that the topology
#   does not name should run. A topic with other settings than the topology's
#   loses records, or refuses them.
# custom:
#   severity: error
#   needs: [deploy or live.broker or live.topics, topology]
#   admission: [Kafka.kafka.strimzi.io, KafkaTopic.kafka.strimzi.io, ConfigMap, Pod, Deployment.apps, StatefulSet.apps, DaemonSet.apps, ReplicaSet.apps, Job.batch, CronJob.batch]
#   remedy: >-
#     Set auto.create.topics.enable=false on the broker; the program creates
#     what the topology names, with its settings: leave them as they are.
package nexus.rules.declared_topics

import data.nexus.commands
import data.nexus.strimzi

environment contains {"file": doc.file, "line": object.get(doc.lines, sprintf("/services/%s/environment", [service]), doc.line), "text": text} if {
	some doc in input.deploy.documents
	doc.format == "compose"
	some service, s in doc.content.services
	some i, value in s.environment
	text := pair(i, value)
}

pair(i, value) := value if is_number(i)

pair(i, value) := sprintf("%s=%v", [i, value]) if is_string(i)

environment contains {"file": doc.file, "line": doc.line, "text": sprintf("%s=%v", [variable.name, variable.value])} if {
	some doc in input.deploy.documents
	doc.format == "kubernetes"
	walk(doc.content, [_, variable])
	is_string(variable.name)
	variable.value
}

violations contains {
	"file": e.file,
	"line": e.line,
	"detail": "the broker creates topics for whoever names one: set auto.create.topics.enable=false",
} if {
	some e in environment
	regex.match(`(?i)AUTO_CREATE_TOPICS(_ENABLE)?=true`, e.text)
}

violations contains {
	"file": doc.file,
	"line": object.get(doc.lines, "/spec/kafka/config/auto.create.topics.enable", object.get(doc.lines, "/spec/kafka/config", doc.line)),
	"detail": sprintf("the Kafka %s creates topics for whoever names one: set auto.create.topics.enable=false", [doc.name]),
} if {
	some doc in input.deploy.documents
	doc.kind == "Kafka"
	said := object.get(doc.content.spec, ["kafka", "config", "auto.create.topics.enable"], true) # Kafka's default
	lower(sprintf("%v", [said])) != "false"
}

# The broker's own file of settings.
violations contains {
	"file": doc.file,
	"line": object.get(doc.lines, sprintf("/data/%s", [name]), doc.line),
	"detail": sprintf("%s lets the broker create topics for whoever names one: set auto.create.topics.enable=false", [name]),
} if {
	some doc in input.deploy.documents
	doc.kind == "ConfigMap"
	some name, text in doc.content.data
	regex.match(`(?im)^\s*auto[._]create[._]topics[._]enabled?\s*[=:]\s*true\s*$`, text)
}

violations contains {
	"file": command.file,
	"line": command.line,
	"detail": "the broker creates topics for whoever names one: set auto.create.topics.enable=false",
} if {
	some command in commands.lines
	regex.match(`(?i)auto[._]create[._]topics[._]enabled?=["']?true`, command.text)
}

# A broker that is told nothing makes topics. One with files of its own may be
# told there.
silent := `(^|/)(kafka|kafka-native|cp-kafka|cp-server)(:|@|$)`

violations contains {
	"file": doc.file,
	"line": object.get(doc.lines, sprintf("/services/%s/image", [name]), doc.line),
	"detail": sprintf("the broker %s creates topics for whoever names one, which is Kafka's default: set auto.create.topics.enable=false", [name]),
} if {
	some doc in input.deploy.documents
	doc.format == "compose"
	some name, service in doc.content.services
	regex.match(silent, service.image)
	not told(service)
}

violations contains {
	"file": doc.file,
	"line": doc.line,
	"detail": sprintf("the broker %s creates topics for whoever names one, which is Kafka's default: set auto.create.topics.enable=false", [container.name]),
} if {
	some doc in input.deploy.documents
	doc.format == "kubernetes"
	walk(doc.content, [path, container])
	path[count(path) - 2] == "containers"
	regex.match(silent, container.image)
	not told(container)
}

told(container) if {
	some part in ["volumes", "configs", "env_file", "extends", "envFrom", "volumeMounts", "command", "args", "entrypoint"]
	container[part]
}

told(container) if regex.match(`(?i)auto.create.topics`, json.marshal(container))

# A KRaft controller alone makes no topics. Said by a variable of a map, a list, or Kubernetes.
told(container) if regex.match(`PROCESS_ROLES(=|":"|","value":")controller"`, json.marshal(container))

# A topic of the context that the topology does not name.
violations contains {
	"file": doc.file,
	"line": object.get(doc.lines, "/spec/topicName", object.get(doc.lines, "/metadata/name", doc.line)),
	"detail": sprintf("the KafkaTopic makes %s, which the topology does not name: name it there, or %s", [name, take_out(name)]),
} if {
	some doc in input.deploy.documents
	name := strimzi.topic(doc)
	some context in {split(t.name, ".")[0] | some t in input.topology.topics}
	startswith(name, sprintf("%s.", [context]))
	not name in {t.name | some t in input.topology.topics}
}

take_out(name) := "annotate it strimzi.io/managed=false in the cluster before you take it out: Strimzi would delete the events" if strimzi.event_topic(name)

take_out(name) := "take it out" if not strimzi.event_topic(name)

violations contains {
	"place": "broker: auto.create.topics.enable",
	"detail": "the broker creates topics for whoever names one: set auto.create.topics.enable=false",
} if {
	lower(input.live.broker.config["auto.create.topics.enable"]) == "true"
}

# What append-only says of event topics, and dead-letters of theirs, is not said twice.
elsewhere := {
	"events": {"cleanup.policy", "retention.ms", "retention.bytes"},
	"dead letters": {"cleanup.policy"},
}

violations contains {
	"place": sprintf("broker: topic %s", [topic.name]),
	"detail": sprintf("has %s=%s, the topology says %s: set it back, after making sure that nothing was lost", [setting, have, want]),
} if {
	some topic in input.topology.topics
	some setting, want in topic.config
	not setting in object.get(elsewhere, topic.kind, set())
	have := input.live.topics[topic.name].config[setting]
	have != want
	not too_short(topic.kind, setting, have)
}

# Dead letters that are kept for less than 7 days are said there.
too_short("dead letters", "retention.ms", have) if {
	have != "-1"
	to_number(have) < 604800000
}
