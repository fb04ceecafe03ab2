package compat

import (
	"strings"
	"sync"
)

// node is one type of a schema. Names are resolved: a reference points to the
// node of the definition, so recursive types are cycles of pointers.
type node struct {
	kind    string   // record, enum, fixed, array, map, union or a primitive
	name    string   // full name of a record, enum or fixed
	aliases []string // full names
	fields  []field
	symbols []string
	// enumDefault is set if the enum itself names a symbol for unknown ones.
	enumDefault bool
	items       *node // element of an array, value of a map
	size        int
	decimal     bool
	precision   int
	scale       int
	branches    []*node

	indexOnce sync.Once
	index     branchIndex // of a union, built when first asked
}

type field struct {
	name       string
	aliases    []string
	typ        *node
	hasDefault bool
}

var primitives = map[string]bool{
	"null": true, "boolean": true, "int": true, "long": true,
	"float": true, "double": true, "bytes": true, "string": true,
}

// promotions holds what a reader of the second type may read of the first.
var promotions = map[[2]string]bool{
	{"int", "long"}: true, {"int", "float"}: true, {"int", "double"}: true,
	{"long", "float"}: true, {"long", "double"}: true, {"float", "double"}: true,
	{"string", "bytes"}: true, {"bytes", "string"}: true,
}

func unqualified(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

func namespaceOf(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[:i]
	}
	return ""
}

// namesMatch applies the specification's rule for named types: the same
// unqualified name, or an alias of the reader equal to the writer's full name.
func namesMatch(r, w *node) bool {
	if unqualified(r.name) == unqualified(w.name) {
		return true
	}
	for _, a := range r.aliases {
		if a == w.name {
			return true
		}
	}
	return false
}

// branchIndex finds the branch a reader's union offers for a writer's type in
// constant time: unions of some thousand branches must not cost a square.
type branchIndex struct {
	exact map[branchKey]int // full names and aliases; "" for unnamed types
	short map[branchKey]int // unqualified names
	first map[string]int    // by kind, for promotions
}

type branchKey struct {
	kind, name string
	size       int // of a fixed: the size is part of the match
}

func keyOf(n *node, name string) branchKey { return branchKey{kind: n.kind, name: name, size: n.size} }

func newBranchIndex(branches []*node) branchIndex {
	idx := branchIndex{exact: map[branchKey]int{}, short: map[branchKey]int{}, first: map[string]int{}}
	put := func(m map[branchKey]int, k branchKey, i int) {
		if _, taken := m[k]; !taken {
			m[k] = i
		}
	}
	for i, b := range branches {
		if _, taken := idx.first[b.kind]; !taken {
			idx.first[b.kind] = i
		}
		put(idx.exact, keyOf(b, b.name), i)
		for _, a := range b.aliases {
			put(idx.exact, keyOf(b, a), i)
		}
		if b.name != "" {
			put(idx.short, keyOf(b, unqualified(b.name)), i)
		}
	}
	return idx
}

// branchFor returns the position of the union's branch that a reader takes for
// a value of w, or -1.
func (n *node) branchFor(w *node) int {
	n.indexOnce.Do(func() { n.index = newBranchIndex(n.branches) })
	if i, ok := n.index.exact[keyOf(w, w.name)]; ok {
		return i
	}
	if i, ok := n.index.short[keyOf(w, unqualified(w.name))]; ok && w.name != "" {
		return i
	}
	best := -1
	for pair := range promotions {
		if pair[0] != w.kind {
			continue
		}
		if i, ok := n.index.first[pair[1]]; ok && (best < 0 || i < best) {
			best = i
		}
	}
	return best
}
