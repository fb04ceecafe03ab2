package registry

import (
	"net/http"
	"strings"
)

func (r *Registry) getSchemas(req *http.Request) (any, error) {
	show, prefix := visibilityOf(req), strings.TrimPrefix(req.URL.Query().Get("subjectPrefix"), ":.:")
	latest := flag(req, "latestOnly")
	out := []versionBody{}
	r.mu.RLock()
	for _, name := range r.state.subjectNames() {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		list := r.state.versions(name, show)
		if latest && len(list) > 1 {
			list = list[len(list)-1:]
		}
		for _, v := range list {
			out = append(out, r.state.describe(name, v))
		}
	}
	r.mu.RUnlock()
	return page(req, out)
}

type schemaBody struct {
	SchemaType string      `json:"schemaType,omitempty"`
	Schema     string      `json:"schema"`
	References []Reference `json:"references,omitempty"`
	MaxID      *int        `json:"maxId,omitempty"`
}

// atSchema finds the schema of the path and gives it to use, under the lock.
// Deleted versions keep their schema readable: data was written with it.
func (r *Registry) atSchema(req *http.Request, use func(s *schema) any) (any, error) {
	id, err := idOf(req)
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.state.schemas[id]
	if s == nil || !r.state.usedBy(s, strings.TrimPrefix(req.URL.Query().Get("subject"), ":.:")) {
		return nil, schemaNotFound(id)
	}
	return use(s), nil
}

// usedBy reports whether a subject has the schema; "" stands for any.
func (s *state) usedBy(of *schema, subject string) bool {
	if subject == "" {
		return true
	}
	for _, v := range s.subjects[subject] {
		if v.id == of.id {
			return true
		}
	}
	return false
}

func (r *Registry) getSchema(req *http.Request) (any, error) {
	return r.atSchema(req, func(s *schema) any {
		out := schemaBody{SchemaType: s.kind, Schema: s.text, References: s.references}
		if flag(req, "fetchMaxId") {
			maxID := r.state.maxID
			out.MaxID = &maxID
		}
		return out
	})
}

func (r *Registry) getSchemaText(req *http.Request) (any, error) {
	return r.atSchema(req, func(s *schema) any { return rawText(s.text) })
}

type usageBody struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

func (s *state) usages(of *schema, show visibility) []usageBody {
	out := []usageBody{}
	for _, name := range s.subjectNames() {
		for _, v := range s.versions(name, show) {
			if v.id == of.id {
				out = append(out, usageBody{name, v.number})
			}
		}
	}
	return out
}

func (r *Registry) getSchemaVersions(req *http.Request) (any, error) {
	return r.atSchema(req, func(s *schema) any { return r.state.usages(s, visibilityOf(req)) })
}

func (r *Registry) getSchemaSubjects(req *http.Request) (any, error) {
	return r.atSchema(req, func(s *schema) any {
		out := []string{}
		for _, u := range r.state.usages(s, visibilityOf(req)) {
			if len(out) == 0 || out[len(out)-1] != u.Subject {
				out = append(out, u.Subject)
			}
		}
		return out
	})
}
