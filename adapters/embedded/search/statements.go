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

const (
	sqlLive    = "SELECT live FROM catalog WHERE n = ?"
	sqlAddLive = "UPDATE catalog SET live = live + ? WHERE n = ?"
)

func (ix *index) sqlGet() string {
	return "SELECT version, json FROM " + ix.docs + " WHERE id = ? AND deleted = 0"
}

// sqlJSON reads the JSON of a list of keys, each with its place in the list.
func (ix *index) sqlJSON() string {
	return "SELECT j.key, d.json FROM json_each(?) AS j CROSS JOIN " + ix.docs + " AS d ON d.key = j.value"
}

func (ix *index) sqlEmpty() string { return "SELECT NOT EXISTS(SELECT 1 FROM " + ix.docs + ")" }

// sqlAccess makes the column index of field i. With the id in it, it holds the order of documents of one value, too.
func (ix *index) sqlAccess(i int) string {
	return fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s(f%d, id) WHERE deleted = 0", ix.access(i), ix.docs, i)
}

func (ix *index) sqlDrop() []string {
	return []string{"DROP TABLE " + ix.docs, "DROP TABLE " + ix.text, fmt.Sprintf("DELETE FROM catalog WHERE n = %d", ix.n)}
}

// sqlCreate makes the tables. Field columns have no type, so that SQLite converts nothing: an integer stays 64 bits
// wide and is never a float. json comes last: reading the columns before it does not read its pages.
func (ix *index) sqlCreate() []string {
	var columns strings.Builder
	for i := range ix.fields {
		fmt.Fprintf(&columns, "f%d, ", i)
	}
	return []string{
		// texthash and words describe the text, which itself is kept nowhere: t has only the words' places in documents.
		fmt.Sprintf(`CREATE TABLE %s(key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL,
			deleted INTEGER NOT NULL, texthash INTEGER NOT NULL, words INTEGER NOT NULL, %s json BLOB)`, ix.docs, columns.String()),
		// detail=none: which document holds a word, not where. ascii: every byte of a folded word belongs to it.
		fmt.Sprintf(`CREATE VIRTUAL TABLE %s USING fts5(words, content='', contentless_delete=1, detail=none, tokenize='ascii')`, ix.text),
	}
}

// each scans every row and closes them. err is that of the query, without which rows is not nil.
func each(rows *sql.Rows, err error, scan func() error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := scan(); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}
