package search

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// statementKey names a statement that reads or writes documents. Of the fields that have a column index (covered) an
// update names only those that change, which spares SQLite the work on the other indexes.
type statementKey struct {
	kind    byte
	covered uint64 // bit i: field i has a column index
	changed uint64 // bit i: covered, and to be changed
}

// writes tells whether an update sets field i.
func (k statementKey) writes(i int) bool { return k.covered&^k.changed&(1<<i) == 0 }

const (
	insertStatement = 'i'
	updateStatement = 'u' // a document stays one
	turnStatement   = 't' // a document is deleted or comes back
	findStatement   = 'f'
	forgetStatement = 'r' // removes from the full text
	learnStatement  = 'a' // adds to it

	statementsMax = 64 // of one index; more are forgotten and prepared again
)

// statement returns the prepared statement of that key.
func (b *batch) statement(ctx context.Context, key statementKey) (*sql.Stmt, error) {
	if st := b.ix.statements[key]; st != nil {
		return st, nil
	}
	if len(b.ix.statements) >= statementsMax {
		if err := b.ix.forgetStatements(); err != nil {
			return nil, err
		}
	}
	st, err := b.w.conn.PrepareContext(ctx, b.ix.sql(key))
	if err != nil {
		return nil, err
	}
	b.ix.statements[key] = st
	return st, nil
}

// forgetStatements closes the prepared statements: there are too many, or their tables go.
func (ix *index) forgetStatements() error {
	var err error
	for _, st := range ix.statements {
		err = errors.Join(err, st.Close())
	}
	clear(ix.statements)
	return err
}

func (ix *index) sql(key statementKey) string {
	switch key.kind {
	case findStatement:
		var columns strings.Builder
		for mask := key.covered; mask != 0; mask &= mask - 1 {
			fmt.Fprintf(&columns, ", d.f%d", bits.TrailingZeros64(mask))
		}
		return "SELECT j.key, d.key, d.version, d.deleted, d.texthash, d.words" + columns.String() +
			" FROM json_each(?) AS j CROSS JOIN " + ix.docs + " AS d ON d.id = j.value"
	case forgetStatement:
		return "DELETE FROM " + ix.text + " WHERE rowid = ?"
	case learnStatement:
		return "INSERT INTO " + ix.text + "(rowid, words) VALUES(?, ?)"
	case insertStatement:
		n := len(ix.fields)
		return "INSERT INTO " + ix.docs + " VALUES(NULL, ?, ?, ?, ?, ?" + strings.Repeat(", ?", n) + ", ?)"
	}
	var set strings.Builder
	set.WriteString("UPDATE " + ix.docs + " SET version = ?, texthash = ?, words = ?")
	for i := range ix.fields {
		if key.writes(i) {
			fmt.Fprintf(&set, ", f%d = ?", i)
		}
	}
	if key.kind == turnStatement {
		set.WriteString(", deleted = NOT deleted")
	}
	return set.String() + ", json = ? WHERE key = ?"
}
