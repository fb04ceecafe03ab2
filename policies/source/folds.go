package source

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// roles are the parameters of the domain kit's functions that take folds.
var roles = map[string][]string{
	"NewAggregate": {"", "", "evolve"},
	"Handle":       {"id", "validate", "decide"},
	"Upcast":       {"upcast"},
	"From":         {"split"},
	"Apply":        {"apply"},
}

const domainKit = platformModule + "/domain"

// body is what a function of the module refers to.
type body struct {
	impure []Use
	calls  []called
}

// called is a function or package variable that a body goes on to, by its full
// name, or a method by its methodKey.
type called struct {
	name string
	of   string // its package, of a function or variable
	at   token.Pos
}

// handing is a parameter of one function that it gives to one of another.
type handing struct{ from, to string }

type foldRoot struct {
	fold Fold
	body body
}

// bodyOf notes what a piece of the file refers to, and which functions and
// package variables of the module it goes on to.
func (v *fileView) bodyOf(n ast.Node) body {
	var b body
	refer := func(at token.Pos, path, name string) {
		file, line := v.place(at)
		b.impure = append(b.impure, Use{File: file, Line: line, Name: name, of: path})
	}
	use := func(at token.Pos, what string) { refer(at, "", what) }
	v.references(n, func(at token.Pos, path, name, _ string) {
		names, listed := impure[path]
		if connector, ok := connectors[path]; ok && connector.has(name) || listed && (names == nil || slices.Contains(names, name)) {
			refer(at, path, path+"."+name)
		}
	})
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			use(n.Pos(), "a goroutine")
		case *ast.SelectStmt:
			use(n.Pos(), "a select, which takes what comes first")
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				v.packageVariable(left, use)
			}
		case *ast.IncDecStmt:
			v.packageVariable(n.X, use)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				v.packageVariable(n.X, use)
			}
		case *ast.CallExpr:
			v.built(n, use)
		case *ast.SelectorExpr:
			if f, ok := v.info.Uses[n.Sel].(*types.Func); ok && changes(f) && isVariable(v.info.Uses, n.X) {
				v.packageVariable(n.X, use)
			}
		case *ast.Ident:
			on := v.info.Uses[n]
			if name := bodyName(on); name != "" && on.Pkg() != nil { // the language's own error.Error has none
				b.calls = append(b.calls, called{name, on.Pkg().Path(), n.Pos()})
			}
			if f, ok := on.(*types.Func); ok && f.Signature().Recv() != nil && types.IsInterface(f.Signature().Recv().Type()) {
				b.calls = append(b.calls, called{methodKey(f), "", n.Pos()})
			}
		}
		return true
	})
	return b
}

// built looks at calls of functions that are part of the language.
func (v *fileView) built(call *ast.CallExpr, use func(token.Pos, string)) {
	name, ok := call.Fun.(*ast.Ident)
	if !ok {
		return
	}
	if _, ok := v.info.Uses[name].(*types.Builtin); !ok {
		return
	}
	switch name.Name {
	case "print", "println":
		use(call.Pos(), name.Name)
	case "delete", "clear", "copy":
		v.packageVariable(call.Args[0], use)
	}
}

// changes says that a method takes its receiver's address, so that it may write
// to it.
func changes(f *types.Func) bool {
	r := f.Signature().Recv()
	if r == nil {
		return false
	}
	_, pointer := r.Type().(*types.Pointer)
	return pointer
}

// isVariable says that an expression names a variable, or a field of one, that
// is no pointer itself.
func isVariable(uses map[*ast.Ident]types.Object, x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.SelectorExpr:
		return isVariable(uses, x.Sel)
	case *ast.Ident:
		o, ok := uses[x].(*types.Var)
		if !ok {
			return false
		}
		_, pointer := o.Type().Underlying().(*types.Pointer)
		return !pointer
	}
	return false
}

// methodKey stands for all methods that a call through an interface may reach.
func methodKey(f *types.Func) string {
	s := f.Signature()
	key := "method " + f.Name()
	for _, tuple := range []*types.Tuple{s.Params(), s.Results()} {
		key += " ("
		for v := range tuple.Variables() {
			key += types.TypeString(v.Type(), (*types.Package).Path) + ","
		}
		key += ")"
	}
	return key
}

// packageVariable reports a write to a variable that outlives the call.
func (v *fileView) packageVariable(left ast.Expr, use func(token.Pos, string)) {
	for {
		switch x := left.(type) {
		case *ast.IndexExpr:
			left = x.X
			continue
		case *ast.SelectorExpr:
			left = x.X
			continue
		case *ast.StarExpr:
			left = x.X
			continue
		case *ast.ParenExpr:
			left = x.X
			continue
		case *ast.Ident:
			if o, ok := v.info.Uses[x].(*types.Var); ok && o.Pkg() != nil && o.Parent() == o.Pkg().Scope() {
				use(x.Pos(), "the package variable "+o.Name())
			}
		}
		return
	}
}

// bodyName is the name under which a function's body, or the value of a package
// variable, is kept; "" for what has none.
func bodyName(o types.Object) string {
	switch o := o.(type) {
	case *types.Func:
		return o.Origin().FullName()
	case *types.Var:
		if o.Pkg() != nil && o.Parent() == o.Pkg().Scope() {
			return o.Pkg().Path() + "." + o.Name()
		}
	}
	return ""
}

// collectBodies notes what each function and package variable of the file
// refers to.
func (r *reader) collectBodies(v *fileView) {
	for _, d := range v.parsed.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if on := bodyName(v.info.Defs[d.Name]); on != "" && d.Body != nil {
				r.bodies[on] = v.bodyOf(d.Body)
				if f, ok := v.info.Defs[d.Name].(*types.Func); ok && f.Signature().Recv() != nil {
					r.methods[methodKey(f)] = append(r.methods[methodKey(f)], on)
				}
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if values, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range values.Names {
						if on := bodyName(v.info.Defs[name]); on != "" {
							r.bodies[on] = v.bodyOf(values)
						}
					}
				}
			}
		}
	}
}

// nameKit notes the variables that hold a function of the domain kit.
func (r *reader) nameKit(v *fileView) {
	note := func(names []ast.Expr, values []ast.Expr) {
		for i, value := range values {
			path, name := v.callee(value)
			if on, ok := names[min(i, len(names)-1)].(*ast.Ident); ok && path == domainKit && roles[name] != nil && on.Name != "_" {
				r.kit[v.info.ObjectOf(on)] = name
			}
		}
	}
	ast.Inspect(v.parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			note(n.Lhs, n.Rhs)
		case *ast.ValueSpec:
			var names []ast.Expr
			for _, name := range n.Names {
				names = append(names, name)
			}
			note(names, n.Values)
		}
		return true
	})
}

// collectFolds notes the functions that the file gives to the domain kit, and
// those that it gives to functions of the module: they may hand them on to it.
func (r *reader) collectFolds(v *fileView) {
	var within *ast.FuncDecl
	ast.Inspect(v.parsed, func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncDecl); ok {
			within = f
		}
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		path, name := v.callee(call.Fun)
		on := v.info.Uses[lastName(call.Fun)]
		if kit, ok := r.kit[on]; ok {
			path, name = domainKit, kit
		}
		var takes []string
		if path == domainKit {
			takes = roles[name]
		}
		for i, arg := range call.Args {
			file, line := v.place(arg.Pos())
			root := foldRoot{fold: Fold{File: file, Line: line, Impure: []Use{}}}
			if i < len(takes) && takes[i] != "" {
				root.fold.Role, root.body = takes[i], v.bodyOf(arg)
				r.folds = append(r.folds, root)
				if at := parameter(v.info, within, arg); at >= 0 {
					r.wrappers[place(bodyName(v.info.Defs[within.Name]), at)] = takes[i]
				}
			} else if given := bodyName(on); given != "" && path != domainKit && isFunction(v.info, arg) {
				root.body = v.bodyOf(arg)
				r.given[place(given, i)] = append(r.given[place(given, i)], root)
				if at := parameter(v.info, within, arg); at >= 0 {
					r.handed = append(r.handed, handing{place(bodyName(v.info.Defs[within.Name]), at), place(given, i)})
				}
			}
		}
		return true
	})
}

func place(function string, parameter int) string { return fmt.Sprintf("%s#%d", function, parameter) }

// parameter is which parameter of a function an expression names, -1 for none.
func parameter(info *types.Info, f *ast.FuncDecl, x ast.Expr) int {
	name, ok := x.(*ast.Ident)
	if !ok || f == nil || f.Type.Params == nil {
		return -1
	}
	i := 0
	for _, field := range f.Type.Params.List {
		for _, p := range field.Names {
			if info.Defs[p] == info.Uses[name] {
				return i
			}
			i++
		}
	}
	return -1
}

// isFunction says that an expression is a function literal, or names a function
// or a variable of a function's type.
func isFunction(info *types.Info, x ast.Expr) bool {
	if _, ok := x.(*ast.FuncLit); ok {
		return true
	}
	o := info.Uses[lastName(x)]
	if o == nil {
		return false
	}
	_, ok := o.Type().Underlying().(*types.Signature)
	return ok
}

// lastName is the name at the end of an expression, without type arguments; a
// name without object where it has none.
func lastName(x ast.Expr) *ast.Ident {
	switch x := x.(type) {
	case *ast.IndexExpr:
		return lastName(x.X)
	case *ast.IndexListExpr:
		return lastName(x.X)
	case *ast.ParenExpr:
		return lastName(x.X)
	case *ast.SelectorExpr:
		return x.Sel
	case *ast.Ident:
		return x
	}
	return &ast.Ident{}
}

// callee names the function of a call, with or without type arguments.
func (v *fileView) callee(fun ast.Expr) (path, name string) {
	path, name, _ = nameOf(v.info.Uses[lastName(fun)])
	return path, name
}

// followFolds adds to each fold what the functions it calls refer to.
func (r *reader) followFolds() {
	for grown := true; grown; {
		grown = false
		for _, h := range r.handed {
			if role := r.wrappers[h.to]; role != "" && r.wrappers[h.from] == "" {
				r.wrappers[h.from], grown = role, true
			}
		}
	}
	for _, place := range slices.Sorted(maps.Keys(r.wrappers)) {
		for _, root := range r.given[place] {
			root.fold.Role = r.wrappers[place]
			r.folds = append(r.folds, root)
		}
	}
	slices.SortStableFunc(r.folds, func(a, b foldRoot) int {
		return cmp.Or(strings.Compare(a.fold.File, b.fold.File), a.fold.Line-b.fold.Line)
	})
	for _, root := range r.folds {
		seen := map[string]bool{}
		var follow func(b body)
		follow = func(b body) {
			for _, use := range b.impure {
				if !slices.Contains(root.fold.Impure, use) {
					root.fold.Impure = append(root.fold.Impure, use)
				}
			}
			for _, on := range b.calls {
				for _, name := range append(r.methods[on.name], on.name) {
					if next, ok := r.bodies[name]; ok && !seen[name] {
						seen[name] = true
						follow(next)
					}
				}
				if what := r.outside.differs(on); what != "" {
					file, line := r.place(on.at)
					use := Use{File: file, Line: line, Name: on.name + ", which uses " + what}
					if !slices.Contains(root.fold.Impure, use) {
						root.fold.Impure = append(root.fold.Impure, use)
					}
				}
			}
		}
		follow(root.body)
		r.facts.Folds = append(r.facts.Folds, root.fold)
	}
}
