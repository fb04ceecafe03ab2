# METADATA
# title: every deploy file can be read
# description: >-
#   A file that is no YAML is judged by no rule.
# custom:
#   severity: warning
#   needs: [deploy]
#   remedy: >-
#     Correct the YAML; a template is judged by what it renders: helm template
#     CHART > rendered.yaml before nexus verify.
package nexus.rules.readable_deploy_files

violations contains {
	"file": unread.file,
	"line": unread.line,
	"detail": sprintf("is not judged: %s; correct it, or render it first if it is a template", [unread.why]),
} if {
	some unread in input.deploy.unread
}
