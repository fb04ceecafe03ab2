package gateway

import (
	"fmt"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

var idSchema = schema{"type": "string", "minLength": 1, "maxLength": domain.IDBytesMax}

// queries describes the routes of the read models.
func (d *description) queries() {
	d.add("get", "/api/queries", operation{
		id: "getReadModels", tag: "queries", summary: "The read models, their fields and how far they are.",
		answers:  map[int]schema{200: response("The read models.", "application/json", object([]string{"items"}, schema{"items": list(ref("ReadModel"))}))},
		problems: []code{codeInvalidParameter, codeOverloaded, codeUnavailable},
	})
	for _, m := range d.models {
		document := d.record(m.Document)
		properties := schema{"items": list(document), "total": whole("How many documents match, on all pages."), "next": schema{"type": "string", "nullable": true, "description": "Cursor of the next page; null on the last."}}
		d.add("get", "/api/queries/"+m.Name, operation{
			id: "list-" + m.Name, tag: "queries", summary: m.Document.Doc(),
			parameters: append(queryParameters(m.parameters), m.filterParameters()...),
			answers: map[int]schema{200: response("A page of documents.", "application/json",
				object([]string{"items", "total", "next", "lag", "lagRecords", "position"}, withLag(properties)))},
			problems: []code{codeInvalidParameter, codeOverloaded, codeUnavailable, codeBehind},
		})
		d.add("get", "/api/queries/"+m.Name+"/{id}", operation{
			id: "get-" + m.Name, tag: "queries", summary: "One document. " + m.Document.Doc(),
			parameters: append([]any{pathParameter("id", "The document's id: exact, case-sensitive, percent-encoded.", idSchema)}, queryParameters(documentParameters)...),
			answers:    map[int]schema{200: response("The document.", "application/json", document)},
			problems:   []code{codeInvalidID, codeInvalidParameter, codeUnknownDocument, codeOverloaded, codeUnavailable, codeBehind},
		})
	}
}

func withLag(properties schema) schema {
	properties["lag"] = schema{"type": "number", "description": "Age in seconds of the oldest record that is not in the answer; 0 if there is none."}
	properties["lagRecords"] = whole("How many records are not in the answer.")
	properties["position"] = text("What the answer includes.")
	return properties
}

// filterParameters describes every filter[f] and filter[f][op].
func (m *readModel) filterParameters() (described []any) {
	for _, f := range m.Spec.Fields {
		described = append(described, schema{
			"name": "filter[" + f.Name + "]", "in": "query", "description": "Documents whose " + f.Name + " is this.", "schema": filterSchema(f.Kind),
		})
		for _, op := range filterOps {
			described = append(described, schema{
				"name": fmt.Sprintf("filter[%s][%s]", f.Name, op), "in": "query",
				"description": "Documents whose " + f.Name + " is " + opText[op] + " this.", "schema": filterSchema(f.Kind),
			})
		}
	}
	return described
}

var opText = map[ports.Op]string{ports.OpGte: "at least", ports.OpGt: "greater than", ports.OpLte: "at most", ports.OpLt: "less than"}

func filterSchema(kind ports.Kind) schema {
	switch kind {
	case ports.KindLong:
		return schema{"type": "integer", "format": "int64"}
	case ports.KindMoney:
		return moneySchema("")
	case ports.KindTimestamp:
		return schema{"type": "string", "format": "date-time"}
	case ports.KindDouble:
		return schema{"type": "number"}
	case ports.KindBool:
		return schema{"type": "boolean"}
	}
	return schema{"type": "string"}
}

// aggregates describes the routes of aggregates' states and events.
func (d *description) aggregates() {
	id := pathParameter("id", "The aggregate's id: exact, case-sensitive, percent-encoded.", idSchema)
	for _, a := range d.topology.Aggregates {
		k := d.kept[a.Name()]
		d.add("get", "/api/aggregates/"+a.Name()+"/{id}", operation{
			id: "getAggregate-" + a.Name(), tag: "aggregates", summary: k.state.Doc(),
			parameters: append([]any{id, headerParameter("If-None-Match", "The ETag of a version the client has.", schema{"type": "string"})}, queryParameters(stateParameters)...),
			answers: map[int]schema{
				200: response("The state.", "application/json", d.stateAnswer(k)),
				304: response("The client has this version.", "", nil),
			},
			problems: []code{codeInvalidID, codeInvalidParameter, codeUnknownAggregate, codeOverloaded, codeUnavailable, codeBehind},
		})
		d.add("get", "/api/aggregates/"+a.Name()+"/{id}/events", operation{
			id: "getEvents-" + a.Name(), tag: "aggregates", summary: "The events of one " + a.Name() + ", oldest first.",
			parameters: append([]any{id}, queryParameters(eventsParameters)...),
			answers:    map[int]schema{200: response("A page of events.", "application/json", d.eventsAnswer(k))},
			problems:   []code{codeInvalidID, codeInvalidParameter, codeUnknownAggregate, codeOverloaded, codeUnavailable},
		})
	}
}

func (d *description) stateAnswer(k *aggregateKind) schema {
	return object([]string{"type", "id", "version", "at", "state"}, schema{
		"type": schema{"type": "string", "enum": []any{k.Name()}}, "id": text("The aggregate's id."), "version": whole("Its version."),
		"at": schema{"type": "string", "format": "date-time", "description": "When the last event was recorded."}, "state": d.record(k.state),
	})
}

func (d *description) eventsAnswer(k *aggregateKind) schema {
	var forms []any
	for _, full := range k.Events() {
		forms = append(forms, object([]string{"id", "type", "version", "at", "commandId", "correlationId", "causationId", "actor", "data"}, schema{
			"id":   schema{"type": "string", "format": "uuid"},
			"type": schema{"type": "string", "enum": []any{topology.ShortName(full)}}, "version": whole("The aggregate's version after the event."),
			"at":        schema{"type": "string", "format": "date-time"},
			"commandId": text("The command that caused it."), "correlationId": text("Shared by all records of one business process."),
			"causationId": text("The record that caused it."), "actor": text("Who asked for it; empty when nobody was authenticated."),
			"data": d.record(k.events[full]),
		}))
	}
	next := schema{"type": "integer", "format": "int64", "nullable": true, "description": "The from of the next page; null on the last."}
	return object([]string{"items", "next"}, schema{"items": list(schema{"oneOf": forms}), "next": next})
}

// record describes a record once and refers to it.
func (d *description) record(s *avro.Schema) schema {
	if _, known := d.schemas[s.Name()]; !known {
		d.schemas[s.Name()] = nil // a recursive type refers to itself
		properties := schema{}
		var required []string
		for i := range s.Fields() {
			f := &s.Fields()[i]
			if f.Hidden() {
				continue
			}
			properties[f.Name] = d.field(f)
			if !f.Optional() {
				required = append(required, f.Name)
			}
		}
		o := object(required, properties)
		o["additionalProperties"] = false
		o["description"] = s.Doc()
		d.schemas[s.Name()] = o
	}
	return ref(s.Name())
}

func (d *description) field(f *avro.Field) schema {
	s := d.value(f.Type())
	if _, refers := s["$ref"]; refers && (f.Nullable() || f.Doc != "") {
		s = schema{"allOf": []any{s}} // beside a $ref nothing else counts
	}
	if f.Doc != "" {
		s["description"] = f.Doc
	}
	if f.Nullable() {
		s["nullable"] = true
	}
	return s
}
