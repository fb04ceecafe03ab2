package search

import (
	"fmt"
	"strings"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// plan is a checked query, and how it is written in SQL.
type plan struct {
	ix       *index
	where    []condition // every one has to hold
	sort     []sortTerm  // the id follows them
	match    string      // full text expression; "" for none
	fields   []int       // that filter or lead the order
	lead     int         // the field that leads the order, if sort begins with one
	limit    int
	identity []byte // of everything but limit and cursor
	after    *place // behind which the page begins; nil for the first
}

// condition is a piece of SQL over columns, and its arguments.
type condition struct {
	column string
	test   string // follows the column
	args   []any
}

type sortTerm struct {
	column string
	desc   bool
}

// place is a place in the order: the values of the sort terms, then the id.
type place struct {
	values []any
	id     string
}

var operators = map[ports.Op]string{ports.OpEq: "= ?", ports.OpGt: "> ?", ports.OpGte: ">= ?", ports.OpLt: "< ?", ports.OpLte: "<= ?"}

// newPlan checks the query against the index.
func newPlan(ix *index, q ports.Query) (*plan, error) {
	if err := searchstore.CheckQuery(ix.spec(), q); err != nil {
		return nil, err
	}
	p := &plan{ix: ix, limit: q.Limit}
	for _, f := range q.Filters {
		i := ix.byName[f.Field]
		p.where = append(p.where, condition{column(i), operators[f.Op], []any{native(f.Value)}})
		p.fields = append(p.fields, i)
	}
	p.addSort(q.Sort)
	if folded, words := searchstore.Fold(q.Text); words > 0 {
		p.match = match(folded)
		if len(q.Sort) == 0 {
			// Every document found holds every word: the shorter its text, the more of it they make up. BM25 would rank
			// finer, but its ranks move with every write of any document, and pages with them.
			p.sort = []sortTerm{{column: "words"}}
		}
	}
	p.identity = searchstore.Identity("1", ix.spec(), q)
	if q.Cursor == "" {
		return p, nil
	}
	var err error
	p.after, err = decodeCursor(q.Cursor, p.identity, len(p.sort))
	return p, err
}

func (p *plan) addSort(sort []ports.Sort) {
	for _, by := range sort {
		i := p.ix.byName[by.Field]
		p.sort = append(p.sort, sortTerm{column(i), by.Desc})
		if len(p.sort) == 1 {
			p.lead = i
			p.fields = append(p.fields, i)
		}
	}
}

// match is the full text expression that asks for all words of a folded text, of the last one only for its beginning. A
// folded word has letters and digits only, so nothing in it can end the quotes.
func match(folded string) string {
	return `"` + strings.ReplaceAll(folded, " ", `" AND "`) + `"*`
}

func column(i int) string { return fmt.Sprintf("f%d", i) }

// from is the tables and conditions that all stretches of the result share. With direct false no filter is to be answered
// from a column index: a plus before a column tells SQLite so.
func (p *plan) from(direct bool) (sql string, args []any) {
	sql = " FROM " + p.ix.docs + " AS d WHERE d.deleted = 0"
	if p.match != "" {
		// CROSS JOIN: begin with the words.
		sql = fmt.Sprintf(" FROM %[1]s CROSS JOIN %[2]s AS d ON d.key = %[1]s.rowid WHERE %[1]s MATCH ?", p.ix.text, p.ix.docs)
		args = append(args, p.match)
	}
	for _, c := range p.where {
		sql += " AND " + c.sql(direct)
		args = append(args, c.args...)
	}
	return sql, args
}

func (c condition) sql(direct bool) string {
	plus := "+"
	if direct {
		plus = ""
	}
	return plus + "d." + c.column + " " + c.test
}

// stretch is a part of the result that lies together in the order: all of it before any of the next stretch.
type stretch struct {
	where []condition
	order []string
}

// stretches cuts the result, from the place after which the page begins, into parts that a column index can serve: where
// the values equal those of the place in all terms but the last n, and the next one is beyond; with values before without.
// The usual single condition over all terms would make SQLite walk from the start of the order to the place.
func (p *plan) stretches() []stretch {
	if p.after == nil {
		if len(p.sort) == 0 {
			return []stretch{{order: p.order(0)}}
		}
		first := p.sort[0].column
		return []stretch{
			{[]condition{{column: first, test: "IS NOT NULL"}}, p.beyond(0)},
			{[]condition{{column: first, test: "IS NULL"}}, p.order(1)},
		}
	}
	equal := make([]condition, len(p.sort))
	for i, term := range p.sort {
		equal[i] = condition{term.column, "= ?", []any{p.after.values[i]}}
		if p.after.values[i] == nil {
			equal[i] = condition{term.column, "IS NULL", nil}
		}
	}
	n := len(equal)
	all := []stretch{{append(equal[:n:n], condition{"id", "> ?", []any{p.after.id}}), p.order(n)}}
	for i := n - 1; i >= 0; i-- {
		v := p.after.values[i]
		if v == nil {
			continue // without a value is last: nothing is beyond
		}
		beyond := condition{p.sort[i].column, "> ?", []any{v}}
		if p.sort[i].desc {
			beyond.test = "< ?"
		}
		all = append(all,
			stretch{append(equal[:i:i], beyond), p.beyond(i)},
			stretch{append(equal[:i:i], condition{p.sort[i].column, "IS NULL", nil}), p.order(i + 1)})
	}
	return all
}

// beyond is the order from term i on in a stretch where that term has a value everywhere: the plain order of its column
// index, which a word on nulls would hide from SQLite.
func (p *plan) beyond(i int) []string {
	first := "d." + p.sort[i].column
	if p.sort[i].desc {
		first += " DESC"
	}
	return append([]string{first}, p.order(i+1)...)
}

// order is the order from term i on.
func (p *plan) order(i int) []string {
	var terms []string
	for _, t := range p.sort[i:] {
		if t.desc {
			terms = append(terms, "d."+t.column+" DESC") // nulls come last by themselves: SQLite takes them for the least
		} else {
			terms = append(terms, "d."+t.column+" NULLS LAST")
		}
	}
	return append(terms, "d.id")
}

// walk writes the statement that walks one stretch in order of its leading column and tests the filters on the way.
func (p *plan) walk(s stretch, limit int) (string, []any) {
	sql, args := p.from(false)
	for _, c := range s.where {
		// Only the leading column and the id are in the column index to be walked; another one may look as good to SQLite.
		sql += " AND " + c.sql(c.column == "id" || c.column == p.sort[0].column)
		args = append(args, c.args...)
	}
	return p.columns() + sql + " ORDER BY " + strings.Join(s.order, ", ") + " LIMIT ?", append(args, limit)
}

// collect writes the statement that finds everything that matches and sorts it.
func (p *plan) collect(limit int) (string, []any) {
	sql, args := p.from(true)
	if p.after != nil {
		var beyond []string
		for _, s := range p.stretches() {
			var all []string
			for _, c := range s.where {
				all = append(all, c.sql(false))
				args = append(args, c.args...)
			}
			beyond = append(beyond, strings.Join(all, " AND "))
		}
		sql += " AND (" + strings.Join(beyond, " OR ") + ")"
	}
	order := "+" + strings.Join(p.order(0), ", +") // the plus: sort, do not walk a column index
	return p.columns() + sql + " ORDER BY " + order + " LIMIT ?", append(args, limit)
}

// count writes the statement that counts what matches.
func (p *plan) count() (string, []any) {
	if p.match != "" && len(p.where) == 0 { // what is deleted has no words
		return fmt.Sprintf("SELECT count(*) FROM %[1]s WHERE %[1]s MATCH ?", p.ix.text), []any{p.match}
	}
	from, args := p.from(true)
	return "SELECT count(*)" + from, args
}

func (p *plan) columns() string {
	columns := "SELECT d.key, d.id, d.version"
	for _, t := range p.sort {
		columns += ", d." + t.column
	}
	return columns
}
