package policies

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

type junitSuites struct {
	XMLName  xml.Name   `xml:"testsuites"`
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Suite    junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string         `xml:"name,attr"`
	Class   string         `xml:"classname,attr"`
	Failure *junitMessage  `xml:"failure"`
	Skipped *junitMessage  `xml:"skipped"`
	Output  *junitVerbatim `xml:"system-out"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

type junitVerbatim struct {
	Text string `xml:",chardata"`
}

// WriteJUnit writes the verdict as JUnit XML: a test case per rule, which fails
// with all its violations, and is skipped where it was not judged, or not by all
// that it looks at.
func (v Verdict) WriteJUnit(w io.Writer, rules []Rule) error {
	suite := junitSuite{Name: "nexus verify", Tests: len(rules)}
	for _, rule := range rules {
		c := junitCase{Name: rule.ID + ": " + rule.Title, Class: "nexus.policies"}
		lines := v.linesOf(rule.ID)
		switch {
		case len(lines) > 0 && rule.Severity == Error:
			suite.Failures++
			c.Failure = &junitMessage{Message: fmt.Sprintf("%d violations. %s", len(lines), rule.Remedy), Text: strings.Join(lines, "\n")}
		case len(lines) > 0:
			c.Output = &junitVerbatim{strings.Join(lines, "\n")}
		case v.gap(rule.ID) != "":
			suite.Skipped++
			c.Skipped = &junitMessage{Message: v.gap(rule.ID)}
		case !v.judged(rule.ID):
			suite.Skipped++
			c.Skipped = &junitMessage{Message: "its facts were not gathered: it needs " + strings.Join(rule.Needs, ", ")}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Name: suite.Name, Tests: suite.Tests, Failures: suite.Failures, Suite: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (v Verdict) linesOf(rule string) []string {
	var lines []string
	for _, violation := range v.Violations {
		if violation.Rule == rule {
			lines = append(lines, violation.Place+": "+violation.Detail)
		}
	}
	return lines
}

func (v Verdict) gap(rule string) string {
	var all []string
	for _, gap := range v.Gaps {
		if slices.Contains(gap.Rules, rule) {
			all = append(all, gap.String())
		}
	}
	return strings.Join(all, "\n")
}

func (v Verdict) judged(rule string) bool { return slices.Contains(v.Judged, rule) }
