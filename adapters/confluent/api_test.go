package confluent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/registrytest"
)

// step is one request, and what Confluent's registry answers by its documents and its source. A $ stands for the prefix
// of the run's subjects, #1 for the first id that was seen, #2 for the second.
type step struct {
	title, request, body, answer string
}

// of returns the body that carries the record R of a namespace with an int per field; "b=0" is one with a default.
func of(namespace string, fields ...string) string {
	var list []string
	for _, f := range fields {
		name, value, optional := strings.Cut(f, "=")
		f = `{"name":"` + name + `","type":"int"`
		if optional {
			f += `,"default":` + value
		}
		list = append(list, f+"}")
	}
	return avro(`{"type":"record","name":"R","namespace":"$` + namespace + `","fields":[` + strings.Join(list, ",") + `]}`)
}

// with adds an attribute to a body.
func with(body, attribute string) string {
	return strings.TrimSuffix(body, "}") + "," + attribute + "}"
}

// line is a schema that refers to a version of $m.
func line(version string) string {
	return with(avro(`{"type":"record","name":"Line","namespace":"$l","fields":[{"name":"price","type":"$m.R"}]}`),
		`"references":[{"name":"$m.R","subject":"$m","version":`+version+`}]`)
}

var levelSteps = []step{
	{"a subject is registered", "POST /subjects/$c/versions", of("c", "a"), `200 {"id":"#1"}`},
	{"the own level of a subject without one", "GET /config/$c", "", "404 40408"},
	{"the level that holds for a subject without its own", "GET /config/$c?defaultToGlobal=true", "", `200 {"compatibilityLevel":"BACKWARD_TRANSITIVE"}`},
	{"the level that holds for a subject that does not exist", "GET /config/$nowhere?defaultToGlobal=true", "", `200 {"compatibilityLevel":"BACKWARD_TRANSITIVE"}`},
	{"a level that is none", "PUT /config/$c", `{"compatibility":"SOMETIMES"}`, "422 42203"},
	{"a breaking version", "POST /subjects/$c/versions", of("c", "a", "b"), "409 409"},
	{"a subject gets its own level", "PUT /config/$c", `{"compatibility":"NONE"}`, `200 {"compatibility":"NONE"}`},
	{"the subject's level wins over the registry's", "POST /subjects/$c/versions", of("c", "a", "b"), `200 {"id":"#2"}`},
	{"a subject loses its own level", "DELETE /config/$c", "", `200 {"compatibilityLevel":"NONE"}`},
	{"the registry's level holds again", "POST /subjects/$c/versions", of("c", "a", "b", "c"), "409 409"},
	{"a level is removed that is not there", "DELETE /config/$c", "", "404 40401"},
	{"a check against an unknown version", "POST /compatibility/subjects/$c/versions/9", of("c", "a"), "404 40402"},
	{"a check against the latest of a subject that does not exist", "POST /compatibility/subjects/$nowhere/versions/latest", of("c", "a"), `200 {"is_compatible":true}`},
}

var deleteSteps = []step{
	{"the first of two versions", "POST /subjects/$d/versions", of("d", "a"), `200 {"id":"#1"}`},
	{"the second of two versions", "POST /subjects/$d/versions", of("d", "a", "b=0"), `200 {"id":"#2"}`},
	{"a hard delete of a version before the soft one", "DELETE /subjects/$d/versions/1?permanent=true", "", "404 40407"},
	{"a soft delete of a version", "DELETE /subjects/$d/versions/1", "", "200 1"},
	{"a soft delete of a version again", "DELETE /subjects/$d/versions/1", "", "404 40406"},
	{"the versions after a soft delete", "GET /subjects/$d/versions", "", "200 [2]"},
	{"the versions, deleted ones too", "GET /subjects/$d/versions?deleted=true", "", "200 [1,2]"},
	{"the deleted versions alone", "GET /subjects/$d/versions?deletedOnly=true", "", "200 [1]"},
	{"a deleted version", "GET /subjects/$d/versions/1", "", "404 40402"},
	{"a deleted version, asked for as such", "GET /subjects/$d/versions/1?deleted=true", "", `200 {"id":"#1","subject":"$d","version":1}`},
	{"the schema of a deleted version by its id", "GET /schemas/ids/#1", "", "200 {}"},
	{"a look-up of a deleted version", "POST /subjects/$d", of("d", "a"), "404 40403"},
	{"a look-up among deleted versions too", "POST /subjects/$d?deleted=true", of("d", "a"), `200 {"id":"#1","subject":"$d","version":1}`},
	{"a hard delete of a version", "DELETE /subjects/$d/versions/1?permanent=true", "", "200 1"},
	{"the id of a version deleted for good", "GET /schemas/ids/#1", "", "404 40403"},
	{"numbers go on after a delete", "POST /subjects/$d/versions", of("d", "a", "b=0", "c=0"), `200 {"id":"#3"}`},
	{"the latest version after a delete", "GET /subjects/$d/versions/latest", "", `200 {"id":"#3","subject":"$d","version":3}`},
	{"a hard delete of a subject before the soft one", "DELETE /subjects/$d?permanent=true", "", "404 40405"},
	{"a soft delete of a subject", "DELETE /subjects/$d", "", "200 [2,3]"},
	{"a soft delete of a subject again", "DELETE /subjects/$d", "", "404 40404"},
	{"the versions of a deleted subject", "GET /subjects/$d/versions", "", "404 40401"},
	{"the latest version of a deleted subject", "GET /subjects/$d/versions/latest", "", "404 40401"},
	{"a deleted subject is registered again", "POST /subjects/$d/versions", of("d", "a", "b=0"), `200 {"id":"#2"}`},
	{"it has a new number and its old id", "GET /subjects/$d/versions/latest", "", `200 {"id":"#2","subject":"$d","version":4}`},
	{"it is deleted again", "DELETE /subjects/$d", "", "200 [4]"},
	{"the subject is deleted for good", "DELETE /subjects/$d?permanent=true", "", "200 [2,3,4]"},
	{"nothing is left, not even among the deleted", "GET /subjects/$d/versions?deleted=true", "", "404 40401"},
	{"a subject deleted for good begins again", "POST /subjects/$d/versions", of("d", "a"), `200 {"id":"#4"}`},
	{"it begins with version 1", "GET /subjects/$d/versions", "", "200 [1]"},
	{"a soft delete of a subject that does not exist", "DELETE /subjects/$nowhere", "", "404 40401"},
	{"a soft delete of an unknown version", "DELETE /subjects/$d/versions/9", "", "404 40402"},
	{"version 0", "GET /subjects/$d/versions/0", "", "422 42202"},
	{"a version that is no number", "GET /subjects/$d/versions/first", "", "422 42202"},
	{"a subject with a level of its own", "PUT /config/$d", `{"compatibility":"FULL"}`, `200 {"compatibility":"FULL"}`},
	{"is deleted softly", "DELETE /subjects/$d", "", "200 [1]"},
	{"its level goes with it", "GET /config/$d", "", "404 40408"},
}

var afterDeleteSteps = []step{
	{"version 1", "POST /subjects/$j/versions", of("j", "a"), `200 {"id":"#1"}`},
	{"version 2 has an optional field more", "POST /subjects/$j/versions", of("j", "a", "b=0"), `200 {"id":"#2"}`},
	{"version 1 is deleted softly", "DELETE /subjects/$j/versions/1", "", "200 1"},
	{"a deleted version is not judged against", "POST /subjects/$j/versions", of("j", "a", "b"), `200 {"id":"#3"}`},
}

var referenceSteps = []step{
	{"a schema that others will use", "POST /subjects/$m/versions", of("m", "a"), `200 {"id":"#1"}`},
	{"a reference to a version that is not there", "POST /subjects/$l/versions", line("7"), "422 42201"},
	{"a schema with a reference", "POST /subjects/$l/versions", line("1"), `200 {"id":"#2"}`},
	{"the same schema with its reference again", "POST /subjects/$l/versions", line("1"), `200 {"id":"#2"}`},
	{"a schema by id comes with its references", "GET /schemas/ids/#2", "", `200 {"references":[{"name":"$m.R","subject":"$m","version":1}]}`},
	{"who refers to a version", "GET /subjects/$m/versions/1/referencedby", "", `200 ["#2"]`},
	{"a check through a reference", "POST /compatibility/subjects/$l/versions/latest", line("1"), `200 {"is_compatible":true}`},
	{"a soft delete of a version in use", "DELETE /subjects/$m/versions/1", "", "422 42206"},
	{"a soft delete of a subject in use", "DELETE /subjects/$m", "", "422 42206"},
	{"the user is deleted softly", "DELETE /subjects/$l", "", "200 [1]"},
	{"then what it used may go", "DELETE /subjects/$m/versions/1", "", "200 1"},
}

var modeSteps = []step{
	{"the mode of the registry", "GET /mode", "", `200 {"mode":"READWRITE"}`},
	{"the own mode of a subject without one", "GET /mode/$i", "", "404 40409"},
	{"a mode that is none", "PUT /mode/$i", `{"mode":"SOMETIMES"}`, "422 42204"},
	{"an id is chosen outside mode IMPORT", "POST /subjects/$i/versions", with(of("i", "a"), `"id":700001,"version":1`), "422 42205"},
	{"an empty subject begins an import", "PUT /mode/$i", `{"mode":"IMPORT"}`, `200 {"mode":"IMPORT"}`},
	{"no id is chosen in mode IMPORT", "POST /subjects/$i/versions", of("i", "a"), "422 42205"},
	{"an id and a number are imported", "POST /subjects/$i/versions", with(of("i", "a"), `"id":700001,"version":5`), `200 {"id":"700001"}`},
	{"the same is imported again", "POST /subjects/$i/versions", with(of("i", "a"), `"id":700001,"version":5`), `200 {"id":"700001"}`},
	{"the same is imported again without its number", "POST /subjects/$i/versions", with(of("i", "a"), `"id":700001`), `200 {"id":"700001"}`},
	{"an imported id means what was imported", "GET /subjects/$i/versions/latest", "", `200 {"id":"700001","subject":"$i","version":5}`},
	{"another schema is imported with an id in use", "POST /subjects/$i/versions", with(of("i", "b"), `"id":700001,"version":6`), "422 42205"},
	{"an import is not judged", "POST /subjects/$i/versions", with(of("i", "a", "z"), `"id":700002,"version":6`), `200 {"id":"700002"}`},
	{"an import ends", "PUT /mode/$i", `{"mode":"READWRITE"}`, `200 {"mode":"READWRITE"}`},
	{"an import begins where there are versions", "PUT /mode/$i", `{"mode":"IMPORT"}`, "422 42205"},
	{"ids go on above those of an import", "POST /subjects/$i/versions", of("i", "a=0", "z=0"), `200 {"id":"700003"}`},
	{"numbers go on above those of an import", "GET /subjects/$i/versions", "", "200 [5,6,7]"},
	{"a number is chosen that is not the next", "POST /subjects/$i/versions", with(of("i", "a=0", "z=0", "y=0"), `"version":3`), "422 42201"},
	{"a number is chosen that is the next", "POST /subjects/$i/versions", with(of("i", "a=0", "z=0", "y=0"), `"version":8`), `200 {"id":"700004"}`},
	{"a subject becomes read-only", "PUT /mode/$i", `{"mode":"READONLY"}`, `200 {"mode":"READONLY"}`},
	{"a registration in mode READONLY", "POST /subjects/$i/versions", of("i", "a=0"), "422 42205"},
	{"a known schema in mode READONLY", "POST /subjects/$i/versions", of("i", "a=0", "z=0"), `200 {"id":"700003"}`},
	{"a soft delete in mode READONLY", "DELETE /subjects/$i/versions/5", "", "422 42205"},
	{"a subject loses its own mode", "DELETE /mode/$i", "", `200 {"mode":"READONLY"}`},
	{"a mode is removed that is not there", "DELETE /mode/$i", "", "404 40401"},
}

func TestRegistries_answerSideBySide(t *testing.T) {
	embedded, apicurio := peers(t)
	var found [][]string
	for _, steps := range [][]step{levelSteps, deleteSteps, afterDeleteSteps, referenceSteps, modeSteps} {
		ids := map[*peer]idNames{embedded: {}, apicurio: {}}
		for _, p := range []*peer{embedded, apicurio} {
			registrytest.SetLevel(t, p.url, "", "BACKWARD_TRANSITIVE")
		}
		for _, s := range steps {
			if got := embedded.answer(t, s, ids[embedded]); got != s.answer {
				t.Errorf("%s\n%s %s\n got %s\nwant %s", s.title, s.request, s.body, got, s.answer)
			}
			if got := apicurio.answer(t, s, ids[apicurio]); got != s.answer {
				found = append(found, []string{s.title, "`" + s.answer + "`", "`" + got + "`"})
			}
		}
	}
	listed(t, "Answers of the API", found)
}

// The port's client brings the schemas that a schema refers to, from both.
func TestRegistry_followsReferencesOnBoth(t *testing.T) {
	embedded, apicurio := peers(t)
	for _, p := range []*peer{embedded, apicurio} {
		registrytest.SetLevel(t, p.url, "", "BACKWARD_TRANSITIVE")
		names := idNames{}
		for _, s := range referenceSteps[:3] {
			p.answer(t, s, names)
		}
		for id, name := range names {
			text, refersTo, err := connect(t, config.Registry{URL: p.url}).Text(t.Context(), uint32(id))
			switch {
			case err != nil:
				t.Errorf("%s: %v", p.name, err)
			case name == "#1" && len(refersTo) > 0:
				t.Errorf("%s: %s refers to %v", p.name, text, refersTo)
			case name == "#2" && (len(refersTo) != 1 || !strings.Contains(text, "Line") || !strings.Contains(refersTo[0], `"name":"R"`)):
				t.Errorf("%s: %s refers to %v", p.name, text, refersTo)
			}
		}
		if len(names) != 2 {
			t.Errorf("%s: ids %v, want two", p.name, names)
		}
	}
}

// idNames are the names of the ids of one registry, because no two registries give the same ones.
type idNames map[int]string

func (names idNames) of(id int) string {
	if id >= 700_000 { // chosen by the steps
		return fmt.Sprint(id)
	}
	if names[id] == "" {
		names[id] = fmt.Sprintf("#%d", len(names)+1)
	}
	return names[id]
}

// answer makes the request of a step and returns what matters of the answer, in the words of the step.
func (p *peer) answer(t *testing.T, s step, names idNames) string {
	t.Helper()
	expand := func(text string) string { return strings.ReplaceAll(text, "$", p.prefix) }
	method, path, _ := strings.Cut(expand(s.request), " ")
	for id, name := range names {
		path = strings.ReplaceAll(path, name, fmt.Sprint(id))
	}
	status, body := p.ask(t, method, path, expand(s.body))
	var v any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return fmt.Sprint(status)
	}
	v = names.rename(v, strings.HasSuffix(path, "/referencedby"))
	if failure, ok := v.(map[string]any); ok && status >= 400 {
		if code, ok := failure["error_code"]; ok {
			return fmt.Sprint(status, " ", code)
		}
		return fmt.Sprint(status)
	}
	said, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(fmt.Sprint(status, " ", string(said)), p.prefix, "$")
}

// told are the attributes of answers that are compared; texts are, by the port's suite.
var told = []string{"id", "subject", "version", "references", "name", "is_compatible", "compatibility", "compatibilityLevel", "mode", "error_code"}

// rename puts names in place of ids, and leaves out what is not compared or empty.
func (names idNames) rename(v any, ids bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if list, isList := v[k].([]any); v[k] != nil && slices.Contains(told, k) && (!isList || len(list) > 0) {
				out[k] = names.rename(v[k], k == "id")
			}
		}
		if out["compatibilityLevel"] != nil { // the embedded registry says it under both names to those who remove a level
			delete(out, "compatibility")
		}
		return out
	case []any:
		for i := range v {
			v[i] = names.rename(v[i], ids)
		}
		return v
	case json.Number:
		if id, err := v.Int64(); ids && err == nil {
			return names.of(int(id))
		}
	}
	return v
}
