# METADATA
# title: the registry refuses what breaks readers of the log
# description: >-
#   The log is read for ever, so the registry compares a schema with every
#   version it holds; at another level, or none, a program that passes by CI
#   can register what breaks.
# custom:
#   severity: error
#   needs: [deploy or live.registry]
#   admission: [Pod, Deployment.apps, StatefulSet.apps, DaemonSet.apps, ReplicaSet.apps, Job.batch, CronJob.batch]
#   remedy: >-
#     Set the registry's compatibility level to BACKWARD_TRANSITIVE or
#     FULL_TRANSITIVE.
package nexus.rules.registry_compatibility

levels := {"BACKWARD_TRANSITIVE", "FULL_TRANSITIVE"}

settings := {"APICURIO_RULES_GLOBAL_COMPATIBILITY", "SCHEMA_REGISTRY_SCHEMA_COMPATIBILITY_LEVEL", "SCHEMA_REGISTRY_AVRO_COMPATIBILITY_LEVEL", "KARAPACE_COMPATIBILITY"}

# Compose's environment, as map and as list.
stated contains {"file": doc.file, "line": line, "name": name, "level": level} if {
	some doc in input.deploy.documents
	some service, s in doc.content.services
	doc.format == "compose"
	some name, level in s.environment
	line := object.get(doc.lines, sprintf("/services/%s/environment/%s", [service, name]), doc.line)
}

stated contains {"file": doc.file, "line": line, "name": name, "level": level} if {
	some doc in input.deploy.documents
	some service, s in doc.content.services
	doc.format == "compose"
	some i, pair in s.environment
	is_number(i)
	[name, level] := split(pair, "=")
	line := object.get(doc.lines, sprintf("/services/%s/environment/%d", [service, i]), doc.line)
}

# Kubernetes' containers, wherever the pod's template stands.
stated contains {"file": doc.file, "line": line, "name": variable.name, "level": variable.value} if {
	some doc in input.deploy.documents
	doc.format == "kubernetes"
	walk(doc.content, [path, variable])
	variable.name in settings
	line := object.get(doc.lines, concat("/", array.concat([""], [sprintf("%v", [p]) | some p in path])), doc.line)
}

violations contains {
	"file": s.file,
	"line": s.line,
	"detail": sprintf("%s is %v: set BACKWARD_TRANSITIVE or FULL_TRANSITIVE, because the log holds every version", [s.name, s.level]),
} if {
	some s in stated
	s.name in settings
	not upper(sprintf("%v", [s.level])) in levels
}

violations contains {
	"place": sprintf("registry: subject %s", [subject]),
	"detail": sprintf("has the level %s: set BACKWARD_TRANSITIVE or FULL_TRANSITIVE, because the log holds every version", [level]),
} if {
	some subject, level in input.live.registry.levels
	not level in levels
}
