package search

import (
	"database/sql"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/nexusblueprint/nexus/ports"
)

// index is one index and the names of its tables.
type index struct {
	n      int64
	name   string
	docs   string // table of the documents
	text   string // full text table; its rowid is docs.key
	fields []ports.Field
	byName map[string]int // place in fields

	accessed   atomic.Uint64              // bit i: fields[i] has a column index; set by who holds the writer
	statements map[statementKey]*sql.Stmt // used by who holds the writer
}

func newIndex(n int64, spec ports.IndexSpec) *index {
	ix := &index{
		n: n, name: spec.Name, docs: fmt.Sprintf("d%d", n), text: fmt.Sprintf("t%d", n),
		fields: slices.Clone(spec.Fields), byName: map[string]int{}, statements: map[statementKey]*sql.Stmt{},
	}
	for i, f := range ix.fields {
		ix.byName[f.Name] = i
	}
	return ix
}

func (ix *index) same(spec ports.IndexSpec) bool { return slices.Equal(ix.fields, spec.Fields) }

func (ix *index) spec() ports.IndexSpec { return ports.IndexSpec{Name: ix.name, Fields: ix.fields} }

// access is the name of the column index of field i.
func (ix *index) access(i int) string { return fmt.Sprintf("a%d_%d", ix.n, i) }

func (ix *index) hasAccess(i int) bool { return ix.accessed.Load()&(1<<i) != 0 }

func (ix *index) addAccess(i int) { ix.accessed.Or(1 << i) }
