package source

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// loader type-checks one package after the other against export data.
type loader struct {
	files  *token.FileSet
	export types.Importer
}

func newLoader(l *listing) *loader {
	files := token.NewFileSet()
	lookup := func(path string) (io.ReadCloser, error) {
		p := l.all[path]
		if p == nil || p.Export == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(p.Export)
	}
	return &loader{files: files, export: importer.ForCompiler(files, "gc", lookup)}
}

type checkedPackage struct {
	types *types.Package
	info  *types.Info
	files []*ast.File
}

func newInfo() *types.Info {
	return &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
}

// check type-checks the package as it is built here.
func (l *loader) check(p *listed) (*checkedPackage, error) {
	c := &checkedPackage{info: newInfo()}
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
		f, err := l.parse(p, name)
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
	}
	config := types.Config{Importer: mapped{p.ImportMap, l.export}, FakeImportC: true}
	var err error
	if c.types, err = config.Check(p.ImportPath, l.files, c.files, c.info); err != nil && len(c.files) > 0 {
		return nil, fmt.Errorf("the source cannot be judged before it compiles (go build ./..., with a Go no newer than the one this program was built with, %s): %w", runtime.Version(), err)
	}
	return c, nil
}

// alone type-checks one file without the rest of its package: names that it
// takes from there, or from packages nothing else imports, stay without type.
func (l *loader) alone(p *listed, name string) (*ast.File, *types.Info, error) {
	f, err := l.parse(p, name)
	if err != nil {
		return nil, nil, err
	}
	info := newInfo()
	config := types.Config{Importer: mapped{p.ImportMap, l.export}, FakeImportC: true, Error: func(error) {}}
	_, _ = config.Check(p.ImportPath, l.files, []*ast.File{f}, info) // the errors are what is expected
	return f, info, nil
}

func (l *loader) parse(p *listed, name string) (*ast.File, error) {
	if !filepath.IsAbs(name) { // what cgo writes is absolute
		name = filepath.Join(p.Dir, name)
	}
	return parser.ParseFile(l.files, name, nil, parser.ParseComments|parser.SkipObjectResolution)
}

// mapped imports by the names of one package's own import map (vendoring).
type mapped struct {
	names map[string]string
	from  types.Importer
}

func (m mapped) Import(path string) (*types.Package, error) {
	if to, ok := m.names[path]; ok {
		path = to
	}
	return m.from.Import(path)
}
