package portstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nexusblueprint/nexus/ports"
)

var registryTroubleCases = []registryCase{
	{"concurrent registrations lose nothing", func(t *registryTest) {
		const workers, each = 8, 6
		subject := t.prefix + "One"
		t.server.SetLevel(t, subject, ports.LevelNone)
		schemaOf := func(worker, i int) ports.Schema { // the same of two workers
			s := t.schema(fmt.Sprintf("R%d", worker/2*each+i), fieldA)
			s.Subject = subject
			return s
		}
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				for i := range each {
					s := schemaOf(w, i)
					id, err := t.Register(t.Context(), s)
					if err != nil {
						t.Errorf("registering %s: %v", s.Text, err)
						continue
					}
					if text, _, err := t.Text(t.Context(), id); err != nil || !sameText(text, s.Text) {
						t.Errorf("id %d was given for %s and means %s, %v", id, s.Text, text, err)
					}
				}
			})
		}
		group.Wait()
		texts, numbers := map[string]bool{}, map[int]bool{}
		for _, v := range t.versions(subject) {
			texts[v.Text], numbers[v.Number] = true, true
		}
		if len(texts) != workers/2*each || len(numbers) != len(t.versions(subject)) {
			t.Errorf("%d schemas in %d numbers, want %d: %+v", len(texts), len(numbers), workers/2*each, t.versions(subject))
		}
		for w := 0; w < workers; w += 2 {
			for i := range each {
				s := schemaOf(w, i)
				found, err := t.Lookup(t.Context(), s)
				if id := t.register(s); err != nil || id != found {
					t.Errorf("%s is found as %d, %v, and registered again as %d", s.Text, found, err, id)
				}
			}
		}
	}},
	{"two registrations of one subject at a time: the same schema is one, of two that clash one may be refused", func(t *registryTest) {
		for round := range 4 {
			name := fmt.Sprint("Round", round)
			base := t.schema(name, fieldA)
			t.register(base)
			for _, pair := range [][]ports.Schema{
				{t.schema(name, fieldA, fieldBOptional), t.schema(name, fieldA, fieldBText)}, // neither reads what the other wrote
				{t.schema(name+"Same", fieldA), t.schema(name+"Same", fieldA)},
			} {
				ids, errs := [2]uint32{}, [2]error{}
				var group sync.WaitGroup
				for i, s := range pair {
					group.Go(func() { ids[i], errs[i] = t.Register(t.Context(), s) })
				}
				group.Wait()
				t.twoAtOnce(pair, ids, errs)
			}
		}
	}},
	{"a large schema is taken whole", func(t *registryTest) {
		var fields []string
		for bytes := 0; bytes < ports.SchemaBytesMax-4<<10; bytes += len(fields[0]) + 1 {
			fields = append(fields, fmt.Sprintf(`{"name":"field%06d","type":["null","string"],"default":null}`, len(fields)))
		}
		s := t.schema("", fields...)
		if len(s.Text) > ports.SchemaBytesMax {
			t.Fatalf("the suite's schema has %d bytes", len(s.Text))
		}
		id := t.register(s)
		if text, _, err := t.Text(t.Context(), id); err != nil || !sameText(text, s.Text) {
			t.Errorf("the text comes back with %d bytes, %v, want %d", len(text), err, len(s.Text))
		}
		if found, err := t.Lookup(t.Context(), s); err != nil || found != id {
			t.Errorf("found as %d, %v, want %d", found, err, id)
		}
		broken := s
		broken.Text = strings.Replace(s.Text, fields[0], `{"name":"other","type":"int"},`+fields[0], 1)
		t.refused(broken, ports.ErrIncompatible)
	}},
	{"a cancelled call ends with the context's error and changes nothing", func(t *registryTest) {
		s := t.schema("", fieldA)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for method, err := range t.methods(ctx, s, 1) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v; want: %v", method, err, context.Canceled)
			}
		}
		_, err := t.Versions(t.Context(), s.Subject)
		t.wantUnknown("the subject of a cancelled registration", err)
	}},
	{"a registry that is gone is unavailable, and has everything when it is back", func(t *registryTest) {
		old, next := t.schema("", fieldA), t.schema("", fieldA, fieldBOptional)
		id := t.register(old)
		t.server.SetLevel(t, old.Subject, ports.LevelFullTransitive)
		t.server.Stop(t)
		stopped := t.methods(t.Context(), old, id)
		t.server.Start(t)
		for method, err := range stopped {
			if !errors.Is(err, ports.ErrRegistryUnavailable) || errors.Is(err, ports.ErrUnknownSchema) {
				t.Errorf("%s of a stopped registry: %v; want: %v", method, err, ports.ErrRegistryUnavailable)
			}
		}
		for method, err := range t.methods(t.Context(), old, id) {
			if err != nil {
				t.Errorf("%s after the restart: %v", method, err)
			}
		}
		if again := t.register(old); again != id {
			t.Errorf("id %d before the restart, %d after", id, again)
		}
		t.wantLevel(old.Subject, ports.LevelFullTransitive)
		if text, _, err := t.Text(t.Context(), id); err != nil || !sameText(text, old.Text) {
			t.Errorf("the text of id %d is %s, %v after the restart", id, text, err)
		}
		if newer := t.register(next); newer == id {
			t.Errorf("id %d was given out again", id)
		}
	}},
}

// twoAtOnce judges what became of two registrations of one subject.
func (t *registryTest) twoAtOnce(pair []ports.Schema, ids [2]uint32, errs [2]error) {
	t.Helper()
	refused := 0
	for i, s := range pair {
		if errs[i] != nil {
			if refused++; !errors.Is(errs[i], ports.ErrIncompatible) {
				t.Errorf("registering %s: %v; want an id or: %v", s.Text, errs[i], ports.ErrIncompatible)
			}
			continue
		}
		if text, _, err := t.Text(t.Context(), ids[i]); err != nil || !sameText(text, s.Text) {
			t.Errorf("id %d was given for %s and means %s, %v", ids[i], s.Text, text, err)
		}
		if found, err := t.Lookup(t.Context(), s); err != nil || found == 0 {
			t.Errorf("%s was registered and is found as %d, %v", s.Text, found, err)
		}
	}
	if refused == len(pair) || (refused > 0 && pair[0].Text == pair[1].Text) {
		t.Errorf("%d of two were refused: %v", refused, errors.Join(errs[:]...))
	}
	versions := t.versions(pair[0].Subject)
	for i := 1; i < len(versions); i++ {
		if versions[i].Number <= versions[i-1].Number {
			t.Errorf("two versions have one number: %+v", versions)
		}
	}
}
