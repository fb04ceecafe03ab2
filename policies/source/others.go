package source

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// others answers which packages of other modules open connections. A package
// does so if its source names a connector, or if it imports one that does; the
// standard library's packages count by connectors alone, and the platform's
// never, because it is the way that is wanted.
type others struct {
	list     *listing
	connects map[string][]string // package → the way to a call; empty: none
	blinds   map[string][]string // package → the way to an import among the blinders; empty: none
}

func newOthers(l *listing) *others {
	return &others{list: l, connects: map[string][]string{}, blinds: map[string][]string{}}
}

// reach is the shortest way found from the package to a call, nil if there is
// none. It names packages and ends with the call.
func (o *others) reach(full string) []string {
	if _, listed := connectors[full]; listed {
		return nil // whoever imports it connects if it names what does: names sees that
	}
	return o.way(full, o.connects, (*listed).names, o.reach)
}

// blind is the shortest way found from the package to an import that leads out
// of what can be seen, nil if there is none.
func (o *others) blind(full string) []string {
	return o.way(full, o.blinds, func(p *listed) string {
		if len(p.CgoFiles) > 0 {
			return "C"
		}
		i := slices.IndexFunc(p.Imports, func(imported string) bool { return blinders[imported] != "" })
		if i < 0 {
			return ""
		}
		return p.Imports[i]
	}, o.blind)
}

// way is the way from the package to what end finds in it, or else next in one
// of its imports. It names packages and ends with what was found.
func (o *others) way(full string, known map[string][]string, end func(*listed) string, next func(string) []string) []string {
	if way, ok := known[full]; ok {
		return way
	}
	known[full] = nil // imports make no cycle, but a missing package may seem to
	p := o.list.all[full]
	if p == nil || p.Standard || p.Module == nil || p.Module.Main || p.Module.Path == platformModule {
		return nil
	}
	var way []string
	if found := end(p); found != "" {
		way = []string{full, found}
	} else {
		for _, imported := range p.Imports {
			if to, ok := p.ImportMap[imported]; ok {
				imported = to
			}
			if further := next(imported); further != nil && (way == nil || len(further)+1 < len(way)) {
				way = append([]string{full}, further...)
			}
		}
	}
	known[full] = way
	return way
}

// names is a connector that the package's source names, as "net.Dial", or "".
func (p *listed) names() string {
	connects := func(imported string) bool { _, ok := connectors[imported]; return ok }
	if !slices.ContainsFunc(p.Imports, connects) {
		return ""
	}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			continue // the compiler has taken it: it is one that the go command generated
		}
		if call := connectorIn(f); call != "" {
			return call
		}
	}
	return ""
}

// connectorIn is the first connector that a file names. Of a dot import the
// names carry no package: the import is enough.
func connectorIn(f *ast.File) string {
	names := map[string]string{}
	for _, spec := range f.Imports {
		full, err := strconv.Unquote(spec.Path.Value)
		if _, ok := connectors[full]; err != nil || !ok {
			continue
		}
		switch {
		case spec.Name == nil:
			names[defaultName(full)] = full
		case spec.Name.Name == ".":
			return full
		default:
			names[spec.Name.Name] = full
		}
	}
	call := ""
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && call == "" {
			if x, ok := s.X.(*ast.Ident); ok && names[x.Name] != "" && connectors[names[x.Name]].opens(s.Sel.Name) {
				call = names[x.Name] + "." + s.Sel.Name
			}
		}
		return call == ""
	})
	return call
}

// defaultName is the last part of an import path that is no major version.
func defaultName(full string) string {
	base := path.Base(full)
	if len(base) > 1 && base[0] == 'v' && base[1] >= '0' && base[1] <= '9' {
		base = path.Base(path.Dir(full))
	}
	return strings.TrimSuffix(strings.TrimPrefix(base, "go-"), ".go")
}
