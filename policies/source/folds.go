package source

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
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
	calls  []string // functions of the module, by full name
}

type foldRoot struct {
	fold Fold
	body body
}

// bodyOf notes what a piece of the file refers to, and which functions and
// package variables of the module it goes on to.
func (v *fileView) bodyOf(n ast.Node) body {
	var b body
	use := func(at token.Pos, name string) {
		file, line := v.place(at)
		b.impure = append(b.impure, Use{File: file, Line: line, Name: name})
	}
	v.references(n, func(at token.Pos, path, name, _ string) {
		names, listed := impure[path]
		if connector, ok := connectors[path]; ok && connector.has(name) || listed && (names == nil || slices.Contains(names, name)) {
			use(at, path+"."+name)
		}
	})
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			use(n.Pos(), "a goroutine")
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				v.packageVariable(left, use)
			}
		case *ast.IncDecStmt:
			v.packageVariable(n.X, use)
		case *ast.Ident:
			if on := bodyName(v.info.Uses[n]); on != "" {
				b.calls = append(b.calls, on)
			}
		}
		return true
	})
	return b
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

// collectFolds notes the functions that the file gives to the domain kit.
func (r *reader) collectFolds(v *fileView) {
	ast.Inspect(v.parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		path, name := v.callee(call.Fun)
		if path != domainKit {
			return true
		}
		for i, role := range roles[name] {
			if role == "" || i >= len(call.Args) {
				continue
			}
			file, line := v.place(call.Args[i].Pos())
			r.folds = append(r.folds, foldRoot{Fold{File: file, Line: line, Role: role, Impure: []Use{}}, v.bodyOf(call.Args[i])})
		}
		return true
	})
}

// callee names the function of a call, with or without type arguments.
func (v *fileView) callee(fun ast.Expr) (path, name string) {
	switch f := fun.(type) {
	case *ast.IndexExpr:
		return v.callee(f.X)
	case *ast.IndexListExpr:
		return v.callee(f.X)
	case *ast.ParenExpr:
		return v.callee(f.X)
	case *ast.SelectorExpr:
		return v.callee(f.Sel)
	case *ast.Ident:
		path, name, _ = nameOf(v.info.Uses[f])
	}
	return path, name
}

// followFolds adds to each fold what the functions it calls refer to.
func (r *reader) followFolds() {
	for _, root := range r.folds {
		seen := map[string]bool{}
		var follow func(b body)
		follow = func(b body) {
			for _, use := range b.impure {
				if !slices.Contains(root.fold.Impure, use) {
					root.fold.Impure = append(root.fold.Impure, use)
				}
			}
			for _, called := range b.calls {
				if next, ok := r.bodies[called]; ok && !seen[called] {
					seen[called] = true
					follow(next)
				}
			}
		}
		follow(root.body)
		r.facts.Folds = append(r.facts.Folds, root.fold)
	}
}
