# METADATA
# title: the registry refuses what breaks readers of the log
# description: >-
#   The log is read for ever, so the registry compares a schema with every
#   version it holds; at another level, or none, a program that passes by CI
#   can register what breaks.
# custom:
#   severity: error
#   needs: [deploy or live.registry]
#   admission: [ConfigMap, Pod, Deployment.apps, StatefulSet.apps, DaemonSet.apps, ReplicaSet.apps, Job.batch, CronJob.batch]
#   remedy: >-
#     Set the registry's compatibility level to BACKWARD_TRANSITIVE or
#     FULL_TRANSITIVE.
package nexus.rules.registry_compatibility

import data.nexus.commands

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

stated contains {"file": doc.file, "line": object.get(doc.lines, sprintf("/data/%s", [name]), doc.line), "name": name, "level": level} if {
	some doc in input.deploy.documents
	doc.kind == "ConfigMap"
	some name, level in doc.content.data
}

violations contains {
	"file": command.file,
	"line": command.line,
	"detail": sprintf("the command line sets the level %s: set BACKWARD_TRANSITIVE or FULL_TRANSITIVE, because the log holds every version", [level[1]]),
} if {
	some command in commands.lines
	some level in regex.find_all_string_submatch_n(`(?i)"?compatibility"?\s*[:=]\s*"?(none|(?:backward|forward|full)(?:_transitive)?)\b`, command.text, -1)
	not upper(level[1]) in levels
}

# A registry that is told nothing has its maker's level, which is another. One
# with files of its own may be told there.
silent := `(^|/)(cp-schema-registry|apicurio-registry(-(mem|sql|kafkasql))?(-native)?|karapace)(:|@|$)`

violations contains {
	"file": doc.file,
	"line": object.get(doc.lines, sprintf("/services/%s/image", [name]), doc.line),
	"detail": sprintf("the registry %s is told no level: set BACKWARD_TRANSITIVE or FULL_TRANSITIVE, because the log holds every version", [name]),
} if {
	some doc in input.deploy.documents
	doc.format == "compose"
	some name, service in doc.content.services
	regex.match(silent, service.image)
	not told(service)
}

violations contains {
	"file": doc.file,
	"line": doc.line,
	"detail": sprintf("the registry %s is told no level: set BACKWARD_TRANSITIVE or FULL_TRANSITIVE, because the log holds every version", [container.name]),
} if {
	some doc in input.deploy.documents
	doc.format == "kubernetes"
	walk(doc.content, [path, container])
	path[count(path) - 2] == "containers"
	regex.match(silent, container.image)
	not told(container)
}

told(container) if {
	some part in ["volumes", "configs", "env_file", "extends", "envFrom", "volumeMounts", "command", "args", "entrypoint"]
	container[part]
}

told(container) if {
	some name in settings
	contains(json.marshal(container), name)
}
