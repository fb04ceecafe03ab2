# METADATA
# title: no direct service-to-service call
# description: >-
#   Services talk through commands and events alone. A package that opens
#   connections by itself goes past schemas, outcomes and the log.
package nexus.rules.direct_calls

needs := {"source"}

violations contains {
	"severity": "error",
	"place": sprintf("%s:%d", [call.file, call.line]),
	"detail": sprintf("%s opens a connection of its own with %s: send a command or read an event topic instead; a client of the platform's own API says so with the comment //nexus:allow direct-calls <reason>", [pkg.path, call.call]),
} if {
	some pkg in input.source.packages
	not pkg.platform
	some call in pkg.calls
	not call.allowed
}
