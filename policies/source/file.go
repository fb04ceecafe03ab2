package source

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strconv"
	"strings"
)

// allowance starts a comment that answers for a rule on the line it stands on
// and the next one: //nexus:allow direct-calls the reason.
const allowance = "//nexus:allow "

// allowances are the rules that a comment with a reason answers for, by line.
func allowances(files *token.FileSet, f *ast.File) map[int][]string {
	lines := map[int][]string{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			text, ok := strings.CutPrefix(c.Text, allowance)
			rule, reason, _ := strings.Cut(text, " ")
			if ok && strings.TrimSpace(reason) != "" {
				at := files.PositionFor(c.Pos(), false).Line
				lines[at], lines[at+1] = append(lines[at], rule), append(lines[at+1], rule)
			}
		}
	}
	return lines
}

// fileView is one file with what the type-checker knows of it.
type fileView struct {
	*reader
	parsed  *ast.File
	info    *types.Info
	allowed map[int][]string
}

func (v *fileView) allows(rule string, line int) bool { return slices.Contains(v.allowed[line], rule) }

// found is a call; of a method, receiver names its type.
type found struct {
	Call
	receiver string
}

// calls are the places that name a connector, however it came by its name.
func (v *fileView) calls() []found {
	var calls []found
	v.references(v.parsed, func(at token.Pos, path, name, receiver string) {
		c, ok := connectors[path]
		of, _, _ := strings.Cut(name, ".") // the type, of a method
		if !ok || !c.has(of) && !c.has(name) {
			return
		}
		file, line := v.place(at)
		calls = append(calls, found{Call{File: file, Line: line, Call: path + "." + name, Kind: c.kind, Allowed: v.allows("direct-calls", line)}, receiver})
	})
	return calls
}

// references calls f with each package-level name and method that a piece of the
// file uses: "Get", or "Client.Do" with its receiver "net/http.Client".
func (v *fileView) references(root ast.Node, f func(at token.Pos, path, name, receiver string)) {
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				if p, ok := v.info.Uses[x].(*types.PkgName); ok && v.info.Uses[n.Sel] == nil { // a file read alone
					f(n.Pos(), p.Imported().Path(), n.Sel.Name, "")
				}
			}
		case *ast.Ident:
			path, name, receiver := nameOf(v.info.Uses[n])
			if path != "" {
				f(n.Pos(), path, name, receiver)
			}
		}
		return true
	})
}

// nameOf says which package-level name or method an object is.
func nameOf(o types.Object) (path, name, receiver string) {
	if o == nil || o.Pkg() == nil {
		return "", "", ""
	}
	path = o.Pkg().Path()
	if f, ok := o.(*types.Func); ok {
		if r := f.Signature().Recv(); r != nil {
			of := namedType(r.Type())
			if of == "" {
				return "", "", ""
			}
			return path, of + "." + f.Name(), path + "." + of
		}
		return path, f.Name(), ""
	}
	if o.Parent() != o.Pkg().Scope() {
		return "", "", ""
	}
	return path, o.Name(), ""
}

func namedType(t types.Type) string {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name()
	}
	return ""
}

// imports are the file's imports of other modules' packages that connect. One
// that is a connector itself is found where it is used, unless it is imported
// for its effect alone.
func (v *fileView) imports(o *others) []Import {
	var imports []Import
	for _, spec := range v.parsed.Imports {
		full, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		effect := spec.Name != nil && spec.Name.Name == "_"
		if _, listed := connectors[full]; listed && !effect {
			continue
		}
		via := o.reach(full)
		if c, listed := connectors[full]; listed && c.names == nil {
			via = []string{full}
		}
		if via != nil {
			file, line := v.place(spec.Pos())
			imports = append(imports, Import{File: file, Line: line, Path: full, Via: via, Allowed: v.allows("direct-calls", line)})
		}
	}
	return imports
}

// blind are the places where the file leaves what can be seen.
func (v *fileView) blind() []Blind {
	var blind []Blind
	add := func(at token.Pos, what string) {
		file, line := v.place(at)
		blind = append(blind, Blind{File: file, Line: line, What: what, Allowed: v.allows("blind-spots", line)})
	}
	for _, spec := range v.parsed.Imports {
		full, err := strconv.Unquote(spec.Path.Value)
		switch {
		case err != nil:
		case blinders[full] != "":
			add(spec.Pos(), blinders[full]+" (import "+path.Clean(full)+")")
		default:
			if via := v.others.blind(full); via != nil {
				add(spec.Pos(), fmt.Sprintf("%s (%s)", blinders[via[len(via)-1]], strings.Join(via, " → ")))
			}
		}
	}
	seen := map[string]bool{} // once a line is enough
	v.references(v.parsed, func(at token.Pos, path, name, _ string) {
		if what := blindNames[path][name]; what != "" {
			if place := fmt.Sprint(v.load.files.PositionFor(at, false).Line, path, name); !seen[place] {
				seen[place] = true
				add(at, what+" ("+path+"."+name+")")
			}
		}
	})
	linked := map[string]bool{}
	for _, group := range v.parsed.Comments {
		for _, c := range group.List {
			if fields := strings.Fields(c.Text); len(fields) > 1 && fields[0] == "//go:linkname" {
				linked[fields[1]] = true
				add(c.Pos(), "reaches behind another package's exports ("+strings.TrimPrefix(c.Text, "//")+")")
			}
		}
	}
	for _, d := range v.parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body == nil && !linked[f.Name.Name] {
			add(f.Pos(), "is written in assembly ("+f.Name.Name+" has no body)")
		}
	}
	return blind
}
