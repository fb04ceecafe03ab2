package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// WaiversFile is where waivers stand in a module's folder, unless named otherwise.
const WaiversFile = "nexus-waivers.yaml"

// Waiver lets violations of one rule pass until a day, for a stated reason.
type Waiver struct {
	Rule    string `json:"rule" yaml:"rule"`
	Place   string `json:"place,omitempty" yaml:"place"` // file, folder/, pattern of files, or place without line; empty: all
	Reason  string `json:"reason" yaml:"reason"`
	Owner   string `json:"owner" yaml:"owner"`
	Expires string `json:"expires" yaml:"expires"` // the last day it holds, in UTC: 2027-03-31
}

// Waived is a violation that a waiver lets pass.
type Waived struct {
	Violation
	Waiver Waiver `json:"waiver"`
}

// ParseWaivers reads a file of waivers. Every fault of it is reported, together:
// a waiver that is half said would let pass what nobody answers for.
func ParseWaivers(text []byte, rules []Rule) ([]Waiver, error) {
	var file struct {
		Waivers []Waiver `yaml:"waivers"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	err := dec.Decode(&file)
	if all := new(yaml.TypeError); errors.As(err, &all) { // whose texts end with Go's types
		why, _, _ := strings.Cut(all.Errors[0], " in")
		return nil, fmt.Errorf("%s: a waiver has rule, place, reason, owner and expires, in a list under waivers", why)
	}
	if err == nil {
		var second yaml.Node
		if err = dec.Decode(&second); err == nil {
			return nil, fmt.Errorf("line %d: a second document begins here, whose waivers would cover nothing: put all into one list", second.Line)
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	var faults []error
	for i, w := range file.Waivers {
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("waiver %d: %s", i+1, fmt.Sprintf(format, args...)))
		}
		if !slices.ContainsFunc(rules, func(r Rule) bool { return r.ID == w.Rule }) {
			fault("there is no rule %q: nexus verify --rules lists them", w.Rule)
		}
		if strings.TrimSpace(w.Reason) == "" {
			fault("has no reason: say why the rule need not hold here")
		}
		if strings.TrimSpace(w.Owner) == "" {
			fault("has no owner: say who answers for it")
		}
		if _, err := time.Parse(time.DateOnly, w.Expires); err != nil {
			fault("expires is %q: write the last day it holds, such as 2027-03-31", w.Expires)
		}
		if _, err := path.Match(w.Place, ""); err != nil {
			fault("place %q is no pattern: %v", w.Place, err)
		}
	}
	return file.Waivers, errors.Join(faults...)
}

// expired says that the waiver's last day is over.
func (w Waiver) expired(now time.Time) bool {
	last, err := time.Parse(time.DateOnly, w.Expires)
	return err != nil || !now.Before(last.AddDate(0, 0, 1))
}

func (w Waiver) covers(v Violation) bool {
	if w.Rule != v.Rule {
		return false
	}
	where := v.File
	if where == "" {
		where = v.Place
	}
	matched, _ := path.Match(w.Place, where)
	return w.Place == "" || w.Place == where || matched || strings.HasSuffix(w.Place, "/") && strings.HasPrefix(where, w.Place)
}

// Waive takes out of the violations what a waiver covers at that time. An
// expired waiver covers nothing, and its violations say so. Waivers of judged rules
// that have no violation are listed as idle.
func (v Verdict) Waive(waivers []Waiver, now time.Time) Verdict {
	out := v
	out.Violations, out.Waived, out.Idle = []Violation{}, []Waived{}, []Waiver{}
	used := make([]bool, len(waivers))
	for _, violation := range v.Violations {
		waived := false
		for i, w := range waivers {
			if !w.covers(violation) {
				continue
			}
			used[i] = true
			if w.expired(now) {
				violation.Detail += fmt.Sprintf(" (its waiver, of %s, expired on %s)", w.Owner, w.Expires)
				continue
			}
			if !waived {
				out.Waived = append(out.Waived, Waived{violation, w})
			}
			waived = true
		}
		if !waived {
			out.Violations = append(out.Violations, violation)
		}
	}
	for i, w := range waivers {
		if !used[i] && slices.Contains(v.Judged, w.Rule) {
			out.Idle = append(out.Idle, w)
		}
	}
	return out
}
