# METADATA
# title: no network policy opens a service to another
# description: >-
#   A NetworkPolicy that lets a service's pods reach those of another prepares
#   the call between them; one that lets everybody in prepares all. Cilium's are
#   judged, too.
# custom:
#   severity: error
#   needs: [deploy]
#   remedy: >-
#     Admit only the gateway's pods and the monitors' to a service, by labels;
#     without an ingress rule for others nobody comes in.
package nexus.rules.network_policies

# A policy in one form: whom it is about, and who may come in or be reached, by
# selectors of pods or by names.
policies contains {"doc": doc, "about": object.get(doc.content.spec, "podSelector", {})} if {
	some doc in input.deploy.documents
	doc.kind == "NetworkPolicy"
}

policies contains {"doc": doc, "about": object.get(doc.content.spec, "endpointSelector", {})} if {
	some doc in input.deploy.documents
	doc.kind in cilium
}

cilium := {"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"}

selects(selector, labels) if {
	every name, value in object.get(selector, "matchLabels", {}) {
		label(labels, name) == value
	}
	every e in object.get(selector, "matchExpressions", []) {
		fits(e, object.get(labels, plain(e.key), null))
	}
}

# Cilium says where a label comes from: k8s:app.
plain(name) := regex.replace(name, `^(k8s|any):`, "")

label(labels, name) := labels[plain(name)]

fits(e, value) if {
	e.operator == "In"
	value in e.values
}

fits(e, value) if {
	e.operator == "NotIn"
	not value in e.values
}

fits(e, value) if {
	e.operator == "Exists"
	value != null
}

fits(e, null) if e.operator == "DoesNotExist"

services contains w if {
	some w in input.deploy.workloads
	w.role == "service"
}

selected(selector) := {w.name | some w in services; selects(selector, w.labels)}

# The service is reached by a name, too.
named(name) := {w.name | some w in services; name in w.hosts}

line(doc, way, i) := object.get(doc.lines, sprintf("/spec/%s/%d", [way, i]), doc.line)

violations contains {
	"file": policy.doc.file,
	"line": line(policy.doc, "ingress", i),
	"detail": sprintf("the %s %s lets everybody reach the service %s: admit the gateway's pods alone", [policy.doc.kind, policy.doc.name, service]),
} if {
	some policy in policies
	some i, rule in policy.doc.content.spec.ingress
	everybody(policy.doc.kind, rule)
	some service in selected(policy.about)
}

everybody("NetworkPolicy", rule) if count(object.get(rule, "from", [])) == 0

everybody("NetworkPolicy", rule) if {
	some from in rule.from
	not narrow(from)
	not from.ipBlock
}

everybody("NetworkPolicy", rule) if {
	some from in rule.from
	endswith(from.ipBlock.cidr, "/0")
}

everybody(kind, rule) if {
	kind in cilium
	some entity in rule.fromEntities
	entity in {"all", "cluster", "world"}
}

everybody(kind, rule) if {
	kind in cilium
	some from in rule.fromEndpoints
	count(from) == 0
}

narrow(peer) if {
	some part in ["podSelector", "namespaceSelector"]
	narrows(peer, part)
}

narrows(peer, part) if {
	some match in ["matchLabels", "matchExpressions"]
	count(peer[part][match]) > 0
}

# peers are the services that a rule lets in, or lets be reached. All pods of
# another namespace are none of them.
peers(doc, rule, way) := {name |
	some peer in object.get(rule, way, [])
	here(doc, peer)
	some name in selected(object.get(peer, "podSelector", {}))
}

here(_, peer) if narrows(peer, "podSelector")

here(_, peer) if {
	peer.podSelector
	not narrows(peer, "namespaceSelector")
}

here(doc, peer) if peer.namespaceSelector.matchLabels["kubernetes.io/metadata.name"] == doc.content.metadata.namespace

endpoints(rule, way) := {name |
	some peer in object.get(rule, way, [])
	some name in selected(peer)
}

callers(doc, rule) := peers(doc, rule, "from") | endpoints(rule, "fromEndpoints")

called(doc, rule) := (peers(doc, rule, "to") | endpoints(rule, "toEndpoints")) | {name |
	some service in rule.toServices
	some name in named(service.k8sService.serviceName)
}

opened contains {"doc": policy.doc, "line": line(policy.doc, "ingress", i), "caller": caller, "service": service} if {
	some policy in policies
	some i, rule in policy.doc.content.spec.ingress
	not everybody(policy.doc.kind, rule)
	some caller in callers(policy.doc, rule)
	some service in selected(policy.about)
}

opened contains {"doc": policy.doc, "line": line(policy.doc, "egress", i), "caller": caller, "service": service} if {
	some policy in policies
	some i, rule in policy.doc.content.spec.egress
	some service in called(policy.doc, rule)
	some caller in selected(policy.about)
}

violations contains {
	"file": open.doc.file,
	"line": open.line,
	"detail": sprintf("the %s %s lets the service %s reach the service %s: they talk through commands and events alone", [open.doc.kind, open.doc.name, open.caller, open.service]),
} if {
	some open in opened
	open.service != open.caller
}
