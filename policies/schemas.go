package policies

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
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
	Platform bool    `json:"platform"` // of the platform's own records
	Fields   []Field `json:"fields"`
}

// Field is a field of a record.
type Field struct {
	Name     string `json:"name"`
	Line     int    `json:"line"`
	Doc      string `json:"doc"`
	Type     string `json:"type"`               // Avro's kind, such as "string"; of the value that is not null
	Personal *bool  `json:"personal,omitempty"` // nil: the schema does not say
}

// ReadSchemas lists the records of the topology's schemas with their places in
// the .avsc files below dir; dir may be empty, then they have none.
func ReadSchemas(d topology.Description, dir string) ([]Schema, error) {
	files, err := avscFiles(dir)
	if err != nil {
		return nil, err
	}
	r := &recordReader{files: files, seen: map[string]bool{}, all: []Schema{}}
	for _, s := range d.Schemas {
		parsed, err := avro.ParseSchema(s.Schema)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", s.Subject, err)
		}
		r.record(parsed)
	}
	return r.all, nil
}

type recordReader struct {
	files map[string]avscFile
	seen  map[string]bool
	all   []Schema
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
	fact := Schema{
		Name: s.Name(), File: file.name, Line: file.line(s.Name()[strings.LastIndexByte(s.Name(), '.')+1:]),
		Owner: s.Owner(), Doc: s.Doc(), Subject: s.Subject(), Platform: strings.HasPrefix(s.Name(), "nexus."), Fields: []Field{},
	}
	for _, f := range s.Fields() {
		field := Field{Name: f.Name, Line: file.line(f.Name), Doc: f.Doc, Type: f.Schema.NonNull().Kind().String()}
		if said := f.Attribute("personal"); said != "" {
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

type avscFile struct {
	name string
	text string
}

// line is where the file names something, 1 where it does not.
func (f avscFile) line(name string) int {
	at := regexp.MustCompile(`"name"\s*:\s*"` + regexp.QuoteMeta(name) + `"`).FindStringIndex(f.text)
	if at == nil {
		return 1
	}
	return 1 + strings.Count(f.text[:at[0]], "\n")
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
		var declared struct{ Name, Namespace string }
		if json.Unmarshal(text, &declared) != nil {
			return nil // the generator reports what is no schema
		}
		name := declared.Name
		if declared.Namespace != "" && !strings.Contains(name, ".") {
			name = declared.Namespace + "." + name
		}
		files[name] = avscFile{name: file, text: string(text)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the schema files in %s: %w", dir, err)
	}
	return files, nil
}
