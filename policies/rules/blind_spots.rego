# METADATA
# title: all code can be seen
# description: >-
#   Where a module runs other programs, calls C, loads code at run time or
#   reaches behind exports, no rule over the source can tell what it does.
# custom:
#   severity: error
#   needs: [source]
#   remedy: >-
#     Write it in Go within the module, or say with the comment //nexus:allow
#     blind-spots <reason> why it calls no service; verify another module by
#     itself and waive its folder.
package nexus.rules.blind_spots

violations contains {
	"file": blind.file,
	"line": blind.line,
	"detail": sprintf("the code %s, which the rules cannot follow: write it in Go within the module, or say with the comment //nexus:allow blind-spots <reason> why it calls no service", [blind.what]),
} if {
	some blind in input.source.blind
	not blind.allowed
}
