package policies

import (
	"encoding/json"
	"io"
	"net/url"
	"path"
)

// The part of SARIF 2.1.0 that is written here:
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	Results     []sarifResult     `json:"results"`
	Invocations []sarifInvocation `json:"invocations"`
}

type sarifInvocation struct {
	ExecutionSuccessful bool                `json:"executionSuccessful"`
	Notifications       []sarifNotification `json:"toolExecutionNotifications"`
}

type sarifNotification struct {
	Level   string    `json:"level"`
	Message sarifText `json:"message"`
}

type sarifDriver struct {
	Name           string      `json:"name"`
	Version        string      `json:"version"`
	InformationURI string      `json:"informationUri"`
	Rules          []sarifRule `json:"rules"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifRule struct {
	ID               string    `json:"id"`
	ShortDescription sarifText `json:"shortDescription"`
	FullDescription  sarifText `json:"fullDescription"`
	Help             sarifText `json:"help"`
	Configuration    struct {
		Level string `json:"level"`
	} `json:"defaultConfiguration"`
}

type sarifResult struct {
	RuleID       string             `json:"ruleId"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
}

type sarifLocation struct {
	Physical *sarifPhysical `json:"physicalLocation,omitempty"`
	Logical  []sarifLogical `json:"logicalLocations,omitempty"`
}

type sarifPhysical struct {
	Artifact struct {
		URI string `json:"uri"`
	} `json:"artifactLocation"`
	Region struct {
		StartLine int `json:"startLine"`
	} `json:"region"`
}

type sarifLogical struct {
	FullyQualifiedName string `json:"fullyQualifiedName"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Justification string `json:"justification"`
}

// WriteSARIF writes the verdict as SARIF 2.1.0, waived violations as
// suppressed, gaps as notifications. dir is put before the names of files: the way from where the
// reader of the report stands to the folder that was judged.
func (v Verdict) WriteSARIF(w io.Writer, rules []Rule, dir, version string) error {
	log := sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: make([]sarifRun, 1)}
	run := &log.Runs[0]
	run.Tool.Driver = sarifDriver{Name: "nexus verify", Version: version, InformationURI: "https://github.com/nexusblueprint/nexus", Rules: []sarifRule{}}
	run.Results = []sarifResult{}
	run.Invocations = []sarifInvocation{{ExecutionSuccessful: true, Notifications: []sarifNotification{}}}
	for _, gap := range v.Gaps {
		run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, sarifNotification{Level: Warning, Message: sarifText{gap.String()}})
	}
	for _, r := range rules {
		rule := sarifRule{ID: r.ID, ShortDescription: sarifText{r.Title}, FullDescription: sarifText{r.Description}, Help: sarifText{r.Remedy}}
		rule.Configuration.Level = r.Severity
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rule)
	}
	for _, violation := range v.Violations {
		run.Results = append(run.Results, sarifOf(violation, dir))
	}
	for _, waived := range v.Waived {
		result := sarifOf(waived.Violation, dir)
		result.Suppressions = []sarifSuppression{{Kind: "external", Justification: waived.Waiver.Reason + " (" + waived.Waiver.Owner + ", until " + waived.Waiver.Expires + ")"}}
		run.Results = append(run.Results, result)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(log)
}

func sarifOf(v Violation, dir string) sarifResult {
	r := sarifResult{RuleID: v.Rule, Level: v.Severity, Message: sarifText{v.Detail}}
	if v.File == "" {
		r.Message.Text = v.Place + ": " + v.Detail
		r.Locations = []sarifLocation{{Logical: []sarifLogical{{v.Place}}}}
		return r
	}
	physical := &sarifPhysical{}
	physical.Artifact.URI = (&url.URL{Path: path.Join(dir, v.File)}).String()
	physical.Region.StartLine = max(v.Line, 1)
	r.Locations = []sarifLocation{{Physical: physical}}
	return r
}
