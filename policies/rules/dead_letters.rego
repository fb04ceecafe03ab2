# METADATA
# title: what cannot be handled is set aside
# description: >-
#   A record that no consumer can handle goes to the dead letters with its
#   reason: without them it is lost, or holds up all that come after it.
# custom:
#   severity: error
#   needs: [topology]
#   admission: [Broker.eventing.knative.dev, Trigger.eventing.knative.dev, Channel.messaging.knative.dev, Subscription.messaging.knative.dev, KafkaChannel.messaging.knative.dev, KafkaSource.sources.knative.dev, Sequence.flows.knative.dev, Parallel.flows.knative.dev]
#   remedy: >-
#     Keep the context's topic of dead letters for at least 7 days, never
#     compacted, and give every Knative Broker, Trigger, Subscription and source a deadLetterSink.
package nexus.rules.dead_letters

days(ms) := to_number(ms) / 86400000

kept(topic) if topic.config["retention.ms"] == "-1"

kept(topic) if days(topic.config["retention.ms"]) >= 7

violations contains {
	"place": "topology: dead letters",
	"detail": "there is no topic of dead letters: what no consumer can handle would be lost",
} if {
	count([t | some t in input.topology.topics; t.kind == "dead letters"]) == 0
}

# On the broker: every consumer of the context sets aside into this topic.
violations contains {
	"place": sprintf("broker: topic %s", [topic.name]),
	"detail": sprintf("is not there, while others of the context are: what %s cannot handle would be lost or hold them up; start an instance, which creates it, and find out who removed it", [consumers_of_context]),
} if {
	some topic in input.topology.topics
	topic.kind == "dead letters"
	count(input.live.topics) > 0
	not input.live.topics[topic.name]
}

violations contains {
	"place": sprintf("broker: topic %s", [topic.name]),
	"detail": "keeps dead letters for less than 7 days: nobody may have looked by then; set retention.ms to what the topology says",
} if {
	some topic in input.topology.topics
	topic.kind == "dead letters"
	live := input.live.topics[topic.name]
	not kept(live)
}

violations contains {
	"place": sprintf("%s: topic %s", [where, topic.name]),
	"detail": "is compacted: of the dead letters of one key only the last would stay; set cleanup.policy=delete",
} if {
	some topic in input.topology.topics
	topic.kind == "dead letters"
	some where, config in {"topology": topic.config, "broker": object.get(input, ["live", "topics", topic.name, "config"], {})}
	contains(object.get(config, "cleanup.policy", "delete"), "compact")
}

consumers_of_context := concat(", ", [consumer.group | some part in ["aggregates", "projections"]; some consumer in input.topology[part]])

violations contains {
	"place": sprintf("topology: topic %s", [topic.name]),
	"detail": "keeps dead letters for less than 7 days: nobody may have looked by then",
} if {
	some topic in input.topology.topics
	topic.kind == "dead letters"
	not kept(topic)
}

consumers := {"Trigger", "Subscription", "KafkaSource", "Broker", "Channel", "KafkaChannel"}

violations contains {
	"file": doc.file,
	"line": doc.line,
	"detail": sprintf("the %s %s has no deadLetterSink: what it cannot deliver would be lost; name one in spec.delivery", [doc.kind, doc.name]),
} if {
	some doc in input.deploy.documents
	doc.kind in consumers
	regex.match(`^(eventing|messaging|sources)\.knative\.dev/`, doc.content.apiVersion)
	not sets_aside(doc.content.spec)
}

sets_aside(consumer) if count(consumer.delivery.deadLetterSink) > 0

# The steps of a flow are subscriptions, each of its own.
violations contains {
	"file": doc.file,
	"line": object.get(doc.lines, sprintf("/spec/%s/%d", [part, i]), doc.line),
	"detail": sprintf("step %d of the %s %s has no deadLetterSink: what it cannot deliver would be lost; name one in its delivery", [i + 1, doc.kind, doc.name]),
} if {
	some doc in input.deploy.documents
	part := {"Sequence": "steps", "Parallel": "branches"}[doc.kind]
	startswith(doc.content.apiVersion, "flows.knative.dev/")
	some i, step in doc.content.spec[part]
	not sets_aside(step)
}
