package registry

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxSubjectBytes = 1024
	maxReferences   = 64
)

// schemaRequest is the body of registration, lookup and compatibility check.
type schemaRequest struct {
	Schema     string          `json:"schema"`
	Type       string          `json:"schemaType"`
	References []Reference     `json:"references"`
	ID         int             `json:"id"`
	Version    int             `json:"version"`
	Metadata   json.RawMessage `json:"metadata"`
	RuleSet    json.RawMessage `json:"ruleSet"`
}

// readSchema reads and checks the form of a posted schema, not its meaning.
func readSchema(req *http.Request) (posted, error) {
	var in schemaRequest
	if err := decodeBody(req, &in); err != nil {
		return posted{}, err
	}
	if in.Type != "" && in.Type != typeAvro {
		return posted{}, problem(codeInvalidSchema, "Schema type %.40q is not served here: use %s", in.Type, typeAvro)
	}
	if given(in.Metadata) || given(in.RuleSet) {
		return posted{}, problem(codeInvalidSchema, "metadata and ruleSet are not kept by this registry: leave them out")
	}
	var text bytes.Buffer
	if err := json.Compact(&text, []byte(in.Schema)); err != nil {
		return posted{}, problem(codeInvalidSchema, "Invalid schema: its text is not JSON: %s", err)
	}
	if len(in.References) > maxReferences {
		return posted{}, problem(codeInvalidSchema, "%d references, at most %d are accepted", len(in.References), maxReferences)
	}
	for i, ref := range in.References {
		subject, err := checkSubject(ref.Subject)
		if err != nil {
			return posted{}, err
		}
		if ref.Version != -1 && (ref.Version < 1 || ref.Version > math.MaxInt32) {
			return posted{}, problem(codeInvalidSchema, "reference to subject %s has version %d", subject, ref.Version)
		}
		in.References[i].Subject = subject
	}
	return in.posted(text.String())
}

func (in schemaRequest) posted(text string) (posted, error) {
	out := posted{text: text, references: in.References, id: max(in.ID, 0), version: max(in.Version, 0)}
	if len(out.references) == 0 {
		out.references = nil
	}
	if out.id > math.MaxInt32 || out.version > math.MaxInt32 {
		return posted{}, problem(codeInvalidVersion, "id %d or version %d is out of range", out.id, out.version)
	}
	return out, nil
}

func given(raw json.RawMessage) bool {
	s := strings.TrimSpace(string(raw))
	return s != "" && s != "null" && s != "{}"
}

// subjectOf reads the subject of the path. Routes without one are global: "".
func subjectOf(req *http.Request) (string, error) {
	subject := req.PathValue("subject")
	if subject == "" && !strings.Contains(req.Pattern, "{subject}") {
		return "", nil
	}
	return checkSubject(subject)
}

// checkSubject refuses names that cannot be subjects. The prefix ":.:" names
// the default context, the only one there is.
func checkSubject(subject string) (string, error) {
	name := strings.TrimPrefix(subject, ":.:")
	bad := name == "" || len(name) > maxSubjectBytes || strings.HasPrefix(name, ":.") ||
		name == "__GLOBAL" || name == "__EMPTY" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl)
	if bad {
		return "", problem(codeInvalidSubject, "The specified subject %.100q is not a valid subject.", subject)
	}
	return name, nil
}

// versionOf reads the version of the path; 0 means the latest.
func versionOf(req *http.Request) (int, error) {
	text := req.PathValue("version")
	if text == "latest" || text == "-1" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return 0, problem(codeInvalidVersion, "The specified version '%.40s' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\"", text)
	}
	return int(n), nil
}

func idOf(req *http.Request) (int, error) {
	n, err := strconv.ParseInt(req.PathValue("id"), 10, 32)
	if err != nil || n < 0 {
		return 0, problem(http.StatusNotFound, "HTTP 404 Not Found")
	}
	return int(n), nil
}

func flag(req *http.Request, name string) bool {
	return strings.EqualFold(req.URL.Query().Get(name), "true")
}

// visibilityOf reads the parameters deleted and deletedOnly.
func visibilityOf(req *http.Request) visibility {
	switch {
	case flag(req, "deletedOnly"):
		return deletedOnly
	case flag(req, "deleted"):
		return all
	}
	return live
}

// page cuts a list to the parameters offset and limit.
func page[T any](req *http.Request, list []T) ([]T, error) {
	offset, err := intParam(req, "offset", 0)
	if err != nil {
		return nil, err
	}
	limit, err := intParam(req, "limit", -1)
	if err != nil {
		return nil, err
	}
	list = list[min(max(offset, 0), len(list)):]
	if limit > 0 {
		list = list[:min(limit, len(list))]
	}
	return list, nil
}

func intParam(req *http.Request, name string, unset int) (int, error) {
	text := req.URL.Query().Get(name)
	if text == "" {
		return unset, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, problem(http.StatusBadRequest, "parameter %s=%.40q is not a number", name, text)
	}
	return int(n), nil
}
