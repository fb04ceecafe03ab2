# METADATA
# title: no direct service-to-service call in the source
# description: >-
#   Services talk through commands and events alone. Code that opens
#   connections by itself, or imports a module that does, goes past schemas,
#   outcomes and the log.
# custom:
#   severity: error
#   needs: [source]
#   remedy: >-
#     Send a command or read an event topic instead; a client of the
#     platform's own API, or of a system outside, says so with the comment
#     //nexus:allow direct-calls <reason>.
package nexus.rules.direct_calls

violations contains {
	"file": call.file,
	"line": call.line,
	"detail": sprintf("%s opens a connection of its own with %s: send a command or read an event topic instead; a client of the platform's own API says so with the comment //nexus:allow direct-calls <reason>", [pkg.path, call.call]),
} if {
	some pkg in input.source.packages
	not pkg.platform
	some call in pkg.calls
	not call.allowed
}

violations contains {
	"file": imported.file,
	"line": imported.line,
	"detail": sprintf("%s imports %s, which opens connections (%s): use another module, or say with the comment //nexus:allow direct-calls <reason> why it calls no service", [pkg.path, imported.path, concat(" → ", imported.via)]),
} if {
	some pkg in input.source.packages
	not pkg.platform
	some imported in pkg.imports
	not imported.allowed
}
