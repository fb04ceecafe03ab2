package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// schema is a piece of the OpenAPI document: a schema object, or any other.
type schema = map[string]any

// describe makes the OpenAPI document (3.0.3) from what the gateway judges
// requests by: the topology's schemas, the tables of parameters and the codes.
func (g *Gateway) describe(version string) ([]byte, error) {
	d := &description{Gateway: g, schemas: schema{}, paths: schema{}}
	d.common()
	d.commands()
	d.queries()
	d.aggregates()
	d.operations()
	doc := schema{
		"openapi": "3.0.3",
		"info": schema{
			"title": "Nexus: " + g.topology.Context, "version": version,
			"description": "Commands in, their outcomes and the read models out. Every error is a problem+json (RFC 9457) with a stable code.",
			"license":     schema{"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
		},
		"servers":    []any{schema{"url": "/"}},
		"paths":      d.paths,
		"components": schema{"schemas": d.schemas},
	}
	body, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	return append(body, '\n'), nil
}

// description is the document in the making.
type description struct {
	*Gateway
	schemas, paths schema
}

// operation is one method of one path.
type operation struct {
	id, summary, tag string
	parameters       []any
	body             schema
	answers          map[int]schema // responses without problems, by status
	problems         []code
}

func (d *description) add(method, path string, o operation) {
	responses := schema{}
	for status, answer := range o.answers {
		responses[strconv.Itoa(status)] = answer
	}
	for status, response := range problemResponses(append(o.problems, codeForbiddenHost, codeForbiddenOrigin, codeInternal)) {
		if own, both := responses[status].(schema); both {
			// One status, two bodies: the media type tells them apart.
			maps.Copy(own["content"].(schema), response["content"].(schema))
			continue
		}
		responses[status] = response
	}
	operation := schema{"operationId": o.id, "summary": o.summary, "tags": []any{o.tag}, "responses": responses}
	if len(o.parameters) > 0 {
		operation["parameters"] = o.parameters
	}
	if o.body != nil {
		operation["requestBody"] = o.body
	}
	item, ok := d.paths[path].(schema)
	if !ok {
		item = schema{}
		d.paths[path] = item
	}
	item[method] = operation
}

// problemResponses groups codes by their status.
func problemResponses(codes []code) map[string]schema {
	texts := map[string][]string{}
	for _, c := range slices.Compact(slices.Sorted(slices.Values(codes))) {
		status := strconv.Itoa(c.kind().status)
		texts[status] = append(texts[status], c.kind().title+" (`"+c.kind().name+"`)")
	}
	responses := map[string]schema{}
	for status, titles := range texts {
		text := titles[0]
		for _, t := range titles[1:] {
			text += "; " + t
		}
		responses[status] = response(text+".", "application/problem+json", ref("Problem"))
	}
	return responses
}

func response(text, media string, body schema) schema {
	r := schema{"description": text}
	if body != nil {
		r["content"] = schema{media: schema{"schema": body}}
	}
	return r
}

func ref(name string) schema { return schema{"$ref": "#/components/schemas/" + name} }

func object(required []string, properties schema) schema {
	s := schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func text(doc string) schema { return schema{"type": "string", "description": doc} }
func whole(doc string) schema {
	return schema{"type": "integer", "format": "int64", "description": doc}
}

func list(items schema) schema { return schema{"type": "array", "items": items} }

// queryParameters describes a table of parameters.
func queryParameters[T any](table []parameter[T]) (described []any) {
	for _, p := range table {
		described = append(described, schema{"name": p.name, "in": "query", "description": p.doc, "schema": p.schema})
	}
	return described
}

func pathParameter(name, doc string, s schema) schema {
	return schema{"name": name, "in": "path", "required": true, "description": doc, "schema": s}
}

func headerParameter(name, doc string, s schema) schema {
	return schema{"name": name, "in": "header", "description": doc, "schema": s}
}

// commands describes the routes that take commands and know their outcomes.
func (d *description) commands() {
	for _, name := range slices.Sorted(maps.Keys(d.kinds)) {
		kind := d.kinds[name]
		d.add("post", "/api/commands/"+name, operation{
			id: "send" + name, tag: "commands", summary: kind.schema.Doc(),
			parameters: commandHeaders, body: jsonBody(d.record(kind.schema)), answers: commandAnswers(), problems: commandProblems,
		})
	}
	d.add("post", "/api/commands", operation{
		id: "sendBatch", tag: "commands",
		summary:    "Send many commands, a line each; the answer has a line for each, in their order.",
		parameters: []any{preferHeader},
		body:       schema{"required": true, "content": schema{"application/x-ndjson": schema{"schema": d.batchLine()}}},
		answers: map[int]schema{200: response("A line per command: what the single route answers, with line (from 1) and status. Pointers of a line's errors lead into its command.",
			"application/x-ndjson", schema{"anyOf": []any{ref("BatchAnswer"), ref("BatchPending"), ref("BatchProblem")}})},
		problems: []code{codeUnsupportedMediaType, codeOverloaded},
	})
	d.add("get", "/api/commands/{id}", operation{
		id: "getCommand", tag: "commands", summary: "How a command ended; outcomes are kept for at least an hour.",
		parameters: []any{pathParameter("id", "The command's id.", commandIDSchema)},
		answers: map[int]schema{
			200: response("The command's answer with its status.", "application/json", schema{"anyOf": []any{ref("CommandOutcome"), ref("CommandProblem")}}),
			202: response("The command is under way.", "application/json", object([]string{"commandId", "status"}, schema{"commandId": text("The command's id."), "status": whole("202.")})),
		},
		problems: []code{codeInvalidID, codeUnknownCommandID, codeUnavailable},
	})
}

var (
	commandIDSchema = schema{"type": "string", "minLength": 1, "maxLength": commandIDBytesMax, "pattern": "^[!-~]([ -~]*[!-~])?$"}
	preferHeader    = headerParameter("Prefer", "wait=N: how many seconds to wait for outcomes, at most 30; 10 if it is not said.", schema{"type": "string"})
	commandHeaders  = []any{
		headerParameter(headerKey, "The command's id. A repetition with the same body gets the first answer. Made if absent, always returned.", commandIDSchema),
		headerParameter("If-Match", `"7": the aggregate must stand at version 7; *: it must exist.`, schema{"type": "string", "pattern": `^(\*|"(0|[1-9][0-9]*)")$`}),
		headerParameter("If-None-Match", "*: the aggregate must not exist.", schema{"type": "string", "enum": []any{"*"}}),
		preferHeader,
	}
	commandProblems = []code{
		codeInvalidCommand, codeInvalidIdempotencyKey, codeInvalidPrecondition, codeRequestTimeout, codeCommandIDReused, codeStaleCommand,
		codeVersionConflict, codeBodyTooLarge, codeUnsupportedMediaType, codeRejected, codeStateTooLarge, codeOverloaded, codeDeadLetter,
		codeUnavailable, codeOutcomeUnknown,
	}
)

func commandAnswers() map[int]schema {
	return map[int]schema{
		200: response("Accepted; nothing had to change.", "application/json", ref("CommandAnswer")),
		201: response("Accepted; the events are recorded.", "application/json", ref("CommandAnswer")),
		202: response("Logged; the outcome did not come in time. Ask for it at the Location.", "application/json", ref("CommandPending")),
	}
}

func jsonBody(s schema) schema {
	return schema{"required": true, "content": schema{"application/json": schema{"schema": s}}}
}

// batchLine describes a line: one form per command type.
func (d *description) batchLine() schema {
	var forms []any
	for _, name := range slices.Sorted(maps.Keys(d.kinds)) {
		form := object([]string{"type", "command"}, schema{
			"type":            schema{"type": "string", "enum": []any{name}},
			"id":              commandIDSchema,
			"expectedVersion": schema{"type": "integer", "format": "int64", "minimum": 0, "description": "The version the aggregate must stand at; 0: it must not exist."},
			"command":         d.record(d.kinds[name].schema),
		})
		form["additionalProperties"] = false
		forms = append(forms, form)
	}
	return schema{"oneOf": forms}
}

// operations describes the routes for those who run the system.
func (d *description) operations() {
	plain := func(id, path, summary, text, media string, body schema) {
		d.add("get", path, operation{id: id, tag: "operations", summary: summary, answers: map[int]schema{200: response(text, media, body)}})
	}
	plain("getEndpoints", "/api/admin/endpoints", "Where the parts of the running system are reached.", "The addresses.", "application/json", ref("Endpoints"))
	plain("getOpenAPI", "/api/openapi.json", "This document.", "The document.", "application/json", schema{"type": "object"})
	plain("getHealth", "/healthz", "Whether the process answers.", "It does.", "application/json", object([]string{"ok"}, schema{"ok": schema{"type": "boolean"}}))
	plain("getMetrics", "/metrics", "Figures for Prometheus.", "The figures.", "text/plain", schema{"type": "string"})
	d.add("get", "/readyz", operation{
		id: "getReady", tag: "operations", summary: "Whether the system takes commands and queries.",
		answers: map[int]schema{
			200: response("Every check is passed.", "application/json", ref("Readiness")),
			503: response("At least one check is not passed.", "application/json", ref("Readiness")),
		},
	})
}
