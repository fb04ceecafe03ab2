// Package source gathers what policies judge of a Go module: where its code
// opens connections, which modules it imports do so, what its folds refer to,
// and which code cannot be seen.
//
// The module's own packages are type-checked against the export data of the go
// command's build cache, so a name is what the compiler says it is: behind an
// import alias, a dot import, a function value, a method value or an embedded
// field. Other modules are read as syntax. Nothing here judges.
package source

import (
	"cmp"
	"context"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Facts are what one module's source says. Files are slash-separated and
// relative to the module's folder; tests are left out.
type Facts struct {
	Module            string    `json:"module"`
	Packages          []Package `json:"packages"`
	EventStoreMethods []Method  `json:"eventStoreMethods"` // of every interface named like an event store (EventStore, orderEventLog, …), embedded ones included
	Folds             []Fold    `json:"folds"`
	Blind             []Blind   `json:"blind"`
}

// Package is one package of the module.
type Package struct {
	Path     string   `json:"path"`
	Platform bool     `json:"platform"` // part of the platform, whose work is to connect: nothing of it is read
	Calls    []Call   `json:"calls"`
	Imports  []Import `json:"imports"` // of other modules' packages that connect
}

// Call is a place that names what opens a connection.
type Call struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Call    string `json:"call"` // such as "net/http.Get"
	Kind    string `json:"kind"` // network, http, rpc, database, broker or mail
	Allowed bool   `json:"allowed"`
}

// Import is a package of another module that opens connections, itself or
// through what it imports.
type Import struct {
	File    string   `json:"file"`
	Line    int      `json:"line"`
	Path    string   `json:"path"`
	Via     []string `json:"via"` // from the import to the call: packages, then the call
	Allowed bool     `json:"allowed"`
}

// Method is a method of an interface.
type Method struct {
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
}

// Fold is a function given to domain.NewAggregate, Handle, From or Apply, with
// what it refers to, itself or through functions of the module, that is not
// the same at every run.
type Fold struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Role   string `json:"role"` // evolve, id, validate, decide, split or apply
	Impure []Use  `json:"impure"`
}

// Use is a place that refers to something.
type Use struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Name string `json:"name"`

	of string // its package; empty for what is none's
}

// Blind is a place where code goes on that Read does not see.
type Blind struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	What    string `json:"what"`
	Allowed bool   `json:"allowed"`
}

const platformModule = "github.com/nexusblueprint/nexus"

// platformRooms are that module's rooms whose work is to connect.
var platformRooms = []string{"adapters", "benchmarks", "cmd", "emitters", "gateway", "internal", "policies", "processors", "sink", "views"}

// Read gathers the facts of the module in a folder. It runs the go command and
// fails if the module does not compile: what has no types cannot be judged.
func Read(ctx context.Context, dir string) (*Facts, error) {
	l, err := list(ctx, dir)
	if err != nil {
		return nil, err
	}
	r := &reader{
		root: l.root, load: newLoader(l), others: newOthers(l), bodies: map[string]body{}, methods: map[string][]string{}, kit: map[types.Object]string{}, given: map[string][]foldRoot{}, wrappers: map[string]string{},
		facts: &Facts{Module: l.module, Packages: []Package{}, EventStoreMethods: []Method{}, Folds: []Fold{}, Blind: []Blind{}},
	}
	for _, p := range l.own {
		if err := r.pkg(p); err != nil {
			return nil, err
		}
	}
	r.outside = &outside{reader: r, list: l, bodies: map[string]map[string]body{}, known: map[string]string{}}
	if err := r.otherModules(dir); err != nil {
		return nil, err
	}
	r.followFolds()
	return r.facts, nil
}

type reader struct {
	root    string
	load    *loader
	others  *others
	facts   *Facts
	outside *outside

	bodies   map[string]body     // by the function's full name
	methods  map[string][]string // of the module's types: full names, by name and signature
	folds    []foldRoot
	kit      map[types.Object]string // variables that hold a function of the domain kit
	given    map[string][]foldRoot   // what is given to a parameter of the module's functions
	handed   []handing               // to whom the module's functions hand their parameters on
	wrappers map[string]string       // the roles of parameters that reach the domain kit
}

func (r *reader) pkg(p *listed) error {
	fact := Package{Path: p.ImportPath, Platform: platform(r.facts.Module, p.ImportPath), Calls: []Call{}, Imports: []Import{}}
	if fact.Platform {
		r.facts.Packages = append(r.facts.Packages, fact)
		return nil
	}
	checked, err := r.load.check(p)
	if err != nil {
		return err
	}
	var calls []found
	for _, f := range checked.files {
		r.nameKit(r.view(f, checked.info))
	}
	for _, f := range checked.files {
		view := r.view(f, checked.info)
		calls = append(calls, view.calls()...)
		fact.Imports = append(fact.Imports, view.imports(r.others)...)
		r.facts.Blind = append(r.facts.Blind, view.blind()...)
		r.collectBodies(view)
		r.collectFolds(view)
	}
	// Files of other systems and build tags have no types of their own: each is
	// read alone, with the errors that this brings.
	for _, file := range p.IgnoredGoFiles {
		f, info, err := r.load.alone(p, file)
		if err != nil {
			return err
		}
		view := r.view(f, info)
		calls = append(calls, view.calls()...)
		fact.Imports = append(fact.Imports, view.imports(r.others)...)
		r.facts.Blind = append(r.facts.Blind, view.blind()...)
	}
	fact.Calls = withoutEcho(calls)
	r.facts.Packages = append(r.facts.Packages, fact)
	r.eventStores(checked)
	return nil
}

// withoutEcho leaves out the methods of a type that the package names, and
// answers for, elsewhere: http.Client is one finding, not one per request.
func withoutEcho(all []found) []Call {
	named := map[string]bool{}
	for _, c := range all {
		if c.receiver == "" {
			named[c.Call.Call] = true
		}
	}
	calls := []Call{}
	seen := map[Call]bool{}
	for _, c := range all {
		if c.receiver != "" && named[c.receiver] || seen[c.Call] {
			continue
		}
		seen[c.Call] = true
		calls = append(calls, c.Call)
	}
	slices.SortFunc(calls, func(a, b Call) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line)
	})
	return calls
}

func platform(module, path string) bool {
	room, _, _ := strings.Cut(strings.TrimPrefix(path, platformModule+"/"), "/")
	return module == platformModule && slices.Contains(platformRooms, room)
}

// eventStoreName is what a port of events is called.
var eventStoreName = regexp.MustCompile(`(?i)events?_?(store|log|journal|repository)$`)

// eventStores lists what the interfaces named like an event store offer.
func (r *reader) eventStores(p *checkedPackage) {
	scope := p.types.Scope()
	for _, name := range scope.Names() {
		declared, ok := scope.Lookup(name).(*types.TypeName)
		if !ok || !eventStoreName.MatchString(name) {
			continue
		}
		offered, ok := declared.Type().Underlying().(*types.Interface)
		if !ok {
			continue
		}
		for m := range offered.Methods() {
			at := declared.Pos() // an embedded method of another package has no place of its own here
			if m.Pkg() == p.types {
				at = m.Pos()
			}
			file, line := r.place(at)
			r.facts.EventStoreMethods = append(r.facts.EventStoreMethods, Method{Name: m.Name(), File: file, Line: line})
		}
	}
}

func (r *reader) view(f *ast.File, info *types.Info) *fileView {
	return &fileView{reader: r, parsed: f, info: info, allowed: allowances(r.load.files, f)}
}

// place names a position by its file in the module, and line.
func (r *reader) place(pos token.Pos) (file string, line int) {
	at := r.load.files.PositionFor(pos, false) // a //line comment may not hide where code stands
	relative, err := filepath.Rel(r.root, at.Filename)
	if err != nil {
		relative = at.Filename
	}
	return filepath.ToSlash(relative), at.Line
}
