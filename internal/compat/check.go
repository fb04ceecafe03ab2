package compat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Check reports why data written with the writer schema could not be read with
// the reader schema; nothing found means that every value can be. At most 100
// findings are given. An error means that one of the texts is no schema
// ([ErrInvalid]).
func Check(reader, writer string) ([]Incompatibility, error) {
	r, err := Parse(reader)
	if err != nil {
		return nil, fmt.Errorf("reading the reader's schema: %w", err)
	}
	w, err := Parse(writer)
	if err != nil {
		return nil, fmt.Errorf("reading the writer's schema: %w", err)
	}
	return CheckSchemas(r, w), nil
}

// CheckSchemas is [Check] for schemas that are parsed already.
func CheckSchemas(reader, writer *Schema) []Incompatibility {
	c := checker{seen: map[pair]bool{}}
	c.check(reader.root, writer.root, "")
	return c.found
}

type pair struct{ r, w *node }

type checker struct {
	// seen breaks recursion (a pair is fine unless proven otherwise) and keeps
	// a type that is used in many places from being judged many times.
	seen  map[pair]bool
	found []Incompatibility
}

func (c *checker) report(t Type, at, format string, args ...any) {
	if len(c.found) < maxReported {
		c.found = append(c.found, Incompatibility{Type: t, Location: at, Message: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) check(r, w *node, at string) {
	p := pair{r, w}
	if c.seen[p] || len(c.found) >= maxReported {
		return
	}
	c.seen[p] = true
	switch {
	case w.kind == "union":
		for _, branch := range w.branches {
			c.check(r, branch, at)
		}
	case r.kind == "union":
		c.checkBranch(r, w, at)
	case r.kind == w.kind:
		c.checkKind(r, w, at)
	case !promotions[[2]string{w.kind, r.kind}]:
		c.report(TypeMismatch, at, "the reader expects %s and cannot read %s", describe(r), describe(w))
	}
}

func (c *checker) checkBranch(r, w *node, at string) {
	i := r.branchFor(w)
	if i < 0 {
		c.report(MissingUnionBranch, at, "no branch of the reader's union reads %s", describe(w))
		return
	}
	c.check(r.branches[i], w, at+"/"+strconv.Itoa(i))
}

func (c *checker) checkKind(r, w *node, at string) {
	switch r.kind {
	case "array":
		c.check(r.items, w.items, at+"/items")
	case "map":
		c.check(r.items, w.items, at+"/values")
	case "record":
		c.checkNames(r, w, at)
		c.checkFields(r, w, at)
	case "enum":
		c.checkNames(r, w, at)
		c.checkSymbols(r, w, at)
	case "fixed":
		c.checkNames(r, w, at)
		if r.size != w.size {
			c.report(FixedSizeMismatch, at+"/size", "fixed %s has %d bytes for the reader and %d for the writer", short(r.name), r.size, w.size)
		}
		c.checkDecimal(r, w, at)
	case "bytes":
		c.checkDecimal(r, w, at)
	}
}

func (c *checker) checkNames(r, w *node, at string) {
	if !namesMatch(r, w) {
		c.report(NameMismatch, at+"/name", "the reader's %s is named %s, the writer's %s, and no alias of the reader covers that",
			r.kind, short(r.name), short(w.name))
	}
}

func (c *checker) checkDecimal(r, w *node, at string) {
	if r.decimal && w.decimal && (r.precision != w.precision || r.scale != w.scale) {
		c.report(TypeMismatch, at, "the reader's decimal has precision %d and scale %d, the writer's %d and %d",
			r.precision, r.scale, w.precision, w.scale)
	}
}

func (c *checker) checkSymbols(r, w *node, at string) {
	if r.enumDefault {
		return
	}
	have := make(map[string]bool, len(r.symbols))
	for _, s := range r.symbols {
		have[s] = true
	}
	var missing []string
	for _, s := range w.symbols {
		if !have[s] {
			missing = append(missing, short(s))
		}
	}
	if len(missing) > 0 {
		c.report(MissingEnumSymbols, at+"/symbols", "the reader's enum %s has no default and lacks the writer's %s",
			short(r.name), list(missing))
	}
}

func (c *checker) checkFields(r, w *node, at string) {
	writer := make(map[string]*node, len(w.fields))
	for _, f := range w.fields {
		writer[f.name] = f.typ
	}
	for i, f := range r.fields {
		where := at + "/fields/" + strconv.Itoa(i)
		sources := claimed(f, writer)
		if len(sources) > 1 {
			c.report(NameMismatch, where+"/aliases", "field %s of %s would be read from more than one field of the writer: %s",
				short(f.name), short(r.name), list(sources))
			continue
		}
		if len(sources) == 0 {
			if !f.hasDefault {
				c.report(ReaderFieldMissingDefaultValue, where, "field %s of %s has no default and the writer does not write it",
					short(f.name), short(r.name))
			}
			continue
		}
		c.check(f.typ, writer[sources[0]], where+"/type")
	}
}

// claimed returns the writer's fields that a reader's field answers to. No two
// reader fields claim the same one: Parse refuses aliases that collide.
func claimed(f field, writer map[string]*node) []string {
	var out []string
	for _, name := range append([]string{f.name}, f.aliases...) {
		if _, ok := writer[name]; ok && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func describe(n *node) string {
	switch {
	case n.name != "":
		return n.kind + " " + short(n.name)
	case n.kind == "union":
		return "a union of " + strconv.Itoa(len(n.branches)) + " types"
	}
	return n.kind
}

// short keeps a hostile name from making a hostile message.
func short(name string) string {
	if len(name) <= 120 {
		return name
	}
	return name[:117] + "..."
}

func list(names []string) string {
	if len(names) <= 10 {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:10], ", ") + " and " + strconv.Itoa(len(names)-10) + " more"
}
