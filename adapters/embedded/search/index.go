package search

import (
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"sync/atomic"

	"github.com/nexusblueprint/nexus/ports"
)

var (
	indexName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	fieldName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
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

// access is the name of the column index of field i.
func (ix *index) access(i int) string { return fmt.Sprintf("a%d_%d", ix.n, i) }

func (ix *index) hasAccess(i int) bool { return ix.accessed.Load()&(1<<i) != 0 }

func (ix *index) addAccess(i int) { ix.accessed.Or(1 << i) }

// checkSpec names the first rule that the spec breaks.
func checkSpec(spec ports.IndexSpec) error {
	if !indexName.MatchString(spec.Name) {
		return fmt.Errorf("%w: name %q is not up to 100 lower-case letters, digits, '-', '.' and '_'", ports.ErrBadIndex, spec.Name)
	}
	if n := len(spec.Fields); n > ports.SearchFieldsMax {
		return fmt.Errorf("%w: %s has %d fields, more than %d", ports.ErrBadIndex, spec.Name, n, ports.SearchFieldsMax)
	}
	seen := map[string]bool{}
	for _, f := range spec.Fields {
		if !fieldName.MatchString(f.Name) || seen[f.Name] {
			return fmt.Errorf("%w: %s: field %q is not a name or occurs twice", ports.ErrBadIndex, spec.Name, f.Name)
		}
		seen[f.Name] = true
		switch f.Kind {
		case ports.KindKeyword, ports.KindLong, ports.KindMoney, ports.KindTimestamp, ports.KindDouble, ports.KindBool:
		default:
			return fmt.Errorf("%w: %s: field %s is of unknown kind %q", ports.ErrBadIndex, spec.Name, f.Name, f.Kind)
		}
	}
	return nil
}
