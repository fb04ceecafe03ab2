# METADATA
# title: the number of partitions stays
# description: >-
#   The key of a record chooses its partition by their number: where it
#   changes, the events of one aggregate stand in two partitions, and their
#   order is lost.
# custom:
#   severity: error
#   needs: [topology]
#   admission: [KafkaTopic.kafka.strimzi.io, Pod, Deployment.apps, StatefulSet.apps, DaemonSet.apps, ReplicaSet.apps, Job.batch, CronJob.batch]
#   remedy: >-
#     Set the topology's Partitions to what the broker has, or copy the
#     context into new topics: partitions are never added in place.
package nexus.rules.kept_partitions

import data.nexus.commands
import data.nexus.strimzi

wanted := {t.name: t.partitions | some t in input.topology.topics}

violations contains {
	"place": sprintf("broker: topic %s", [name]),
	"detail": sprintf("has %d partitions, the topology says %d: state what the broker has, or copy the context into new topics", [live.partitions, wanted[name]]),
} if {
	some name, live in input.live.topics
	wanted[name] != live.partitions
}

violations contains {
	"file": doc.file,
	"line": strimzi.line(doc, "/spec/partitions"),
	"detail": sprintf("the KafkaTopic of %s asks for %v partitions, the topology says %d: adding partitions would scatter its keys", [name, have, wanted[name]]),
} if {
	some doc in input.deploy.documents
	name := strimzi.topic(doc)
	have := object.get(doc.content.spec, "partitions", "the broker's default of")
	have != wanted[name]
}

violations contains {
	"file": command.file,
	"line": command.line,
	"detail": sprintf("the command line gives %s %s partitions, the topology says %d: adding partitions would scatter its keys", [name, have[1], wanted[name]]),
} if {
	some command in commands.lines
	contains(command.text, "kafka-topics")
	some name in commands.topics(command.text)
	some have in regex.find_all_string_submatch_n(`--partitions[ =](\d+)`, command.text, -1)
	to_number(have[1]) != wanted[name]
}
