package source

import "slices"

// outside answers whether a function of another module gives something else at
// every run. Such a module is type-checked only if a fold refers to it.
type outside struct {
	reader *reader
	list   *listing
	bodies map[string]map[string]body // by package, then by the function's full name
	known  map[string]string          // function → what it uses; "": nothing, nor do those that it calls
}

// chancy are the packages whose names count in another module: clocks,
// generators and what connects. Whatever else is impure in a fold, such as a
// lock or a variable that is set, is a module's own affair.
var chancy = []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "github.com/google/uuid"}

// differs is what the function uses, itself or through others, that is not the
// same at every run; "" if nothing was found.
func (o *outside) differs(f called) string {
	asked := map[string]bool{}
	what := o.follow(f, asked)
	if what == "" {
		for name := range asked {
			o.known[name] = ""
		}
	}
	return what
}

// follow asks each function once. That one of them found nothing is not known
// before all have answered: it may call one that is still being asked.
func (o *outside) follow(f called, asked map[string]bool) string {
	if what, ok := o.known[f.name]; ok || asked[f.name] {
		return what
	}
	asked[f.name] = true
	b, what := o.read(f.of)[f.name], ""
	if len(b.impure) > 0 {
		what = b.impure[0].Name
	}
	for i := 0; what == "" && i < len(b.calls); i++ {
		what = o.follow(b.calls[i], asked)
	}
	if what != "" {
		o.known[f.name] = what
	}
	return what
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
