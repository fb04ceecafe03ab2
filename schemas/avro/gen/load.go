package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec" //nexus:allow blind-spots asks the go command for the package it writes to
	"path/filepath"
	"slices"
	"strings"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

// model is what a folder of schemas says, and how Go names it.
type model struct {
	pkg   *goPackage
	tops  []top // of this package, by file
	types map[*avro.Schema]*goType
	own   []*goType // types of this package, by full name
}

type goPackage struct{ name, path, dir string }

type top struct {
	file   string
	schema *avro.Schema
}

// goType is a named Avro type and the Go type that stands for it.
type goType struct {
	pkg    *goPackage
	schema *avro.Schema
	file   string
	name   string
	part   bool // lives only inside other records: no subject of its own
}

// load reads the schemas of dir and of the imported packages.
func load(dir, name string, imports []string) (*model, error) {
	m := &model{pkg: &goPackage{name: name, dir: dir}, types: map[*avro.Schema]*goType{}}
	pkgs := []*goPackage{m.pkg}
	for _, path := range imports {
		p, err := findPackage(dir, path)
		if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
	var sources []avro.Source
	var owners []*goPackage
	for _, p := range pkgs {
		s, err := readFolder(p.dir)
		if err != nil {
			return nil, err
		}
		sources = append(sources, s...)
		owners = append(owners, slices.Repeat([]*goPackage{p}, len(s))...)
	}
	schemas, err := avro.ParseAll(sources)
	if err != nil {
		return nil, err
	}
	m.name(sources, owners, schemas)
	return m, nil
}

// findPackage asks the go command where a package lives: in this module or in the module cache.
func findPackage(dir, path string) (*goPackage, error) {
	cmd := exec.Command("go", "list", "-find", "-f", "{{.Name}}\n{{.ImportPath}}\n{{.Dir}}", path) //nolint:gosec,noctx // the developer's own flag; a signal ends both
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("finding package %s (-import): %w", path, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 3 {
		return nil, fmt.Errorf("finding package %s (-import): not exactly one package", path)
	}
	return &goPackage{name: lines[0], path: lines[1], dir: lines[2]}, nil
}

// readFolder reads the .avsc files of a tree in a stable order. Released versions (history), test data and hidden
// folders are not part of it.
func readFolder(dir string) (out []avro.Source, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && path != dir && (base == "history" || base == "testdata" || strings.HasPrefix(base, ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".avsc" {
			return nil
		}
		text, err := os.ReadFile(path) //nolint:gosec // the developer's own tree
		out = append(out, avro.Source{File: path, Text: string(text)})
		return err
	})
	if err == nil && len(out) == 0 {
		err = errors.New("no .avsc files in " + dir)
	}
	return out, err
}

// name assigns every named type to the package whose file defines it.
func (m *model) name(sources []avro.Source, owners []*goPackage, schemas []*avro.Schema) {
	for i, s := range schemas {
		if s.Name() != "" {
			m.types[s] = m.newType(s, owners[i], sources[i].File, s.Attribute("part") == "true")
		}
		if owners[i] == m.pkg {
			m.tops = append(m.tops, top{sources[i].File, s})
		}
	}
	for i, s := range schemas {
		for _, inner := range children(s) {
			m.nameInner(inner, owners[i], sources[i].File)
		}
	}
	for _, t := range m.types {
		if t.pkg == m.pkg {
			m.own = append(m.own, t)
		}
	}
	slices.SortFunc(m.own, func(a, b *goType) int { return strings.Compare(a.schema.Name(), b.schema.Name()) })
}

func (m *model) nameInner(s *avro.Schema, owner *goPackage, file string) {
	if s.Name() != "" {
		if m.types[s] != nil {
			return
		}
		m.types[s] = m.newType(s, owner, file, true)
	}
	for _, inner := range children(s) {
		m.nameInner(inner, owner, file)
	}
}

func (m *model) newType(s *avro.Schema, owner *goPackage, file string, part bool) *goType {
	_, simple := split(s.Name())
	return &goType{pkg: owner, schema: s, file: file, name: goName(simple), part: part}
}

// children returns the types a schema uses directly.
func children(s *avro.Schema) []*avro.Schema {
	out := slices.Clone(s.Branches())
	if s.Items() != nil {
		out = append(out, s.Items())
	}
	for _, f := range s.Fields() {
		out = append(out, f.Schema)
	}
	return out
}

func split(full string) (space, name string) {
	i := strings.LastIndexByte(full, '.')
	return full[:max(i, 0)], full[i+1:]
}
