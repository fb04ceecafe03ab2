package search

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nexusblueprint/nexus/ports"
)

// Get returns the document.
func (s *Store) Get(ctx context.Context, index, id string) (ports.Document, bool, error) {
	ix, err := s.index(index)
	if err != nil {
		return ports.Document{}, false, err
	}
	doc := ports.Document{ID: id}
	err = s.read.QueryRowContext(ctx, ix.sqlGet(), id).Scan(&doc.Version, &doc.JSON)
	if errors.Is(err, sql.ErrNoRows) {
		return ports.Document{}, false, nil
	}
	if err != nil {
		return ports.Document{}, false, fmt.Errorf("reading %q of index %s: %w", id, index, s.check(err))
	}
	return doc, true, nil
}

// Count returns the number of documents.
func (s *Store) Count(ctx context.Context, index string) (int64, error) {
	ix, err := s.index(index)
	if err != nil {
		return 0, err
	}
	n, err := ix.count(ctx, s.read)
	if err != nil {
		return 0, fmt.Errorf("counting index %s: %w", index, s.check(err))
	}
	return n, nil
}

// rower is a connection or a transaction that answers queries.
type rower interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (ix *index) count(ctx context.Context, from rower) (n int64, err error) {
	err = from.QueryRowContext(ctx, sqlLive, ix.n).Scan(&n)
	return n, err
}

// Search returns one page. The first query that filters by a field, or sorts by it, of a large index waits until a column
// index on the field is made, some microseconds for each document; fields that nobody asks for cost the writer nothing.
func (s *Store) Search(ctx context.Context, index string, q ports.Query) (ports.Page, error) {
	ix, err := s.index(index)
	if err != nil {
		return ports.Page{}, err
	}
	p, err := newPlan(ix, q)
	if err != nil {
		return ports.Page{}, err
	}
	page, err := s.page(ctx, p)
	if err != nil {
		return ports.Page{}, fmt.Errorf("searching index %s: %w", index, s.check(err))
	}
	return page, nil
}

func (s *Store) page(ctx context.Context, p *plan) (ports.Page, error) {
	if err := s.makeAccess(ctx, p); err != nil {
		if ctx.Err() != nil {
			return ports.Page{}, err
		}
		// The answer is the same without it: on a full disk, say, queries are slow, not dead.
		s.log.Warn("column index could not be made, searching without it", "index", p.ix.name, "err", err)
	}
	// One transaction, so that total and page are of one moment.
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return ports.Page{}, err
	}
	defer func() { _ = tx.Rollback() }() // it has changed nothing
	live, err := p.ix.count(ctx, tx)
	if err != nil {
		return ports.Page{}, err
	}
	total, err := p.total(ctx, tx, live)
	if err != nil || total == 0 {
		return ports.Page{}, err
	}
	found, err := p.find(ctx, tx, live, total)
	if err != nil {
		return ports.Page{}, err
	}
	page := ports.Page{Total: total}
	if len(found) > p.limit {
		found = found[:p.limit]
		page.Next = encodeCursor(found[p.limit-1].place, p.identity)
	}
	page.Documents, err = p.ix.documents(ctx, tx, found)
	return page, err
}

// total counts what matches.
func (p *plan) total(ctx context.Context, tx rower, live int64) (total int64, err error) {
	if p.match == "" && len(p.where) == 0 {
		return live, nil
	}
	sql, args := p.count()
	err = tx.QueryRowContext(ctx, sql, args...).Scan(&total)
	return total, err
}

// hit is a document found, without its JSON.
type hit struct {
	place
	key     int64
	version uint64
}

// find returns the hits of the page in order, and one more if there is a next page.
func (p *plan) find(ctx context.Context, tx rower, live, total int64) ([]hit, error) {
	limit := p.limit + 1
	if !p.walks(live, total) {
		sql, args := p.collect(limit)
		return p.hits(ctx, tx, nil, sql, args)
	}
	var found []hit
	for _, stretch := range p.stretches() {
		sql, args := p.walk(stretch, limit-len(found))
		var err error
		if found, err = p.hits(ctx, tx, found, sql, args); err != nil || len(found) >= limit {
			return found, err
		}
	}
	return found, nil
}

// walks decides between walking in order, past what does not match, and collecting what matches to sort it. If the
// matches lie evenly, a walk meets limit × live / total documents until the page is full, a collection all total of them.
func (p *plan) walks(live, total int64) bool {
	if p.match != "" || (len(p.sort) > 0 && !p.ix.hasAccess(p.lead)) {
		return false
	}
	return float64(total)*float64(total) > float64(p.limit)*float64(live)
}

func (p *plan) hits(ctx context.Context, tx rower, found []hit, sql string, args []any) ([]hit, error) {
	rows, err := tx.QueryContext(ctx, sql, args...)
	err = each(rows, err, func() error {
		h := hit{place: place{values: make([]any, len(p.sort))}}
		into := []any{&h.key, &h.id, &h.version}
		for i := range h.values {
			into = append(into, &h.values[i])
		}
		err := rows.Scan(into...)
		found = append(found, h)
		return err
	})
	return found, err
}

// documents reads the JSON of the hits. It does so apart, so that finding and sorting them moves none about.
func (ix *index) documents(ctx context.Context, tx rower, found []hit) ([]ports.Document, error) {
	keys := make([]int64, len(found))
	docs := make([]ports.Document, len(found))
	for i, h := range found {
		keys[i] = h.key
		docs[i] = ports.Document{ID: h.id, Version: h.version}
	}
	list, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, ix.sqlJSON(), string(list))
	err = each(rows, err, func() error {
		var i int
		var doc []byte
		err := rows.Scan(&i, &doc)
		docs[i].JSON = doc
		return err
	})
	return docs, err
}

// makeAccess makes the column indexes that the plan wants and a large index lacks.
func (s *Store) makeAccess(ctx context.Context, p *plan) error {
	missing := false
	for _, i := range p.fields {
		missing = missing || !p.ix.hasAccess(i)
	}
	if !missing {
		return nil
	}
	if live, err := p.ix.count(ctx, s.read); err != nil || live <= s.scanMax {
		return err
	}
	w, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer s.give(w)
	err = w.transaction(ctx, func(ctx context.Context) error {
		for _, i := range p.fields {
			if _, err := w.conn.ExecContext(ctx, p.ix.sqlAccess(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range p.fields {
		p.ix.addAccess(i)
	}
	return nil
}
