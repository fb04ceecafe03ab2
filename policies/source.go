package policies

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Source are facts about the Go source of a module, read from its syntax: what
// is called through an import, whatever its local name. Calls through function
// values and interfaces do not show here.
type Source struct {
	Module            string    `json:"module"`
	Packages          []Package `json:"packages"`
	EventStoreMethods []Method  `json:"event_store_methods"`
}

// Package is one folder of Go files.
type Package struct {
	Path     string `json:"path"`
	Platform bool   `json:"platform"` // part of the platform, whose work is to connect
	Calls    []Call `json:"calls"`
}

// Call is a place where a connection is opened.
type Call struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Call    string `json:"call"`
	Allowed bool   `json:"allowed"` // by a comment //nexus:allow direct-calls <reason>
}

// Method is a method of an interface.
type Method struct {
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
}

// connectors are functions, types and packages that open connections: a whole
// package where the value is nil.
var connectors = map[string][]string{
	"net":                              {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialUnix", "DialIP", "Dialer"},
	"net/http":                         {"Get", "Head", "Post", "PostForm", "Client", "DefaultClient", "Transport", "DefaultTransport"},
	"net/rpc":                          nil,
	"net/smtp":                         nil,
	"crypto/tls":                       {"Dial", "DialWithDialer", "Dialer", "Client"},
	"database/sql":                     {"Open", "OpenDB"},
	"google.golang.org/grpc":           {"Dial", "DialContext", "NewClient"},
	"github.com/twmb/franz-go/pkg/kgo": {"NewClient"},
	"github.com/IBM/sarama":            nil,
	"github.com/segmentio/kafka-go":    nil,
	"github.com/go-resty/resty/v2":     nil,
	"github.com/gorilla/websocket":     nil,
	"github.com/redis/go-redis/v9":     nil,
	"github.com/jackc/pgx/v5":          nil,
}

// platformRooms are this module's rooms whose work is to connect.
var platformRooms = []string{"adapters", "benchmarks", "cmd", "emitters", "gateway", "internal", "policies", "processors", "sink", "views"}

const platformModule = "github.com/nexusblueprint/nexus"

const allowance = "//nexus:allow direct-calls "

// ReadSource gathers the facts of the module in a folder. Tests, generated test
// data and vendored code are left out.
func ReadSource(dir string) (*Source, error) {
	module, err := moduleOf(dir)
	if err != nil {
		return nil, err
	}
	r := &sourceReader{source: &Source{Module: module, Packages: []Package{}, EventStoreMethods: []Method{}}, root: dir, packages: map[string]*Package{}}
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != dir && (strings.HasPrefix(d.Name(), ".") || d.Name() == "vendor" || d.Name() == "testdata" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		return r.file(file)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the source in %s: %w", dir, err)
	}
	for _, p := range r.packages {
		r.source.Packages = append(r.source.Packages, *p)
	}
	slices.SortFunc(r.source.Packages, func(a, b Package) int { return strings.Compare(a.Path, b.Path) })
	return r.source, nil
}

func moduleOf(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("%s is no Go module (name its folder: nexus verify DIR): %w", dir, err)
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.Trim(strings.TrimSpace(name), `"`), nil
		}
	}
	return "", fmt.Errorf("%s/go.mod names no module", dir)
}

type sourceReader struct {
	source   *Source
	root     string
	packages map[string]*Package
}

func (r *sourceReader) file(file string) error {
	relative, err := filepath.Rel(r.root, file)
	if err != nil {
		return err
	}
	relative = filepath.ToSlash(relative)
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	p := r.pkg(path.Dir(relative))
	f := &fileFacts{file: relative, files: files, parsed: parsed, imports: importNames(parsed), allowed: allowances(files, parsed)}
	p.Calls = append(p.Calls, f.calls()...)
	if path.Base(path.Dir(relative)) == "ports" {
		r.source.EventStoreMethods = append(r.source.EventStoreMethods, f.methods("EventStore")...)
	}
	return nil
}

func (r *sourceReader) pkg(folder string) *Package {
	full := path.Join(r.source.Module, folder)
	if p := r.packages[full]; p != nil {
		return p
	}
	room, _, _ := strings.Cut(folder, "/")
	p := &Package{Path: full, Calls: []Call{}, Platform: r.source.Module == platformModule && slices.Contains(platformRooms, room)}
	r.packages[full] = p
	return p
}

type fileFacts struct {
	file    string
	files   *token.FileSet
	parsed  *ast.File
	imports map[string]string // local name → path
	allowed map[int]bool      // lines with an allowance
}

// importNames maps local names; "." imports are listed under every connector of
// the package, because their calls carry no package name.
func importNames(f *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range f.Imports {
		full, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		switch {
		case spec.Name == nil:
			names[defaultName(full)] = full
		case spec.Name.Name == ".":
			for _, name := range connectors[full] {
				names["."+name] = full
			}
		default:
			names[spec.Name.Name] = full
		}
	}
	return names
}

// defaultName is the last part of an import path that is no major version.
func defaultName(full string) string {
	base := path.Base(full)
	if len(base) > 1 && base[0] == 'v' && base[1] >= '0' && base[1] <= '9' {
		base = path.Base(path.Dir(full))
	}
	return strings.TrimPrefix(base, "go-")
}

// allowances are the lines that carry, or follow, a comment with a reason.
func allowances(files *token.FileSet, f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if reason, ok := strings.CutPrefix(c.Text, allowance); ok && strings.TrimSpace(reason) != "" {
				at := files.Position(c.Pos()).Line
				lines[at], lines[at+1] = true, true
			}
		}
	}
	return lines
}

func (f *fileFacts) calls() []Call {
	var calls []Call
	add := func(pos token.Pos, name string) {
		line := f.files.Position(pos).Line
		calls = append(calls, Call{File: f.file, Line: line, Call: name, Allowed: f.allowed[line]})
	}
	ast.Inspect(f.parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				if full, imported := f.imports[x.Name]; imported && connects(full, n.Sel.Name) {
					add(n.Pos(), full+"."+n.Sel.Name)
				}
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok {
				if full, imported := f.imports["."+name.Name]; imported {
					add(n.Pos(), full+"."+name.Name)
				}
			}
		}
		return true
	})
	return calls
}

func connects(full, name string) bool {
	names, listed := connectors[full]
	return listed && (names == nil || slices.Contains(names, name))
}

// methods lists the methods of an interface by its name.
func (f *fileFacts) methods(name string) []Method {
	var methods []Method
	ast.Inspect(f.parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != name {
			return true
		}
		if i, ok := spec.Type.(*ast.InterfaceType); ok {
			for _, m := range i.Methods.List {
				for _, id := range m.Names {
					methods = append(methods, Method{Name: id.Name, File: f.file, Line: f.files.Position(id.Pos()).Line})
				}
			}
		}
		return false
	})
	return methods
}
