# METADATA
# title: only the platform writes events, and nobody deletes them
# description: >-
#   Who may delete records of an event topic, delete or alter the topic, or
#   write to it, can change what happened. The platform's own principals may
#   write; a named break-glass principal may delete. KafkaUsers of the deploy
#   files are judged, and the ACLs that the broker has.
# custom:
#   severity: error
#   needs: [deploy or live.acls, topology]
#   admission: [KafkaUser.kafka.strimzi.io]
#   remedy: >-
#     Give other principals Read and Describe alone. If it is the platform's,
#     label the KafkaUser nexus.role=platform and name the principal in
#     bus.principals; if it is the one for emergencies, label it
#     nexus.role=break-glass and name it in bus.breakGlass.
package nexus.rules.event_access

import data.nexus.strimzi

roles := {"platform", "break-glass"}

role(doc) := object.get(doc.content, ["metadata", "labels", "nexus.role"], "")

violations contains {
	"file": doc.file,
	"line": acl.line,
	"detail": sprintf("the principal %s may %s on event topics (%s): events are appended by the platform and never changed or removed", [doc.name, operation, acl.resource.name]),
} if {
	some doc in input.deploy.documents
	some acl in strimzi.acls(doc)
	strimzi.covers_events(acl.resource)
	some operation in acl.operations
	operation in forbidden(role(doc))
}

forbidden("platform") := {"delete", "alter", "alterconfigs", "all"}

forbidden("break-glass") := {"write", "all"}

forbidden(role) := {"delete", "alter", "alterconfigs", "write", "all"} if not role in roles

# On the broker, by the configuration's names.
platform contains principal if some principal in input.configuration.principals.platform

break_glass contains principal if some principal in input.configuration.principals.breakGlass

live_role(principal) := "platform" if principal in platform

live_role(principal) := "break-glass" if {
	principal in break_glass
	not principal in platform
}

live_role(principal) := "" if not principal in platform | break_glass

covers(acl, topic) if {
	acl.resource == "topic"
	acl.pattern == "literal"
	acl.name in {topic, "*"}
}

covers(acl, topic) if {
	acl.resource == "topic"
	acl.pattern == "prefixed"
	startswith(topic, acl.name)
}

spelled := {"delete": "Delete", "alter": "Alter", "alterconfigs": "AlterConfigs", "write": "Write"}

# allows are the operations, spelled, that an ACL allows and its principal's role forbids.
allows(acl) := {spelled[o] | some o in forbidden(live_role(acl.principal)) - {"all"}; lower(acl.operation) in {o, "all"}}

# Kafka lets a denial win, if it is for the same principal or for everyone, from all hosts.
denied(acl, operation, topic) if {
	some denial in input.live.acls
	denial.permission == "Deny"
	denial.principal in {acl.principal, "User:*"}
	denial.host == "*"
	denial.operation in {operation, "All"}
	covers(denial, topic)
}

violations contains {
	"place": sprintf("broker: ACL of %s on topic %s", [acl.principal, acl.name]),
	"detail": sprintf("the principal %s may %s on %s (%s): events are appended by the platform and never changed or removed; take the ACL back, or name the principal in bus.principals if it is the platform's, in bus.breakGlass if it is for emergencies", [acl.principal, operation, concat(", ", reached), acl.pattern]),
} if {
	some acl in input.live.acls
	acl.permission == "Allow"
	some operation in allows(acl)
	reached := {topic.name |
		some topic in input.topology.topics
		topic.kind == "events"
		covers(acl, topic.name)
		not denied(acl, operation, topic.name)
	}
	count(reached) > 0
}
