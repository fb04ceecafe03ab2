package registry

import (
	"errors"
	"net/http"
	"strings"
)

// versionBody describes a version of a subject, as Confluent's API does.
type versionBody struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	SchemaType string      `json:"schemaType,omitempty"`
	References []Reference `json:"references,omitempty"`
	Schema     string      `json:"schema"`
}

func (s *state) describe(subject string, v *version) versionBody {
	of := s.schemas[v.id]
	return versionBody{subject, v.number, v.id, of.kind, of.references, of.text}
}

func (r *Registry) getSubjects(req *http.Request) (any, error) {
	show, prefix := visibilityOf(req), strings.TrimPrefix(req.URL.Query().Get("subjectPrefix"), ":.:")
	out := []string{}
	r.mu.RLock()
	for _, name := range r.state.subjectNames() {
		if strings.HasPrefix(name, prefix) && r.state.shows(name, show) {
			out = append(out, name)
		}
	}
	r.mu.RUnlock()
	return page(req, out)
}

// shows reports whether a list of subjects holds this one: deletedOnly means
// that nothing of it is left.
func (s *state) shows(subject string, show visibility) bool {
	if show == deletedOnly {
		return len(s.versions(subject, live)) == 0
	}
	return len(s.versions(subject, show)) > 0
}

func (r *Registry) getVersions(req *http.Request) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	numbers := numbersOf(r.state.versions(subject, visibilityOf(req)))
	r.mu.RUnlock()
	if len(numbers) == 0 {
		return nil, subjectNotFound(subject)
	}
	return page(req, numbers)
}

// atVersion finds the version of the path and gives it to use, under the lock.
func (r *Registry) atVersion(req *http.Request, use func(subject string, v *version) any) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	number, err := versionOf(req)
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	v, err := r.state.version(subject, number, visibilityOf(req))
	if err != nil {
		return nil, err
	}
	return use(subject, v), nil
}

func (r *Registry) getVersion(req *http.Request) (any, error) {
	return r.atVersion(req, func(subject string, v *version) any { return r.state.describe(subject, v) })
}

func (r *Registry) getVersionText(req *http.Request) (any, error) {
	return r.atVersion(req, func(_ string, v *version) any { return rawText(r.state.schemas[v.id].text) })
}

func (r *Registry) getReferencedBy(req *http.Request) (any, error) {
	return r.atVersion(req, func(subject string, v *version) any {
		ids := r.state.referrers(subject, v.number, visibilityOf(req))
		return append([]int{}, ids...) // an empty list, not null
	})
}

type idBody struct {
	ID int `json:"id"`
}

// postVersion registers. The parameter normalize changes nothing: schemas are
// always compared by what they say.
func (r *Registry) postVersion(req *http.Request) (any, error) {
	subject, in, err := readSubjectSchema(req)
	if err != nil {
		return nil, err
	}
	id, err := r.register(req.Context(), subject, in)
	if err != nil {
		return nil, err
	}
	return idBody{id}, nil
}

// postLookup answers whether a subject has the schema.
func (r *Registry) postLookup(req *http.Request) (any, error) {
	subject, in, err := readSubjectSchema(req)
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	show := visibilityOf(req)
	if len(r.state.versions(subject, show)) == 0 {
		return nil, subjectNotFound(subject)
	}
	if v := r.sameText(subject, in, show); v != nil {
		return r.state.describe(subject, v), nil
	}
	if in.references, err = r.pinReferences(in.references); err != nil {
		return nil, err
	}
	parsed, err := r.parser.posted(r.state, in)
	if err != nil {
		return nil, err
	}
	v := r.find(subject, identityOf(parsed.Fingerprint(), in.references), show)
	if v == nil {
		return nil, problem(codeSchemaNotFound, "Schema not found")
	}
	return r.state.describe(subject, v), nil
}

func readSubjectSchema(req *http.Request) (string, posted, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return "", posted{}, err
	}
	in, err := readSchema(req)
	return subject, in, err
}

func (r *Registry) deleteSubjectRoute(req *http.Request) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	return r.deleteSubject(req.Context(), subject, flag(req, "permanent"))
}

func (r *Registry) deleteVersionRoute(req *http.Request) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	number, err := versionOf(req)
	if err != nil {
		return nil, err
	}
	return r.deleteVersion(req.Context(), subject, number, flag(req, "permanent"))
}

type compatibilityBody struct {
	Compatible bool     `json:"is_compatible"`
	Messages   []string `json:"messages,omitempty"`
}

// postCompatibility judges a schema against one version or, without a version
// in the path, against those that the level looks at. A subject that does not
// exist yet takes everything.
func (r *Registry) postCompatibility(req *http.Request) (any, error) {
	subject, in, err := readSubjectSchema(req)
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	versions := r.state.versions(subject, live)
	if req.PathValue("version") != "" {
		number, err := versionOf(req)
		if err != nil {
			return nil, err
		}
		v, err := r.state.version(subject, number, live)
		switch {
		case err == nil:
			versions = []*version{v}
		case number != 0:
			return nil, err
		}
	}
	if in.references, err = r.pinReferences(in.references); err != nil {
		return nil, err
	}
	parsed, err := r.parser.posted(r.state, in)
	if err != nil {
		return nil, err
	}
	return verdictOf(r.judge(subject, parsed, versions), flag(req, "verbose"))
}

func verdictOf(err error, verbose bool) (any, error) {
	var j *judgement
	switch {
	case err == nil:
		return compatibilityBody{Compatible: true}, nil
	case !errors.As(err, &j):
		return nil, err
	case verbose:
		return compatibilityBody{Messages: j.messages}, nil
	}
	return compatibilityBody{}, nil
}
