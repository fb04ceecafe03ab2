package policies

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/internal/foldertest"
	"github.com/nexusblueprint/nexus/policies/deploy"
	"github.com/nexusblueprint/nexus/policies/source"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/topology"
)

// A fixture is an archive testdata/violations/<rule>/<name>.txtar with a folder
// per case: bad…, which violates the rule, good…, its twin, and evasions that
// violate it in other words. A line that ends in "want <rules>" is a violation,
// as is each line of a case's file WANT, "<rule> <place>", for what stands in
// no file; nothing else is one.
//
// A case blind… violates the rule, too, and is not found: its comment for the
// reference, the file LIMIT, says why not. Its marks are the same; as soon as
// one of them is found, it is an evasion.
//
// A case is read as what its files are: Go packages (all fixtures' are one
// module, so that types are checked once; MODULE is the path of the case),
// deploy files, .avsc files with history/, or PATCH, a JSON object of changes
// to the shop's facts.
type fixture struct {
	rule, name string
	comment    string
	cases      map[string]map[string]string // case → file → text
}

func readFixtures(t *testing.T) []fixture {
	t.Helper()
	files, err := filepath.Glob("testdata/violations/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all []fixture
	for _, file := range files {
		comment, inside, err := readArchive(file)
		if err != nil {
			t.Fatal(err)
		}
		f := fixture{
			rule: filepath.Base(filepath.Dir(file)), name: strings.TrimSuffix(filepath.Base(file), ".txtar"),
			comment: comment, cases: map[string]map[string]string{},
		}
		for _, file := range inside {
			name, inner, _ := strings.Cut(file.Name, "/")
			if f.cases[name] == nil {
				f.cases[name] = map[string]string{}
			}
			f.cases[name][inner] = file.Data
		}
		all = append(all, f)
	}
	return all
}

const fixtureModule = "example.com/fixtures"

func (f fixture) folder(name string) string { return path.Join(f.rule, f.name, name) }

func isGo(files map[string]string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(name string) bool { return strings.HasSuffix(name, ".go") })
}

// write puts a case's files below a folder.
func (f fixture) write(t *testing.T, name, under string) {
	t.Helper()
	files := map[string]string{}
	for file, text := range f.cases[name] {
		text = strings.ReplaceAll(text, "MODULE", path.Join(fixtureModule, f.folder(name)))
		if path.Ext(file) == ".avsc" {
			text = jsonComment.ReplaceAllString(text, "")
		}
		files[file] = text
	}
	foldertest.Write(t, under, files)
}

// sourceOf writes the Go cases as one module, beside the modules that they
// import, and reads it.
func sourceOf(t *testing.T, all []fixture) *source.Facts {
	t.Helper()
	dir := t.TempDir()
	_, others, err := readArchive("testdata/modules.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	gomod := "module " + fixtureModule + "\n\ngo 1.26\n"
	for _, file := range others {
		files["modules/"+file.Name] = file.Data
		if module, ok := strings.CutSuffix(file.Name, "/go.mod"); ok {
			version := "v0.0.0"
			if m := regexp.MustCompile(`/(v\d+)$`).FindStringSubmatch(module); m != nil {
				version = m[1] + ".0.0"
			}
			gomod += fmt.Sprintf("\nrequire %s %s\n\nreplace %s => ../modules/%s\n", module, version, module, module)
		}
	}
	files["main/go.mod"] = gomod
	foldertest.Write(t, dir, files)
	main := filepath.Join(dir, "main")
	for _, f := range all {
		for name, files := range f.cases {
			if isGo(files) {
				f.write(t, name, filepath.Join(main, filepath.FromSlash(f.folder(name))))
			}
		}
	}
	facts, err := source.Read(t.Context(), main)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

var (
	wantMark    = regexp.MustCompile(` *(?://|#) want ([a-z -]+)$`)
	jsonComment = regexp.MustCompile(`(?m) *//.*$`)
)

// wanted lists the violations that a case must have, as "rule place".
func (f fixture) wanted(name, under string) []string {
	var want []string
	for file, text := range f.cases[name] {
		for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			if file == "WANT" {
				want = append(want, line)
			} else if m := wantMark.FindStringSubmatch(line); m != nil {
				for _, rule := range strings.Fields(m[1]) {
					want = append(want, fmt.Sprintf("%s %s:%d", rule, path.Join(under, file), i+1))
				}
			}
		}
	}
	slices.Sort(want)
	return want
}

func (f fixture) compare(t *testing.T, name, under string, violations []Violation) {
	t.Helper()
	got := []string{}
	for _, v := range violations {
		got = append(got, v.Rule+" "+v.Place)
	}
	slices.Sort(got)
	got = slices.Compact(got)
	want := f.wanted(name, under)
	if strings.HasPrefix(name, "blind") {
		if strings.TrimSpace(f.cases[name]["LIMIT"]) == "" {
			t.Errorf("%s/%s/%s has no LIMIT, which says in the reference what is not found", f.rule, f.name, name)
		}
		for _, w := range want {
			if slices.Contains(got, w) {
				t.Errorf("%s/%s/%s: %q is found: make it an evasion", f.rule, f.name, name, w)
			}
		}
		if len(want) == 0 || len(got) > 0 {
			t.Errorf("%s/%s/%s marks %q and is found %q: a blind spot has marks, and nothing else is found", f.rule, f.name, name, want, got)
		}
		return
	}
	if strings.HasPrefix(name, "good") != (len(want) == 0) {
		t.Errorf("%s/%s/%s marks %d violations: good cases have none, all others some", f.rule, f.name, name, len(want))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s/%s/%s:\n got %q\nwant %q\n%v", f.rule, f.name, name, got, want, violations)
	}
	if len(want) > 0 && !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(w, f.rule+" ") }) {
		t.Errorf("%s/%s/%s violates other rules than its own: %q", f.rule, f.name, name, want)
	}
}

func TestFixtures_every_violation_is_found_and_no_clean_twin(t *testing.T) {
	all := readFixtures(t)
	if len(all) < 40 {
		t.Errorf("%d fixtures only", len(all))
	}
	read := sourceOf(t, all)
	own := shopFacts()
	own.Source = read
	judged := judge(t, own)
	if len(read.Folds) < 10 {
		t.Errorf("%d folds only", len(read.Folds))
	}
	seen, evasions, blind := map[string]bool{}, 0, 0
	for _, f := range all {
		seen[f.rule] = true
		names := slices.Sorted(maps.Keys(f.cases))
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "bad") }) || !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "good") }) {
			t.Errorf("%s/%s has no bad case, or no good one", f.rule, f.name)
		}
		for _, name := range names {
			if strings.HasPrefix(name, "evasion") {
				evasions++
			}
			if strings.HasPrefix(name, "blind") {
				blind++
			}
			if isGo(f.cases[name]) {
				f.compare(t, name, f.folder(name), below(judged.Violations, f.folder(name)+"/"))
				continue
			}
			f.compare(t, name, "", judge(t, f.facts(t, name)).Violations)
		}
	}
	p, err := Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range p.Rules() {
		if !seen[rule.ID] {
			t.Errorf("rule %s has no fixture", rule.ID)
		}
	}
	t.Logf("%d fixtures, %d evasions, %d blind spots", len(all), evasions, blind)
}

func below(all []Violation, folder string) []Violation {
	var some []Violation
	for _, v := range all {
		if strings.HasPrefix(v.File, folder) {
			some = append(some, v)
		}
	}
	return some
}

// facts are those of a case without Go: the shop's, with what the case changes.
func (f fixture) facts(t *testing.T, name string) Facts {
	t.Helper()
	dir := t.TempDir()
	f.write(t, name, dir)
	d := shop.Topology().Describe()
	facts := Facts{Version: FactsVersion, Topology: &d}
	if text, ok := f.cases[name]["PATCH"]; ok {
		return patched(t, facts, text)
	}
	own := topology.Description{}
	for file, text := range f.cases[name] {
		if path.Dir(file) == "." && path.Ext(file) == ".avsc" {
			own.Schemas = append(own.Schemas, schemaOf(t, text))
		}
	}
	var err error
	if len(own.Schemas) == 0 {
		facts.Deploy, err = deploy.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		return facts
	}
	if facts.Schemas, err = ReadSchemas(own, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "history")); err == nil {
		if facts.History, err = ReadHistory(own, os.DirFS(filepath.Join(dir, "history"))); err != nil {
			t.Fatal(err)
		}
	}
	facts.Topology.Schemas = append(facts.Topology.Schemas, own.Schemas...)
	return facts
}

func schemaOf(t *testing.T, text string) topology.SchemaDescription {
	t.Helper()
	text = jsonComment.ReplaceAllString(text, "")
	var s struct{ Name, Namespace, Owner, Doc string }
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return topology.SchemaDescription{Subject: s.Namespace + "." + s.Name, Owner: s.Owner, Doc: s.Doc, Schema: text}
}

// patched changes the facts: the keys of the patch are JSON pointers, where
// "name=x" steps to the item of a list whose name that is; null takes out.
func patched(t *testing.T, facts Facts, patch string) Facts {
	t.Helper()
	text, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	var document any
	var changes map[string]any
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(patch), &changes); err != nil {
		t.Fatal(err)
	}
	for pointer, value := range changes {
		document = set(t, document, strings.Split(strings.TrimPrefix(pointer, "/"), "/"), value)
	}
	if text, err = json.Marshal(document); err != nil {
		t.Fatal(err)
	}
	var out Facts
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func set(t *testing.T, in any, way []string, value any) any {
	t.Helper()
	switch in := in.(type) {
	case []any:
		at, err := strconv.Atoi(way[0])
		if key, name, ok := strings.Cut(way[0], "="); ok {
			at, err = slices.IndexFunc(in, func(v any) bool { return v.(map[string]any)[key] == name }), nil
		}
		if err != nil || at < 0 || at >= len(in) {
			t.Fatalf("there is no %s", way[0])
		}
		if len(way) == 1 && value == nil {
			return slices.Delete(in, at, at+1)
		}
		if len(way) == 1 {
			in[at] = value
			return in
		}
		in[at] = set(t, in[at], way[1:], value)
		return in
	case map[string]any:
		switch {
		case len(way) == 1 && value == nil:
			delete(in, way[0])
		case len(way) == 1:
			in[way[0]] = value
		default:
			if in[way[0]] == nil {
				in[way[0]] = map[string]any{}
			}
			in[way[0]] = set(t, in[way[0]], way[1:], value)
		}
		return in
	}
	t.Fatalf("nothing below %v", way)
	return nil
}
