package registry

import (
	"encoding/json"
	"net/http"

	"github.com/nexusblueprint/nexus/internal/compat"
)

type levelBody struct {
	Level compat.Level `json:"compatibilityLevel"`
}

func (r *Registry) getConfig(req *http.Request) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if _, own := r.state.levels[subject]; !own && subject != "" && !flag(req, "defaultToGlobal") {
		return nil, problem(codeNoSubjectConfig, "Subject '%s' does not have subject-level compatibility configured", subject)
	}
	return levelBody{r.state.level(subject)}, nil
}

// configRequest reads a change of level. What else newer registries keep in a
// configuration would be lost, so it is refused; normalize is what happens
// here anyway.
type configRequest struct {
	Level            string          `json:"compatibility"`
	Alias            json.RawMessage `json:"alias,omitempty"`
	Normalize        *bool           `json:"normalize,omitempty"`
	Group            json.RawMessage `json:"compatibilityGroup,omitempty"`
	DefaultMetadata  json.RawMessage `json:"defaultMetadata,omitempty"`
	OverrideMetadata json.RawMessage `json:"overrideMetadata,omitempty"`
	DefaultRuleSet   json.RawMessage `json:"defaultRuleSet,omitempty"`
	OverrideRuleSet  json.RawMessage `json:"overrideRuleSet,omitempty"`
}

func (r *Registry) putConfig(req *http.Request) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	var in configRequest
	if err := decodeBody(req, &in); err != nil {
		return nil, err
	}
	for _, raw := range []json.RawMessage{in.Alias, in.Group, in.DefaultMetadata, in.OverrideMetadata, in.DefaultRuleSet, in.OverrideRuleSet} {
		if given(raw) && string(raw) != `""` {
			return nil, problem(codeInvalidLevel, "this registry keeps the compatibility level of a subject and nothing else: leave %.60s out", raw)
		}
	}
	level, err := compat.ParseLevel(in.Level)
	if err != nil {
		return nil, problem(codeInvalidLevel, "Invalid compatibility level: %s", err)
	}
	if err := r.setLevel(req.Context(), subject, level); err != nil {
		return nil, err
	}
	return configRequest{Level: string(level), Normalize: in.Normalize}, nil
}

// deleteConfig answers with the level that was removed, under the name of the
// getter and of the setter: clients differ in which one they read.
func (r *Registry) deleteConfig(req *http.Request) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	old, err := r.resetLevel(req.Context(), subject)
	if err != nil {
		return nil, err
	}
	return map[string]compat.Level{"compatibilityLevel": old, "compatibility": old}, nil
}

type modeBody struct {
	Mode string `json:"mode"`
}

func (r *Registry) getMode(req *http.Request) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if _, own := r.state.modes[subject]; !own && subject != "" && !flag(req, "defaultToGlobal") {
		return nil, problem(codeNoSubjectMode, "Subject '%s' does not have subject-level mode configured", subject)
	}
	return modeBody{r.state.mode(subject)}, nil
}

func (r *Registry) putMode(req *http.Request) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	var in modeBody
	if err := decodeBody(req, &in); err != nil {
		return nil, err
	}
	switch in.Mode {
	case modeReadWrite, modeReadOnly, modeImport:
	default:
		return nil, problem(codeInvalidMode, "Invalid mode. Valid values are %s, %s, and %s.", modeReadWrite, modeReadOnly, modeImport)
	}
	if err := r.setMode(req.Context(), subject, in.Mode, flag(req, "force")); err != nil {
		return nil, err
	}
	return in, nil
}

func (r *Registry) deleteMode(req *http.Request) (any, error) {
	subject, err := subjectOf(req)
	if err != nil {
		return nil, err
	}
	old, err := r.resetMode(req.Context(), subject)
	if err != nil {
		return nil, err
	}
	return modeBody{old}, nil
}
