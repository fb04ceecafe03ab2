package portstest

import (
	"errors"
	"strings"

	"github.com/nexusblueprint/nexus/ports"
)

var registryLevelCases = []registryCase{
	{"what breaks readers is refused with a reason and not registered", func(t *registryTest) {
		s := t.schema("", fieldA)
		t.register(s)
		reason := t.refused(t.schema("", fieldA, fieldB), ports.ErrIncompatible)
		if !strings.Contains(reason, s.Subject) || !strings.Contains(reason, "/fields/1") {
			t.Errorf("the error does not name subject and place: %s", reason)
		}
		if got := t.versions(s.Subject); len(got) != 1 {
			t.Errorf("got %+v", got)
		}
		t.register(t.schema("", fieldA, fieldBOptional))
	}},
	{"BACKWARD_TRANSITIVE compares with every version, BACKWARD with the last", func(t *registryTest) {
		t.transitive("BACKWARD", ports.LevelBackwardTransitive,
			[]string{fieldA}, []string{fieldA, fieldBOptional}, []string{fieldA, fieldB})
	}},
	{"FULL_TRANSITIVE compares with every version, FULL with the last", func(t *registryTest) {
		t.transitive("FULL", ports.LevelFullTransitive,
			[]string{fieldA, fieldBOptional}, []string{fieldA}, []string{fieldA, fieldBText})
	}},
	{"BACKWARD_TRANSITIVE lets a field go, FULL_TRANSITIVE does not", func(t *registryTest) {
		for _, level := range []ports.Level{ports.LevelBackwardTransitive, ports.LevelFullTransitive} {
			name := string(level)
			t.server.SetLevel(t, t.prefix+name, level)
			t.register(t.schema(name, fieldA, fieldB))
			if level == ports.LevelFullTransitive {
				t.refused(t.schema(name, fieldA), ports.ErrIncompatible)
			} else {
				t.register(t.schema(name, fieldA))
			}
		}
	}},
	{"checking says what registering would do, and registers nothing", func(t *registryTest) {
		s := t.schema("", fieldA)
		if err := t.Check(t.Context(), s); err != nil {
			t.Errorf("a subject without versions: %v", err)
		}
		_, err := t.Versions(t.Context(), s.Subject)
		t.wantUnknown("a subject that was checked alone", err)
		t.register(s)
		for fields, want := range map[string]error{
			fieldA: nil, fieldA + "," + fieldBOptional: nil, fieldA + "," + fieldB: ports.ErrIncompatible, `{"name":"a","type":"string"}`: ports.ErrIncompatible,
		} {
			if err := t.Check(t.Context(), t.schema("", fields)); !errors.Is(err, want) {
				t.Errorf("checking %s: %v; want: %v", fields, err, want)
			}
		}
		if got := t.versions(s.Subject); len(got) != 1 {
			t.Errorf("got %+v", got)
		}
	}},
	{"a subject has its own level or that of the registry", func(t *registryTest) {
		s := t.schema("", fieldA)
		t.wantLevel(s.Subject, ports.LevelBackwardTransitive)
		t.register(s)
		t.wantLevel(s.Subject, ports.LevelBackwardTransitive)
		for _, level := range []ports.Level{ports.LevelFullTransitive, "FORWARD", ports.LevelNone} {
			t.server.SetLevel(t, s.Subject, level)
			t.wantLevel(s.Subject, level)
		}
		t.register(t.schema("", `{"name":"a","type":"string"}`)) // nothing is checked any more
	}},
	{"a registry without a level says so", func(t *registryTest) {
		s := t.schema("", fieldA)
		t.register(s)
		t.server.SetLevel(t, "", ports.LevelNone)
		defer t.server.SetLevel(t, "", ports.LevelBackwardTransitive)
		t.wantLevel(s.Subject, ports.LevelNone)
		t.wantLevel(s.Subject+"New", ports.LevelNone)
	}},
}

// transitive registers two versions and makes sure that the third, which fits the second alone, is refused at a level
// and taken at the weaker one.
func (t *registryTest) transitive(weaker, level ports.Level, first, second, third []string) {
	t.Helper()
	for _, l := range []ports.Level{weaker, level} {
		name := string(l)
		t.server.SetLevel(t, t.prefix+name, l)
		t.register(t.schema(name, first...))
		t.register(t.schema(name, second...))
		last := t.schema(name, third...)
		if l == weaker {
			t.register(last)
			continue
		}
		if err := t.Check(t.Context(), last); !errors.Is(err, ports.ErrIncompatible) {
			t.Errorf("checking at %s: %v; want: %v", l, err, ports.ErrIncompatible)
		}
		t.refused(last, ports.ErrIncompatible)
	}
}

func (t *registryTest) wantLevel(subject string, want ports.Level) {
	t.Helper()
	if got, err := t.Level(t.Context(), subject); err != nil || got != want {
		t.Errorf("the level of %s is %q, %v; want %s", subject, got, err, want)
	}
}
