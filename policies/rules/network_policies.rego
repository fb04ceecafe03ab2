# METADATA
# title: no network policy opens a service to another
# description: >-
#   A NetworkPolicy that lets a service's pods reach those of another prepares
#   the call between them; one that lets everybody in prepares all.
# custom:
#   severity: error
#   needs: [deploy]
#   remedy: >-
#     Admit only the gateway's pods and the monitors' to a service, by labels;
#     without an ingress rule for others nobody comes in.
package nexus.rules.network_policies

policies contains doc if {
	some doc in input.deploy.documents
	doc.kind == "NetworkPolicy"
}

selects(selector, labels) if {
	every name, value in object.get(selector, "matchLabels", {}) {
		labels[name] == value
	}
}

guarded(doc) := {w.name | some w in input.deploy.workloads; w.role == "service"; selects(object.get(doc.content.spec, "podSelector", {}), w.labels)}

at(doc, i) := object.get(doc.lines, sprintf("/spec/ingress/%d", [i]), doc.line)

violations contains {
	"file": doc.file,
	"line": at(doc, i),
	"detail": sprintf("the NetworkPolicy %s lets everybody reach the service %s: admit the gateway's pods alone", [doc.name, service]),
} if {
	some doc in policies
	some i, rule in doc.content.spec.ingress
	everybody(rule)
	some service in guarded(doc)
}

everybody(rule) if count(object.get(rule, "from", [])) == 0

everybody(rule) if {
	some from in rule.from
	not from.podSelector.matchLabels
	not from.podSelector.matchExpressions
	not from.ipBlock
	not from.namespaceSelector.matchLabels
	not from.namespaceSelector.matchExpressions
}

violations contains {
	"file": doc.file,
	"line": at(doc, i),
	"detail": sprintf("the NetworkPolicy %s lets the service %s reach the service %s: they talk through commands and events alone", [doc.name, caller.name, service]),
} if {
	some doc in policies
	some i, rule in doc.content.spec.ingress
	some from in rule.from
	count(from.podSelector.matchLabels) > 0
	some caller in input.deploy.workloads
	caller.role == "service"
	selects(from.podSelector, caller.labels)
	some service in guarded(doc)
	service != caller.name
}
