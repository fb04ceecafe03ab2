# METADATA
# title: no deployed service is told where another is
# description: >-
#   A service that knows another's address calls it. In the settings of a
#   workload stand the broker, the registry, stores and the gateway, and no
#   other service.
# custom:
#   severity: error
#   needs: [deploy]
#   remedy: >-
#     Take the address out of the settings and send a command, or read an
#     event topic; a client of the API gets the gateway's address.
package nexus.rules.deploy_calls

# Whoever is no part of the infrastructure is a service; the platform's gateway
# is the API that may be called.
violations contains {
	"file": target.file,
	"line": target.line,
	"detail": sprintf("%s is given the address of the service %s%s: send it a command or read its events instead", [caller.name, called.name, variable(target)]),
} if {
	some caller in input.deploy.workloads
	caller.role != "infrastructure"
	some target in caller.targets
	some called in input.deploy.workloads
	called.role == "service"
	called.name != caller.name
	target.host in called.hosts
}

variable(target) := sprintf(" in %s", [target.name]) if target.name != ""

variable(target) := "" if target.name == ""
