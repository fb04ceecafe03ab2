# METADATA
# title: every route from outside leads to the gateway
# description: >-
#   A route of an ingress, a gateway or a proxy to a service, or a port that it
#   opens itself, passes by
#   authentication, validation and the log.
# custom:
#   severity: error
#   needs: [deploy]
#   remedy: >-
#     Point the route at the platform's gateway, and let the client send a
#     command.
package nexus.rules.gateway_routes

violations contains {
	"file": route.file,
	"line": route.line,
	"detail": sprintf("the route %s leads to the service %s past the gateway: point it at the gateway", [route.name, service.name]),
} if {
	some route in input.deploy.routes
	some service in input.deploy.workloads
	service.role == "service"
	route.backend in service.hosts
}
