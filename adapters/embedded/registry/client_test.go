package registry

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
)

// These tests speak to the registry as the platform does, through franz-go's client.

func TestRegistry_registersAndAnswers(t *testing.T) {
	ctx, c := t.Context(), client(t, open(t, startBroker(t)))
	v1 := sr.Schema{Schema: record("shop.A", intField("a"))}
	v2 := sr.Schema{Schema: record("shop.A", intField("a"), optionalField("b"))}

	first, err := c.CreateSchema(ctx, "shop.A", v1)
	if err != nil || first.ID != 1 || first.Version != 1 || first.Schema.Schema != v1.Schema {
		t.Fatal(first, err)
	}
	second, err := c.CreateSchema(ctx, "shop.A", v2)
	if err != nil || second.ID != 2 || second.Version != 2 {
		t.Fatal(second, err)
	}
	again, err := c.RegisterSchema(sr.WithParams(ctx, sr.Normalize), "shop.A", sr.Schema{Schema: strings.ReplaceAll(v1.Schema, ",", " ,\n ")}, -1, -1)
	if err != nil || again != 1 {
		t.Errorf("the same schema in other words got id %d, %v", again, err)
	}
	elsewhere, err := c.CreateSchema(ctx, "other", v2)
	if err != nil || elsewhere.ID != 2 || elsewhere.Version != 1 {
		t.Errorf("the same schema in another subject: %v %v", elsewhere, err)
	}
	if found, err := c.LookupSchema(ctx, "shop.A", v1); err != nil || found.ID != 1 || found.Version != 1 {
		t.Error(found, err)
	}
	if s, err := c.SchemaByID(ctx, 2); err != nil || s.Schema != v2.Schema || s.Type != sr.TypeAvro {
		t.Error(s, err)
	}
	if s, err := c.SchemaTextByID(ctx, 1); err != nil || s != v1.Schema {
		t.Error(s, err)
	}
	if s, err := c.SchemaByVersion(ctx, "shop.A", -1); err != nil || s.Version != 2 || s.ID != 2 {
		t.Error(s, err)
	}
	if s, err := c.SchemaTextByVersion(ctx, "shop.A", 1); err != nil || s != v1.Schema {
		t.Error(s, err)
	}
	if s, err := c.Subjects(ctx); err != nil || !slices.Equal(s, []string{"other", "shop.A"}) {
		t.Error(s, err)
	}
	if s, err := c.Subjects(sr.WithParams(ctx, sr.SubjectPrefix("shop"))); err != nil || !slices.Equal(s, []string{"shop.A"}) {
		t.Error(s, err)
	}
	if v, err := c.SubjectVersions(ctx, "shop.A"); err != nil || !slices.Equal(v, []int{1, 2}) {
		t.Error(v, err)
	}
	if u, err := c.SchemaVersionsByID(ctx, 2); err != nil || !slices.Equal(u, []sr.SubjectVersion{{Subject: "other", Version: 1}, {Subject: "shop.A", Version: 2}}) {
		t.Error(u, err)
	}
	if s, err := c.SubjectsByID(ctx, 2); err != nil || !slices.Equal(s, []string{"other", "shop.A"}) {
		t.Error(s, err)
	}
	if s, err := c.AllSchemas(sr.WithParams(ctx, sr.LatestOnly)); err != nil || len(s) != 2 || s[1].Version != 2 {
		t.Error(s, err)
	}
	if types, err := c.SupportedTypes(ctx); err != nil || !slices.Equal(types, []sr.SchemaType{sr.TypeAvro}) {
		t.Error(types, err)
	}
}

func TestRegistry_saysWhatIsMissing(t *testing.T) {
	ctx, c := t.Context(), client(t, open(t, startBroker(t)))
	if _, err := c.RegisterSchema(ctx, "a", sr.Schema{Schema: `"int"`}, -1, -1); err != nil {
		t.Fatal(err)
	}
	_, err := c.SubjectVersions(ctx, "nowhere")
	wantCode(t, err, codeSubjectNotFound)
	_, err = c.SchemaByVersion(ctx, "a", 7)
	wantCode(t, err, codeVersionNotFound)
	_, err = c.SchemaByID(ctx, 7)
	wantCode(t, err, codeSchemaNotFound)
	_, err = c.LookupSchema(ctx, "nowhere", sr.Schema{Schema: `"int"`})
	wantCode(t, err, codeSubjectNotFound)
	_, err = c.LookupSchema(ctx, "a", sr.Schema{Schema: `"long"`})
	wantCode(t, err, codeSchemaNotFound)
	_, err = c.SchemaByVersion(ctx, "a", 0)
	wantCode(t, err, codeInvalidVersion)
	_, err = c.RegisterSchema(ctx, "a", sr.Schema{Schema: `{"type":"nonsense"}`}, -1, -1)
	wantCode(t, err, codeInvalidSchema)
	_, err = c.RegisterSchema(ctx, "a", sr.Schema{Schema: `syntax = "proto3";`, Type: sr.TypeProtobuf}, -1, -1)
	wantCode(t, err, codeInvalidSchema)
	_, err = c.RegisterSchema(ctx, "a", sr.Schema{Schema: `"int"`, SchemaMetadata: &sr.SchemaMetadata{Properties: map[string]string{"owner": "x"}}}, -1, -1)
	wantCode(t, err, codeInvalidSchema)
	_, err = c.RegisterSchema(ctx, ":.ctx:a", sr.Schema{Schema: `"int"`}, -1, -1)
	wantCode(t, err, codeInvalidSubject)
	wantCode(t, c.Mode(ctx, "a")[0].Err, codeNoSubjectMode)
	wantCode(t, c.Compatibility(ctx, "a")[0].Err, codeNoSubjectConfig)
}

func TestRegistry_refusesWhatBreaksReaders(t *testing.T) {
	ctx, c := t.Context(), client(t, open(t, startBroker(t)))
	if level := c.Compatibility(ctx)[0].Level; level != sr.CompatBackwardTransitive {
		t.Fatalf("the default is %s", level)
	}
	versions := []string{record("A", intField("a")), record("A", intField("a"), optionalField("b"))}
	for _, v := range versions {
		if _, err := c.RegisterSchema(ctx, "A", sr.Schema{Schema: v}, -1, -1); err != nil {
			t.Fatal(err)
		}
	}
	breaking := sr.Schema{Schema: record("A", intField("a"), intField("b"))} // reads version 2, not version 1
	_, err := c.RegisterSchema(ctx, "A", breaking, -1, -1)
	wantCode(t, err, codeIncompatible)
	for _, part := range []string{"READER_FIELD_MISSING_DEFAULT_VALUE", "/fields/1", "oldSchemaVersion:1", "BACKWARD_TRANSITIVE"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the reason lacks %s: %s", part, err)
		}
	}
	check := func(version int) sr.CheckCompatibilityResult {
		t.Helper()
		res, err := c.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), "A", version, breaking)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := check(-2); res.Is || len(res.Messages) == 0 {
		t.Errorf("all versions: %+v", res)
	}
	if res := check(1); res.Is {
		t.Errorf("version 1: %+v", res)
	}
	if res := check(-1); !res.Is {
		t.Errorf("the latest version alone: %+v", res)
	}
	if res := c.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatBackward}, "A"); res[0].Err != nil || res[0].Level != sr.CompatBackward {
		t.Fatal(res)
	}
	if _, err := c.RegisterSchema(ctx, "A", breaking, -1, -1); err != nil {
		t.Errorf("BACKWARD looks at the last version only: %v", err)
	}
	if res := c.ResetCompatibility(ctx, "A"); res[0].Err != nil || res[0].Level != sr.CompatBackward {
		t.Error(res)
	}
	if res := c.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatNone}); res[0].Err != nil {
		t.Error(res)
	}
	if _, err := c.RegisterSchema(ctx, "A", sr.Schema{Schema: `"string"`}, -1, -1); err != nil {
		t.Errorf("NONE takes anything: %v", err)
	}
}

func TestRegistry_checksEveryLevel(t *testing.T) {
	added, removed, optional := record("A", intField("a"), intField("b")), record("A"), record("A", intField("a"), optionalField("b"))
	takes := map[sr.CompatibilityLevel][3]bool{ // a field added, removed, added with default
		sr.CompatNone: {true, true, true}, sr.CompatBackward: {false, true, true}, sr.CompatBackwardTransitive: {false, true, true},
		sr.CompatForward: {true, false, true}, sr.CompatForwardTransitive: {true, false, true},
		sr.CompatFull: {false, false, true}, sr.CompatFullTransitive: {false, false, true},
	}
	ctx, c := t.Context(), client(t, open(t, startBroker(t)))
	for level, want := range takes {
		t.Run(level.String(), func(t *testing.T) {
			subject := level.String()
			if res := c.SetCompatibility(ctx, sr.SetCompatibility{Level: level}, subject); res[0].Err != nil {
				t.Fatal(res[0].Err)
			}
			if _, err := c.RegisterSchema(ctx, subject, sr.Schema{Schema: record("A", intField("a"))}, -1, -1); err != nil {
				t.Fatal(err)
			}
			for i, text := range []string{added, removed, optional} {
				res, err := c.CheckCompatibility(ctx, subject, -2, sr.Schema{Schema: text})
				if err != nil || res.Is != want[i] {
					t.Errorf("case %d: %v %v", i, res, err)
				}
			}
		})
	}
}

func TestRegistry_deletesSoftlyThenForGood(t *testing.T) {
	ctx, c := t.Context(), client(t, open(t, startBroker(t)))
	for _, v := range []string{`"int"`, `"long"`, `"double"`} {
		if _, err := c.RegisterSchema(ctx, "n", sr.Schema{Schema: v}, -1, -1); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, c.DeleteSchema(ctx, "n", 2, sr.HardDelete), codeVersionNotSoftDeleted)
	if err := c.DeleteSchema(ctx, "n", 2, sr.SoftDelete); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.DeleteSchema(ctx, "n", 2, sr.SoftDelete), codeVersionSoftDeleted)
	if v, err := c.SubjectVersions(ctx, "n"); err != nil || !slices.Equal(v, []int{1, 3}) {
		t.Error(v, err)
	}
	if v, err := c.SubjectVersions(sr.WithParams(ctx, sr.ShowDeleted), "n"); err != nil || !slices.Equal(v, []int{1, 2, 3}) {
		t.Error(v, err)
	}
	if s, err := c.SchemaByID(ctx, 2); err != nil || s.Schema != `"long"` {
		t.Errorf("data written with a deleted version must stay readable: %v %v", s, err)
	}
	if id, err := c.RegisterSchema(ctx, "n", sr.Schema{Schema: `"long"`}, -1, -1); err == nil {
		t.Errorf("long cannot read double, but got id %d", id)
	}
	_, err := c.DeleteSubject(ctx, "n", sr.HardDelete)
	wantCode(t, err, codeSubjectNotSoftDeleted)
	if gone, err := c.DeleteSubject(ctx, "n", sr.SoftDelete); err != nil || !slices.Equal(gone, []int{1, 3}) {
		t.Error(gone, err)
	}
	_, err = c.DeleteSubject(ctx, "n", sr.SoftDelete)
	wantCode(t, err, codeSubjectSoftDeleted)
	if back, err := c.CreateSchema(ctx, "n", sr.Schema{Schema: `"long"`}); err != nil || back.ID != 2 || back.Version != 4 {
		t.Errorf("a schema that returns keeps its id: %v %v", back, err)
	}
	if _, err := c.DeleteSubject(ctx, "n", sr.SoftDelete); err != nil {
		t.Fatal(err)
	}
	if gone, err := c.DeleteSubject(ctx, "n", sr.HardDelete); err != nil || !slices.Equal(gone, []int{1, 2, 3, 4}) {
		t.Error(gone, err)
	}
	_, err = c.SchemaByID(ctx, 2)
	wantCode(t, err, codeSchemaNotFound)
	if id, err := c.RegisterSchema(ctx, "n", sr.Schema{Schema: `"int"`}, -1, -1); err != nil || id != 4 {
		t.Errorf("an id that was given out is never given again: %d %v", id, err)
	}
}

func TestRegistry_references(t *testing.T) {
	ctx, c := t.Context(), client(t, open(t, startBroker(t)))
	money := record("shop.Money", intField("amount"))
	if _, err := c.RegisterSchema(ctx, "money", sr.Schema{Schema: money}, -1, -1); err != nil {
		t.Fatal(err)
	}
	ref := []sr.SchemaReference{{Name: "shop.Money", Subject: "money", Version: 1}}
	line := sr.Schema{Schema: record("shop.Line", `{"name":"price","type":"shop.Money"}`), References: ref}
	stored, err := c.CreateSchema(ctx, "line", line)
	if err != nil || !slices.Equal(stored.References, ref) {
		t.Fatal(stored, err)
	}
	nested := sr.Schema{
		Schema:     record("shop.Order", `{"name":"line","type":"shop.Line"}`, `{"name":"total","type":"shop.Money"}`),
		References: []sr.SchemaReference{{Name: "shop.Line", Subject: "line", Version: -1}, ref[0]},
	}
	order, err := c.CreateSchema(ctx, "order", nested)
	if err != nil || order.References[0].Version != 1 {
		t.Fatalf("the latest version is pinned: %v %v", order, err)
	}
	if again, err := c.RegisterSchema(ctx, "order", nested, -1, -1); err != nil || again != order.ID {
		t.Error(again, err)
	}
	if ids, err := c.SchemaReferences(ctx, "money", 1); err != nil || len(ids) != 2 {
		t.Error(ids, err)
	}
	wantCode(t, c.DeleteSchema(ctx, "money", 1, sr.SoftDelete), codeReferenceExists)
	_, err = c.DeleteSubject(ctx, "line", sr.SoftDelete)
	wantCode(t, err, codeReferenceExists)

	line.References = nil
	_, err = c.RegisterSchema(ctx, "line", line, -1, -1)
	wantCode(t, err, codeInvalidSchema)
	line.References = []sr.SchemaReference{{Name: "shop.Money", Subject: "money", Version: 9}}
	_, err = c.RegisterSchema(ctx, "line", line, -1, -1)
	wantCode(t, err, codeInvalidSchema)

	if _, err := c.RegisterSchema(ctx, "money", sr.Schema{Schema: record("shop.Money", intField("amount"), optionalField("scale"))}, -1, -1); err != nil {
		t.Fatal(err)
	}
	line.References[0].Version = 2
	if next, err := c.CreateSchema(ctx, "line", line); err != nil || next.Version != 2 {
		t.Errorf("the same text over a newer reference is another schema: %v %v", next, err)
	}
}

func TestRegistry_modes(t *testing.T) {
	ctx, c := t.Context(), client(t, open(t, startBroker(t)))
	set := func(mode sr.Mode, subject ...string) error { return c.SetMode(ctx, mode, subject...)[0].Err }
	if m := c.Mode(ctx)[0]; m.Err != nil || m.Mode != sr.ModeReadWrite {
		t.Fatal(m)
	}
	if err := set(sr.ModeReadOnly); err != nil {
		t.Fatal(err)
	}
	_, err := c.RegisterSchema(ctx, "a", sr.Schema{Schema: `"int"`}, -1, -1)
	wantCode(t, err, codeNotPermitted)
	if err := set(sr.ModeImport, "a"); err != nil {
		t.Fatal(err)
	}
	_, err = c.RegisterSchema(ctx, "a", sr.Schema{Schema: `"int"`}, -1, -1)
	wantCode(t, err, codeNotPermitted)
	if id, err := c.RegisterSchema(ctx, "a", sr.Schema{Schema: `"int"`}, 40, 3); err != nil || id != 40 {
		t.Fatal(id, err)
	}
	_, err = c.RegisterSchema(ctx, "a", sr.Schema{Schema: `"long"`}, 40, 4)
	wantCode(t, err, codeNotPermitted)
	_, err = c.RegisterSchema(ctx, "a", sr.Schema{Schema: `"long"`}, 41, 3)
	wantCode(t, err, codeNotPermitted)
	if err := set(sr.ModeReadWrite); err != nil {
		t.Fatal(err)
	}
	wantCode(t, set(sr.ModeImport), codeNotPermitted) // there are subjects
	if res := c.ResetMode(ctx, "a"); res[0].Err != nil || res[0].Mode != sr.ModeImport {
		t.Error(res)
	}
	_, err = c.RegisterSchema(ctx, "b", sr.Schema{Schema: `"int"`}, 50, 1)
	wantCode(t, err, codeNotPermitted)
	if s, err := c.CreateSchema(ctx, "a", sr.Schema{Schema: `"long"`}); err != nil || s.ID != 41 || s.Version != 4 {
		t.Errorf("numbers go on after those of the import: %v %v", s, err)
	}
	if m := c.Mode(sr.WithParams(ctx, sr.DefaultToGlobal), "b")[0]; m.Err != nil || m.Mode != sr.ModeReadWrite {
		t.Error(m)
	}
	if err := set(sr.ModeReadOnly, "a"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.DeleteSchema(ctx, "a", 4, sr.SoftDelete), codeNotPermitted)
	if id, err := c.RegisterSchema(context.WithoutCancel(ctx), "a", sr.Schema{Schema: `"long"`}, -1, -1); err != nil || id != 41 {
		t.Errorf("what is there already is answered in every mode: %d %v", id, err)
	}
}
