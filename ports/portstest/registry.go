package portstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
)

// RegistryServer is the server beneath a registry's adapter, as far as the suite has to handle it.
type RegistryServer struct {
	// SetLevel sets the level of a subject, which may not exist yet, or with subject "" of the registry.
	SetLevel func(t testing.TB, subject string, level ports.Level)
	// Stop takes the server away, Start brings it back with all it held.
	Stop, Start func(t testing.TB)
}

// SchemaRegistry checks a registry against the contract of ports.SchemaRegistry. The registry need not be empty; nobody
// else changes its level or is in need of it meanwhile.
func SchemaRegistry(t *testing.T, registry ports.SchemaRegistry, server RegistryServer) {
	t.Helper()
	server.SetLevel(t, "", ports.LevelBackwardTransitive)
	run := rand.Uint64() // so that the suite may be run twice on one registry
	n := 0
	for _, c := range slices.Concat(registryCases, registryLevelCases, registryTroubleCases) {
		n++
		prefix := fmt.Sprintf("conformance.r%x.Case%d", run, n)
		t.Run(c.title, func(t *testing.T) {
			c.run(&registryTest{T: t, SchemaRegistry: registry, server: server, prefix: prefix})
		})
	}
}

type registryCase struct {
	title string
	run   func(t *registryTest)
}

// registryTest is one case with subjects of its own.
type registryTest struct {
	*testing.T
	ports.SchemaRegistry
	server RegistryServer
	prefix string
}

// schema is a record named as its subject, with the given fields in JSON.
func (t *registryTest) schema(subject string, fields ...string) ports.Schema {
	subject = t.prefix + subject
	dot := strings.LastIndexByte(subject, '.')
	return ports.Schema{Subject: subject, Text: `{"type":"record","namespace":"` + subject[:dot] + `","name":"` + subject[dot+1:] +
		`","fields":[` + strings.Join(fields, ",") + `]}`}
}

// sameText says whether two texts are the same JSON; the suite's names are never written in full.
func sameText(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

const (
	fieldA         = `{"name":"a","type":"int"}`
	fieldB         = `{"name":"b","type":"int"}`
	fieldBOptional = `{"name":"b","type":"int","default":0}`
	fieldBText     = `{"name":"b","type":"string","default":""}`
)

func (t *registryTest) register(s ports.Schema) uint32 {
	t.Helper()
	id, err := t.Register(t.Context(), s)
	if err != nil {
		t.Fatalf("registering %.200s: %v", s.Text, err)
	}
	if id == 0 {
		t.Fatal("registering answers id 0")
	}
	return id
}

func (t *registryTest) versions(subject string) []ports.SchemaVersion {
	t.Helper()
	versions, err := t.Versions(t.Context(), subject)
	if err != nil {
		t.Fatalf("reading versions: %v", err)
	}
	return versions
}

// refused makes sure that a schema does not become a version, and returns the reason.
func (t *registryTest) refused(s ports.Schema, want error) (reason string) {
	t.Helper()
	id, err := t.Register(t.Context(), s)
	if !errors.Is(err, want) {
		t.Fatalf("registering %.200s: %d, %v; want: %v", s.Text, id, err, want)
	}
	if id, err := t.Lookup(t.Context(), s); err == nil {
		t.Fatalf("%.200s was refused and has id %d all the same", s.Text, id)
	}
	return err.Error()
}

// wantUnknown demands ErrUnknownSchema and no other sentinel.
func (t *registryTest) wantUnknown(act string, err error) {
	t.Helper()
	if !errors.Is(err, ports.ErrUnknownSchema) || errors.Is(err, ports.ErrRegistryUnavailable) || errors.Is(err, ports.ErrInvalidSchema) {
		t.Errorf("%s: %v; want: %v", act, err, ports.ErrUnknownSchema)
	}
}

// methods calls every method once and gives the errors by name.
func (t *registryTest) methods(ctx context.Context, s ports.Schema, id uint32) map[string]error {
	out := map[string]error{}
	_, out["Register"] = t.Register(ctx, s)
	_, out["Lookup"] = t.Lookup(ctx, s)
	_, _, out["Text"] = t.Text(ctx, id)
	_, out["Versions"] = t.Versions(ctx, s.Subject)
	out["Check"] = t.Check(ctx, s)
	_, out["Level"] = t.Level(ctx, s.Subject)
	return out
}

var registryCases = []registryCase{
	{"registering twice gives the same id and makes one version", func(t *registryTest) {
		s := t.schema("", fieldA)
		first, second := t.register(s), t.register(s)
		if got := t.versions(s.Subject); first != second || len(got) != 1 || got[0].ID != first {
			t.Errorf("ids %d and %d, versions %+v", first, second, got)
		}
	}},
	{"white space and the spelling of a name make no other schema", func(t *registryTest) {
		s := t.schema("", fieldA)
		id := t.register(s)
		for _, text := range []string{
			strings.ReplaceAll(strings.ReplaceAll(s.Text, ",", " ,\n\t"), ":", " : "),
			`{"type":"record","name":"` + s.Subject + `","fields":[` + fieldA + `]}`,
		} {
			s.Text = text
			if found, err := t.Lookup(t.Context(), s); err != nil || found != id {
				t.Errorf("looking up %s: %d, %v, want %d", text, found, err, id)
			}
			if again := t.register(s); again != id || len(t.versions(s.Subject)) != 1 {
				t.Errorf("registering %s: %d, want %d; versions %+v", text, again, id, t.versions(s.Subject))
			}
		}
	}},
	{"a default or an attribute makes another schema", func(t *registryTest) {
		seen := map[uint32]string{}
		for _, s := range []ports.Schema{
			t.schema("", fieldA), t.schema("", `{"name":"a","type":"int","default":1}`), t.schema("", `{"name":"a","type":"int","default":2}`),
			t.schema("", `{"name":"a","type":"int","personal":true}`),
		} {
			id := t.register(s)
			if other, taken := seen[id]; taken {
				t.Errorf("%s and %s have the same id %d", s.Text, other, id)
			}
			seen[id] = s.Text
		}
	}},
	{"a schema has the same id under every subject", func(t *registryTest) {
		s := t.schema("", fieldA)
		id := t.register(s)
		s.Subject += "Other"
		if other := t.register(s); other != id || t.versions(s.Subject)[0].Number != 1 {
			t.Errorf("id %d, want %d; versions %+v", other, id, t.versions(s.Subject))
		}
	}},
	{"versions come oldest first, with their ids and texts", func(t *registryTest) {
		want := []ports.Schema{t.schema("", fieldA), t.schema("", fieldA, fieldBOptional), t.schema("", fieldBOptional)}
		ids := make([]uint32, len(want))
		for i, s := range want {
			ids[i] = t.register(s)
		}
		got := t.versions(want[0].Subject)
		if len(got) != len(want) {
			t.Fatalf("got %+v", got)
		}
		for i, v := range got {
			if v.ID != ids[i] || !sameText(v.Text, want[i].Text) || v.Number < 1 || (i > 0 && v.Number <= got[i-1].Number) {
				t.Errorf("version %d is %+v, want id %d and %s", i, v, ids[i], want[i].Text)
			}
		}
		if id, err := t.Lookup(t.Context(), want[0]); err != nil || id != ids[0] {
			t.Errorf("an old version is found as %d, %v, want %d", id, err, ids[0])
		}
	}},
	{"an id gives back what was registered", func(t *registryTest) {
		s := t.schema("", `{"name":"a","type":"string","default":"Größe, 数量 \"x\" \\ \u0007"}`)
		text, refersTo, err := t.Text(t.Context(), t.register(s))
		if err != nil || !sameText(text, s.Text) || len(refersTo) > 0 {
			t.Errorf("got %s %v, %v, want %s", text, refersTo, err, s.Text)
		}
	}},
	{"what is not there is unknown, and looking does not create it", func(t *registryTest) {
		s := t.schema("", fieldA)
		_, err := t.Lookup(t.Context(), s)
		t.wantUnknown("looking up in an unknown subject", err)
		_, err = t.Versions(t.Context(), s.Subject)
		t.wantUnknown("versions of an unknown subject", err)
		for _, id := range []uint32{0, 987_654_321, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			_, _, err = t.Text(t.Context(), id)
			t.wantUnknown(fmt.Sprintf("the text of id %d", id), err)
		}
		t.register(s)
		_, err = t.Lookup(t.Context(), t.schema("", fieldA, fieldBOptional))
		t.wantUnknown("looking up another version", err)
		if got := t.versions(s.Subject); len(got) != 1 {
			t.Errorf("looking up has registered: %+v", got)
		}
	}},
	{"what is no schema is refused", func(t *registryTest) {
		s := t.schema("", fieldA)
		known := t.schema("Known", fieldA)
		t.register(known)
		for _, text := range []string{``, `{`, `{"type":"nonsense"}`, `{"type":"record","fields":[]}`, `{"type":"record","name":"x","fields":[{"name":"a","type":"gone.Missing"}]}`} {
			for _, subject := range []string{s.Subject, known.Subject} {
				t.refused(ports.Schema{Subject: subject, Text: text}, ports.ErrInvalidSchema)
			}
			if err := t.Check(t.Context(), ports.Schema{Subject: known.Subject, Text: text}); !errors.Is(err, ports.ErrInvalidSchema) {
				t.Errorf("checking %s: %v; want: %v", text, err, ports.ErrInvalidSchema)
			}
		}
		_, err := t.Versions(t.Context(), s.Subject)
		t.wantUnknown("a subject that got invalid schemas alone", err)
		if got := t.versions(known.Subject); len(got) != 1 {
			t.Errorf("got %+v", got)
		}
	}},
}
