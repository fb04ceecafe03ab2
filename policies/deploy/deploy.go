// Package deploy gathers what policies judge of the files a system is deployed
// with: compose files, Kubernetes manifests (and what helm template renders),
// Knative, Strimzi, Traefik and Kong.
//
// Documents are handed on as they are, with the line of every value; workloads
// and routes are besides brought into one form for all formats. Templates are
// not rendered and nothing here judges.
package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nexusblueprint/nexus/policies/source"
)

// Facts are what the deploy files say.
type Facts struct {
	Documents []Document `json:"documents"`
	Workloads []Workload `json:"workloads"`
	Routes    []Route    `json:"routes"`
	Unread    []Unread   `json:"unread"`

	dir string
}

// Document is one YAML document.
type Document struct {
	File    string         `json:"file"` // relative to the folder, slash-separated
	Line    int            `json:"line"` // where it begins
	Format  string         `json:"format"`
	Kind    string         `json:"kind,omitempty"` // of Kubernetes' kinds
	Name    string         `json:"name,omitempty"`
	Content map[string]any `json:"content"`
	Lines   map[string]int `json:"lines"` // of each value, by its JSON pointer
}

// Formats of documents.
const (
	Compose    = "compose"
	Kubernetes = "kubernetes" // Knative, Strimzi and Traefik's kinds, too
	Kong       = "kong"
	Traefik    = "traefik" // its dynamic configuration
	Envoy      = "envoy"   // its static configuration
)

// Unread is a YAML file that could not be taken in.
type Unread struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Why  string `json:"why"`
}

const fileBytesMax = 4 << 20

// Read gathers the facts of every .yaml, .yml and .json file below a folder.
// Files in none of the formats are left out; helm's templates are, too, because
// what they render is what counts.
func Read(dir string) (*Facts, error) {
	f := &Facts{Documents: []Document{}, Workloads: []Workload{}, Routes: []Route{}, Unread: []Unread{}, dir: dir}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != dir && (source.SkipDir(d.Name()) || isTemplates(file)):
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(file)):
			return nil
		}
		return f.file(dir, file)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the deploy files in %s: %w", dir, err)
	}
	for i := range f.Documents {
		f.collect(&f.Documents[i])
	}
	f.nameByServices()
	f.fromOthers()
	f.proxied()
	return f, nil
}

// isTemplates says that a folder holds a helm chart's templates.
func isTemplates(folder string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(folder), "Chart.yaml"))
	return err == nil && filepath.Base(folder) == "templates"
}

func (f *Facts) file(dir, file string) error {
	relative, err := filepath.Rel(dir, file)
	if err != nil {
		return err
	}
	name := filepath.ToSlash(relative)
	text, why, err := textOf(file)
	if path.Ext(file) == ".json" && (!bytes.Contains(text, []byte(`"apiVersion"`)) || !bytes.Contains(text, []byte(`"kind"`))) {
		return nil // most JSON is no manifest, and may be as large, or as closed, as it likes
	}
	if err != nil {
		return err
	}
	if why != "" {
		f.Unread = append(f.Unread, Unread{name, 1, why})
		return nil
	}
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var node yaml.Node
		err := dec.Decode(&node)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			f.Unread = append(f.Unread, unreadable(name, err))
			return nil
		}
		f.document(name, &node)
	}
}

// textOf is the text of a file, or why it is none to read.
func textOf(file string) (text []byte, why string, err error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "is a link to nothing", nil // such as an editor's lock
	case err != nil:
		return nil, "", err
	case !info.Mode().IsRegular(): // opening a pipe would wait for its writer
		return nil, "is no regular file", nil
	case info.Size() > fileBytesMax:
		return nil, fmt.Sprintf("has more than %d bytes", fileBytesMax), nil
	}
	text, err = os.ReadFile(file)
	return text, "", err
}

// hasNames says that the keys of a mapping are names, as in every format judged.
func hasNames(node *yaml.Node) bool {
	for i := 0; i < len(node.Content); i += 2 {
		if key := node.Content[i].ShortTag(); key != "!!str" && key != "!!merge" {
			return false
		}
	}
	return true
}

func unreadable(file string, err error) Unread {
	why := strings.TrimPrefix(err.Error(), "yaml: ")
	if all := new(yaml.TypeError); errors.As(err, &all) && len(all.Errors) > 0 {
		why = all.Errors[0]
	}
	return Unread{file, lineOf(err), why}
}

// lineOf is the line that an error of the YAML library names.
func lineOf(err error) int {
	_, after, _ := strings.Cut(err.Error(), "line ")
	digits, _, _ := strings.Cut(after, ":")
	if line, err := strconv.Atoi(digits); err == nil {
		return line
	}
	return 1
}

func (f *Facts) document(file string, node *yaml.Node) {
	if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
		node = node.Content[0]
	}
	if node.Kind != yaml.MappingNode || !hasNames(node) {
		return
	}
	var content map[string]any
	if err := node.Decode(&content); err != nil { // a key that stands twice, an anchor within itself
		f.Unread = append(f.Unread, unreadable(file, err))
		return
	}
	if items, ok := content["items"].([]any); ok && content["kind"] == "List" {
		list := child(node, "items")
		for i := range items {
			f.document(file, list.Content[i])
		}
		return
	}
	d := Document{File: file, Line: node.Line, Format: formatOf(file, content), Content: plain(content).(map[string]any), Lines: map[string]int{}}
	if d.Format == "" {
		return
	}
	if d.Format == Kubernetes {
		d.Kind, d.Name = text(content["kind"]), text(at(content, "metadata", "name"))
	}
	mark(d.Lines, "", node)
	f.Documents = append(f.Documents, d)
}

// formatOf tells the format by what only it has; "" is none of them.
func formatOf(file string, content map[string]any) string {
	services, isMap := content["services"].(map[string]any)
	switch {
	case text(content["apiVersion"]) != "" && text(content["kind"]) != "":
		return Kubernetes
	case content["_format_version"] != nil:
		return Kong
	case at(content, "http", "services") != nil || at(content, "http", "routers") != nil || at(content, "tcp", "services") != nil:
		return Traefik
	case at(content, "static_resources", "clusters") != nil:
		return Envoy
	case isMap && (composeFile.MatchString(path.Base(file)) || slices.ContainsFunc(slices.Collect(maps.Values(services)), isService)):
		return Compose
	}
	return ""
}

// composeFile is what Docker calls its files; one that overrides another need
// not say what its services are.
var composeFile = regexp.MustCompile(`^(docker-)?compose\b.*\.ya?ml$`)

func isService(v any) bool {
	m, _ := v.(map[string]any)
	return m["image"] != nil || m["build"] != nil || m["extends"] != nil
}

func child(node *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return &yaml.Node{}
}

// mark notes the line of every value below a node. An alias stands where it is
// used, and so does what a merge key takes in.
func mark(lines map[string]int, pointer string, node *yaml.Node) {
	if pointer != "" {
		lines[pointer] = node.Line
	}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			if key.ShortTag() == "!!merge" {
				merged(lines, pointer, node.Content[i+1], key.Line)
				continue
			}
			below := pointer + "/" + escape(key.Value)
			mark(lines, below, node.Content[i+1])
			lines[below] = key.Line
		}
	case yaml.SequenceNode:
		for i, item := range node.Content {
			mark(lines, pointer+"/"+strconv.Itoa(i), item)
		}
	}
}

// merged gives what a merge key takes in the line of the key; the mapping's own
// values come later or were there first, and count.
func merged(lines map[string]int, pointer string, node *yaml.Node, line int) {
	switch node.Kind {
	case yaml.AliasNode:
		merged(lines, pointer, node.Alias, line)
	case yaml.SequenceNode:
		for _, one := range node.Content {
			merged(lines, pointer, one, line)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			below := pointer + "/" + escape(node.Content[i].Value)
			if _, own := lines[below]; !own {
				lines[below] = line
			}
		}
	}
}

func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// line is the line of the value at a path, or of what it is in.
func (d *Document) line(keys ...string) int {
	for n := len(keys); n > 0; n-- {
		var pointer strings.Builder
		for _, key := range keys[:n] {
			pointer.WriteString("/" + escape(key))
		}
		if line, ok := d.Lines[pointer.String()]; ok {
			return line
		}
	}
	return d.Line
}
