package source

import "slices"

// outside answers whether a function of another module gives something else at
// every run. Such a module is type-checked only if a fold refers to it.
type outside struct {
	reader *reader
	list   *listing
	bodies map[string]map[string]body // by package, then by the function's full name
	known  map[string]string          // function → what it uses; "": nothing
}

// chancy are the packages whose names count in another module: clocks,
// generators and what connects. Whatever else is impure in a fold, such as a
// lock or a variable that is set, is a module's own affair.
var chancy = []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "github.com/google/uuid"}

// differs is what the function uses, itself or through others, that is not the
// same at every run; "" if nothing was found.
func (o *outside) differs(f called) string {
	if what, ok := o.known[f.name]; ok {
		return what
	}
	o.known[f.name] = "" // while it is looked at, and for what is no function of another module
	b, ok := o.read(f.of)[f.name]
	if !ok {
		return ""
	}
	if len(b.impure) > 0 {
		o.known[f.name] = b.impure[0].Name
		return b.impure[0].Name
	}
	for _, next := range b.calls {
		if what := o.differs(next); what != "" {
			o.known[f.name] = what
			return what
		}
	}
	return ""
}

// read gives the bodies of a package of another module. One that does not
// type-check here, and one that is known by its names, has none.
func (o *outside) read(path string) map[string]body {
	if bodies, ok := o.bodies[path]; ok {
		return bodies
	}
	o.bodies[path] = nil
	p := o.list.all[path]
	_, connects := connectors[path]
	_, named := impure[path]
	if p == nil || p.Standard || p.Module == nil || p.Module.Main || p.Module.Path == platformModule || connects || named {
		return nil
	}
	checked, err := o.reader.load.check(p)
	if err != nil {
		return nil
	}
	of := &reader{root: o.reader.root, load: o.reader.load, bodies: map[string]body{}, methods: map[string][]string{}}
	for _, f := range checked.files {
		of.collectBodies(of.view(f, checked.info))
	}
	for name, b := range of.bodies {
		b.impure = slices.DeleteFunc(b.impure, func(u Use) bool { _, connects := connectors[u.of]; return !connects && !slices.Contains(chancy, u.of) })
		of.bodies[name] = b
	}
	o.bodies[path] = of.bodies
	return of.bodies
}
