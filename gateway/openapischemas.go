package gateway

import (
	"math"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// value describes a type as its JSON form.
func (d *description) value(s *avro.Schema) schema {
	switch s.Logical() {
	case avro.LogicalMoney:
		return moneySchema("An exact amount.")
	case avro.LogicalTimestamp:
		return schema{"type": "string", "format": "date-time"}
	case avro.LogicalUUID:
		return schema{"type": "string", "format": "uuid"}
	}
	switch s.Kind() {
	case avro.KindRecord:
		return d.record(s)
	case avro.KindEnum:
		symbols := make([]any, len(s.Symbols()))
		for i, symbol := range s.Symbols() {
			symbols[i] = symbol
		}
		return schema{"type": "string", "enum": symbols}
	case avro.KindString:
		return schema{"type": "string", "maxLength": s.MaxLength()}
	case avro.KindInt:
		return schema{"type": "integer", "format": "int32", "minimum": math.MinInt32, "maximum": math.MaxInt32}
	case avro.KindLong:
		return schema{"type": "integer", "format": "int64"}
	case avro.KindFloat, avro.KindDouble:
		return schema{"type": "number", "format": s.Kind().String()}
	case avro.KindBoolean:
		return schema{"type": "boolean"}
	case avro.KindBytes, avro.KindFixed:
		return schema{"type": "string", "format": "byte"}
	case avro.KindArray:
		return list(d.element(s.Items()))
	case avro.KindMap:
		return schema{"type": "object", "additionalProperties": d.element(s.Items())}
	}
	return schema{} // null, or a union of several types: any value
}

// element describes an item of an array or map.
func (d *description) element(s *avro.Schema) schema {
	if !s.Nullable() {
		return d.value(s)
	}
	return d.field(&avro.Field{Schema: s})
}

func moneySchema(doc string) schema {
	s := schema{"type": "string", "pattern": `^-?(0|[1-9][0-9]*)(\.[0-9]{1,3}0*)?$`, "example": "12.75"}
	if doc != "" {
		s["description"] = doc
	}
	return s
}

// common describes the bodies that every context has.
func (d *description) common() {
	answer := schema{
		"commandId": text("The command's id."), "type": text("The command's type."), "aggregateType": text("Type of the aggregate."),
		"aggregateId": text("Id of the aggregate."), "version": whole("The aggregate's version after the command."),
		"events": list(object([]string{"id", "type", "version"}, schema{
			"id": schema{"type": "string", "format": "uuid"}, "type": text("The event's type."), "version": whole("The aggregate's version after it."),
		})),
		"position": text("At or after the command's last event: a query that carries it answers no older."),
	}
	answered := []string{"commandId", "type", "aggregateType", "aggregateId", "version", "events", "position"}
	pending := schema{"commandId": answer["commandId"], "type": answer["type"], "aggregateType": answer["aggregateType"], "aggregateId": answer["aggregateId"]}
	pends := []string{"commandId", "type", "aggregateType", "aggregateId"}
	problem := problemProperties()
	complains := []string{"type", "title", "status", "code", "detail"}
	line := schema{
		"line": whole("The line's number, from 1."), "status": whole("What the single route's status would have been."),
		"replayed": schema{"type": "boolean", "description": "True for the first answer to a repeated command; else absent."},
	}
	for name, s := range map[string]schema{
		"CommandAnswer":  object(answered, answer),
		"CommandPending": object(pends, pending),
		"Problem":        object(complains, problem),
		"CommandOutcome": object(append([]string{"status"}, answered...), both(answer, schema{"status": line["status"]})),
		"CommandProblem": object(append([]string{"commandId"}, complains...), problem),
		"BatchAnswer":    object(append([]string{"line", "status"}, answered...), both(answer, line)),
		"BatchPending":   object(append([]string{"line", "status"}, pends...), both(pending, schema{"line": line["line"], "status": line["status"]})),
		"BatchProblem":   object(append([]string{"line"}, complains...), both(problem, schema{"line": line["line"], "replayed": line["replayed"]})),
		"ReadModel": object([]string{"name", "version", "fields", "count", "lag", "lagRecords", "position"}, withLag(schema{
			"name": text("Its name in paths."), "version": whole("Version of its fold."), "count": whole("How many documents it has."),
			"fields": list(object([]string{"name", "type"}, schema{"name": text("The field."), "type": schema{"type": "string", "enum": typeNames}})),
		})),
		"Endpoints": object([]string{"api", "bus", "registry"}, schema{"api": text("Base URL of this API."), "bus": text("host:port of the broker."), "registry": text("Base URL of the schema registry.")}),
		"Readiness": object([]string{"ready", "checks", "governance"}, schema{"ready": schema{"type": "boolean"}, "checks": list(object([]string{"name", "ok", "detail"}, schema{
			"name": text("What is checked."), "ok": schema{"type": "boolean"}, "detail": text("What is missing."),
		})), "governance": object([]string{"mode", "violations", "notJudged", "gaps"}, schema{
			"mode":      text("What a start does with violations: enforce (it stops) or warn (it shows them here)."),
			"notJudged": list(text("A rule that a running program cannot judge: nexus verify does.")),
			"gaps": list(object([]string{"part", "rules", "why"}, schema{
				"part": text("What was asked for and not told, such as live.acls."), "rules": list(text("A rule that looks at it.")), "why": text("Why it is not told, and what to do."),
			})),
			"violations": list(object([]string{"rule", "severity", "place", "detail"}, schema{
				"rule": text("Id of the rule."), "severity": text("error or warning."), "place": text("Topic, subject or part of the topology."),
				"detail": text("What is wrong and what to do."),
			})),
		})}),
	} {
		d.schemas[name] = s
	}
}

var typeNames = []any{"string", "long", "double", "boolean", "money", "timestamp", "uuid", "bytes", "array", "object"}

func problemProperties() schema {
	return schema{
		"type": text("A URN that names the kind of problem."), "title": text("The kind of problem in words."), "status": whole("The HTTP status."),
		"code": text("Stable: programs may switch on it. Rejections carry the domain's own codes."), "detail": text("A sentence for people; may change."),
		"errors": list(object([]string{"pointer", "code", "detail"}, schema{
			"pointer": text("RFC 6901 pointer into the body, or / and the name of a query parameter."), "code": text("Stable."), "detail": text("A sentence for people; may change."),
		})),
		"commandId": text("The command it is about."), "aggregateId": text("The aggregate it is about."), "version": whole("The version at which the aggregate stands."),
	}
}

// both merges properties; the later ones win.
func both(parts ...schema) schema {
	merged := schema{}
	for _, part := range parts {
		for name, s := range part {
			merged[name] = s
		}
	}
	return merged
}
