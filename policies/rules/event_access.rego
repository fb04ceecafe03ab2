# METADATA
# title: only the platform writes events, and nobody deletes them
# description: >-
#   A KafkaUser that may delete records of an event topic, delete or alter the
#   topic, or write to it, can change what happened. The platform's own
#   principals may write; a named break-glass principal may delete.
# custom:
#   severity: error
#   needs: [deploy, topology]
#   admission: [KafkaUser.kafka.strimzi.io]
#   remedy: >-
#     Give other principals Read and Describe alone; label the KafkaUser
#     nexus.role=platform if it is the platform's, nexus.role=break-glass if
#     it is the one for emergencies.
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

forbidden("platform") := {"delete", "alter", "all"}

forbidden("break-glass") := {"write", "all"}

forbidden(role) := {"delete", "alter", "alterconfigs", "write", "all"} if not role in roles
