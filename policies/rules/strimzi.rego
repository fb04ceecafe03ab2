# What rules read of Strimzi's KafkaTopic and KafkaUser.
package nexus.strimzi

# topic is the name of the topic that a document declares.
topic(doc) := object.get(doc.content.spec, "topicName", doc.name) if {
	doc.kind == "KafkaTopic"
}

event_topic(name) if {
	some topic in input.topology.topics
	topic.kind == "events"
	topic.name == name
}

event_topic(name) if endswith(name, ".events")

# line is where a value stands, or its document.
line(doc, pointer) := object.get(doc.lines, pointer, object.get(doc.lines, "/spec", doc.line))

# acls are the entries of a KafkaUser with the operations each allows.
acls(doc) := [{"line": line(doc, sprintf("/spec/authorization/acls/%d", [i])), "resource": acl.resource, "operations": operations(acl)} |
	doc.kind == "KafkaUser"
	some i, acl in doc.content.spec.authorization.acls
	object.get(acl, "type", "allow") == "allow"
]

operations(acl) := {lower(o) | some o in object.get(acl, "operations", [object.get(acl, "operation", "all")])}

# covers_events says that an ACL's resource reaches an event topic.
covers_events(resource) if {
	resource.type == "topic"
	object.get(resource, "patternType", "literal") == "literal"
	event_topic(resource.name)
}

covers_events(resource) if {
	resource.type == "topic"
	resource.name == "*"
}

covers_events(resource) if {
	resource.type == "topic"
	resource.patternType == "prefix"
	some topic in input.topology.topics
	topic.kind == "events"
	startswith(topic.name, resource.name)
}
