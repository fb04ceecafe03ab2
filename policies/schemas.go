package policies

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/nexusblueprint/nexus/policies/source"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// Schema is one record of the topology's schemas, nested ones included, each
// once. File and lines are of its .avsc; the file is empty where none is found.
type Schema struct {
	Name     string  `json:"name"`
	File     string  `json:"file"`
	Line     int     `json:"line"`
	Owner    string  `json:"owner"`
	Doc      string  `json:"doc"`
	Subject  string  `json:"subject"`  // the field that names the data subject, "" for none
	Told     bool    `json:"told"`     // this record names a data subject, or a record around it does wherever it stands
	Platform bool    `json:"platform"` // of the platform's own records
	Fields   []Field `json:"fields"`
}

// Field is a field of a record.
type Field struct {
	Name     string `json:"name"`
	Line     int    `json:"line"`
	Doc      string `json:"doc"`
	Type     string `json:"type"`               // Avro's kind, such as "string"; of the value that is not null
	Of       string `json:"of,omitempty"`       // of an array, a map or a union: the kind of what is in it, of a union's the first
	Personal *bool  `json:"personal,omitempty"` // nil: the schema does not say
}

// ReadSchemas lists the records of the topology's schemas with their places in
// the .avsc files below dir; dir may be empty, then they have none.
func ReadSchemas(d topology.Description, dir string) ([]Schema, error) {
	files, err := avscFiles(dir)
	if err != nil {
		return nil, err
	}
	r := &recordReader{files: files, seen: map[string]bool{}, untold: map[string]bool{}, all: []Schema{}}
	for _, s := range d.Schemas {
		parsed, err := avro.ParseSchema(s.Schema)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", s.Subject, err)
		}
		r.record(parsed)
		r.tell(parsed)
	}
	for i := range r.all {
		r.all[i].Told = !r.untold[r.all[i].Name]
	}
	return r.all, nil
}

type recordReader struct {
	files  map[string]avscFile
	seen   map[string]bool
	untold map[string]bool // records that stand somewhere without a data subject
	all    []Schema
}

// tell notes the records within s that neither name a data subject nor stand in
// one that does.
func (r *recordReader) tell(s *avro.Schema) {
	switch s.Kind() {
	case avro.KindArray, avro.KindMap:
		r.tell(s.Items())
	case avro.KindUnion:
		for _, branch := range s.Branches() {
			r.tell(branch)
		}
	case avro.KindRecord:
		if s.Subject() != "" || r.untold[s.Name()] {
			return
		}
		r.untold[s.Name()] = true
		for _, f := range s.Fields() {
			r.tell(f.Schema)
		}
	}
}

func (r *recordReader) record(s *avro.Schema) {
	switch s.Kind() {
	case avro.KindArray, avro.KindMap:
		r.record(s.Items())
		return
	case avro.KindUnion:
		for _, branch := range s.Branches() {
			r.record(branch)
		}
		return
	case avro.KindRecord:
	default:
		return
	}
	if r.seen[s.Name()] {
		return
	}
	r.seen[s.Name()] = true
	file := r.files[s.Name()]
	own := s.Name()[strings.LastIndexByte(s.Name(), '.')+1:]
	fact := Schema{
		Name: s.Name(), File: file.name, Line: file.line(own),
		Owner: s.Owner(), Doc: s.Doc(), Subject: s.Subject(), Platform: strings.HasPrefix(s.Name(), "nexus."), Fields: []Field{},
	}
	for _, f := range s.Fields() {
		field := Field{Name: f.Name, Line: file.line(own, f.Name), Doc: f.Doc, Type: f.Schema.NonNull().Kind().String(), Of: within(f.Schema)}
		if said := f.Attribute("personal"); said == "true" || said == "false" {
			personal := said == "true"
			field.Personal = &personal
		}
		fact.Fields = append(fact.Fields, field)
	}
	r.all = append(r.all, fact)
	for _, f := range s.Fields() {
		r.record(f.Schema)
	}
}

// within is the kind of what a container holds in the end, "" of what is none.
func within(s *avro.Schema) string {
	held := s.NonNull()
	for {
		switch held.Kind() {
		case avro.KindArray, avro.KindMap:
			held = held.Items().NonNull()
			continue
		case avro.KindUnion:
			if i := slices.IndexFunc(held.Branches(), func(b *avro.Schema) bool { return b.Kind() != avro.KindNull }); i >= 0 {
				held = held.Branches()[i]
				continue
			}
		}
		if held == s.NonNull() {
			return ""
		}
		return held.Kind().String()
	}
}

type avscFile struct {
	name string
	text string
}

// line is where the file names something, behind each of what is named before;
// 1 where it does not.
func (f avscFile) line(names ...string) int {
	at := 0
	for _, name := range names {
		found := regexp.MustCompile(`"name"\s*:\s*"` + regexp.QuoteMeta(name) + `"`).FindStringIndex(f.text[at:])
		if found == nil {
			return 1
		}
		at += found[0]
	}
	return 1 + strings.Count(f.text[:at], "\n")
}

// avscFiles finds today's schema files by the full name they declare; those of
// releases are left out.
func avscFiles(dir string) (map[string]avscFile, error) {
	files := map[string]avscFile{}
	if dir == "" {
		return files, nil
	}
	folder := os.DirFS(dir)
	err := fs.WalkDir(folder, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != "." && (source.SkipDir(d.Name()) || d.Name() == "history"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(file) != ".avsc":
			return nil
		}
		text, err := fs.ReadFile(folder, file)
		if err != nil {
			return err
		}
		var declared any
		if json.Unmarshal(text, &declared) != nil {
			return nil // the generator reports what is no schema
		}
		names := declaredIn(declared, "", nil)
		for i, name := range names {
			if _, there := files[name]; i == 0 || !there {
				files[name] = avscFile{name: file, text: string(text)}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the schema files in %s: %w", dir, err)
	}
	return files, nil
}

// declaredIn adds the full names of a schema and of those within it.
func declaredIn(v any, space string, names []string) []string {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			names = declaredIn(one, space, names)
		}
	case map[string]any:
		if name, ok := v["name"].(string); ok && v["type"] == "record" {
			if given, ok := v["namespace"].(string); ok {
				space = given
			}
			if i := strings.LastIndexByte(name, '.'); i >= 0 {
				space, name = name[:i], name[i+1:]
			}
			names = append(names, strings.TrimPrefix(space+"."+name, "."))
		}
		for _, key := range []string{"fields", "type", "items", "values"} {
			if _, text := v[key].(string); !text {
				names = declaredIn(v[key], space, names)
			}
		}
	}
	return names
}
