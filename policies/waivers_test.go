package policies

import (
	"strings"
	"testing"
	"time"
)

func verdictOf(violations ...Violation) Verdict {
	return Verdict{Judged: []string{"direct-calls", "owners"}, Violations: violations}
}

func day(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestVerdict_Waive(t *testing.T) {
	call := Violation{Rule: "direct-calls", Severity: Error, Place: "legacy/client.go:3", File: "legacy/client.go", Line: 3, Detail: "dials"}
	owner := Violation{Rule: "owners", Severity: Error, Place: "topology: topic a", Detail: "has none"}
	for name, c := range map[string]struct {
		waiver Waiver
		at     string
		waived bool
	}{
		"the file":              {Waiver{Rule: "direct-calls", Place: "legacy/client.go"}, "2027-01-01T00:00:00Z", true},
		"the folder":            {Waiver{Rule: "direct-calls", Place: "legacy/"}, "2027-01-01T00:00:00Z", true},
		"a pattern":             {Waiver{Rule: "direct-calls", Place: "legacy/*.go"}, "2027-01-01T00:00:00Z", true},
		"everything":            {Waiver{Rule: "direct-calls"}, "2027-01-01T00:00:00Z", true},
		"its last second":       {Waiver{Rule: "direct-calls"}, "2027-03-31T23:59:59Z", true},
		"the day after":         {Waiver{Rule: "direct-calls"}, "2027-04-01T00:00:00Z", false},
		"another rule":          {Waiver{Rule: "owners"}, "2027-01-01T00:00:00Z", false},
		"a folder of like name": {Waiver{Rule: "direct-calls", Place: "leg"}, "2027-01-01T00:00:00Z", false},
		"another file":          {Waiver{Rule: "direct-calls", Place: "legacy/other.go"}, "2027-01-01T00:00:00Z", false},
	} {
		t.Run(name, func(t *testing.T) {
			c.waiver.Owner, c.waiver.Reason, c.waiver.Expires = "sales", "moves in spring", "2027-03-31"
			v := verdictOf(call).Waive([]Waiver{c.waiver}, day(t, c.at))
			if v.OK() != c.waived || len(v.Waived) == 1 != c.waived {
				t.Errorf("%+v", v)
			}
			expired := strings.Contains(name, "after")
			if expired && !strings.Contains(v.Violations[0].Detail, "of sales, expired on 2027-03-31") {
				t.Errorf("an expired waiver is not named: %+v", v.Violations)
			}
			if idle := len(v.Idle) == 1; idle == (c.waived || expired) {
				t.Errorf("idle: %+v", v.Idle)
			}
		})
	}
	v := verdictOf(call, owner).Waive([]Waiver{{Rule: "owners", Place: "topology: topic a", Expires: "2027-03-31"}}, day(t, "2027-01-01T00:00:00Z"))
	if len(v.Violations) != 1 || v.Violations[0] != call {
		t.Errorf("what stands in no file is waived by its place: %+v", v)
	}
}

func TestParseWaivers_says_what_a_waiver_has(t *testing.T) {
	const has = ": a waiver has rule, place, reason, owner and expires, in a list under waivers"
	for text, want := range map[string]string{
		"hello\n":                           "line 1: cannot unmarshal !!str `hello`" + has,
		"waivers: hello\n":                  "line 1: cannot unmarshal !!str `hello`" + has,
		"waivers:\n- {rule: a, plaze: b}\n": "line 2: field plaze not found" + has,
	} {
		if _, err := ParseWaivers([]byte(text), nil); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestParseWaivers_refuses_what_nobody_answers_for(t *testing.T) {
	rules := []Rule{{ID: "owners"}}
	good := "waivers:\n- {rule: owners, reason: r, owner: o, expires: 2027-03-31}\n"
	if w, err := ParseWaivers([]byte(good), rules); err != nil || len(w) != 1 || w[0].Expires != "2027-03-31" {
		t.Fatalf("%v %v", w, err)
	}
	for text, want := range map[string]string{
		"waivers:\n- {rule: ownrs, reason: r, owner: o, expires: 2027-03-31}":              `there is no rule "ownrs"`,
		"waivers:\n- {rule: owners, owner: o, expires: 2027-03-31}":                        "has no reason",
		"waivers:\n- {rule: owners, reason: r, expires: 2027-03-31}":                       "has no owner",
		"waivers:\n- {rule: owners, reason: r, owner: o}":                                  `expires is ""`,
		"waivers:\n- {rule: owners, reason: r, owner: o, expires: never}":                  `expires is "never"`,
		"waivers:\n- {rule: owners, reason: r, owner: o, expires: 2027-02-30}":             `expires is "2027-02-30"`,
		"waivers:\n- {rule: owners, reason: r, owner: o, until: 2027-03-31}":               "field until not found",
		"waivers:\n- {rule: owners, reason: r, owner: o, expires: 2027-03-31, place: '['}": `place "[" is no pattern`,
		good + "---\n" + good: "line 3: a second document begins here",
	} {
		if _, err := ParseWaivers([]byte(text), rules); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
